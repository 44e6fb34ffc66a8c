"""Images: uploading them, looking at one with its analyses, its bytes."""

from uuid import UUID

from flask import Response, current_app, flash, render_template, request, url_for
from werkzeug.datastructures import FileStorage

from app import access, storage
from app.errors import InvalidPayload
from app.extensions import db
from app.geometry import Frame
from app.guards import at_a_glance, ml_feature, principal, takes_images
from app.models import Project, Role
from app.responses import asked_by_htmx, page_or, see_other, stored_file
from app.services import analyses, images, renders
from app.web import filesize, scene, web
from app.web.glances import unchanged
from app.web.pictures import for_good
from app.web.place import read_window
from app.web.projects import project_page
from app.web.versions import version_of
from app.web.view import read_view

FILES_AT_ONCE = 20


@web.post("/projects/<uuid:project_id>/images")
@takes_images(FILES_AT_ONCE)
def upload_images(project_id: UUID) -> Response:
    """Several files at once; those that are images are kept, the others are named with the reason."""
    project = access.project_for(principal(), project_id, Role.EDITOR)
    files = [file for file in request.files.getlist("file") if file.filename]
    refused = [reason for file in files if (reason := keep(project, file))]
    if not files:
        refused = [("", "Choose at least one image.")]
    kept = len(files) - len(refused) if files else 0
    if asked_by_htmx():
        text = render_template("projects/_refused.html", refused=refused, kept=kept) if refused else ""
        return Response(text, 422 if refused else 204)
    if refused:
        role = access.role_in(principal(), project.id)
        return project_page(project, role, 422, refused=refused, kept=kept)
    flash(f"{kept} image{'' if kept == 1 else 's'} uploaded.")
    return see_other(url_for("web.show_project", project_id=project.id))


def keep(project: Project, file: FileStorage) -> tuple[str, str] | None:
    """Stores one file in a transaction of its own; its name and the reason when it was refused."""
    project_id = project.id
    try:
        name = images.clean_filename(file.filename or "")
        check_size(file)
        db.session.rollback()  # nothing is held while the image is decoded and stored
        stored = images.store(file.stream, storage.current())
        project = access.project_for(principal(), project_id, Role.EDITOR)
        images.add(project, stored, name, None, by=principal())
        db.session.commit()
    except InvalidPayload as error:
        db.session.rollback()
        reasons = "; ".join(entry["reason"] for entry in error.errors or [])
        return file.filename or "", reasons or error.detail
    return None


def check_size(file: FileStorage) -> None:
    largest = current_app.config["MAX_IMAGE_BYTES"]
    size = file.stream.seek(0, 2)
    file.stream.seek(0)
    if size > largest:
        raise InvalidPayload(errors=[{"field": "file", "reason": f"is larger than {filesize(largest)}"}])


def wanted_analysis() -> UUID | None:
    """The analysis the query asks for. Raises NotFound when it is no id at all."""
    text = request.args.get("analysis", "")
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)


@web.get("/images/<uuid:image_id>")
def show_image(image_id: UUID) -> Response:
    image = access.image_for(principal(), image_id)
    view = read_view(request.args)
    window = read_window(request.args, view, Frame(image.width, image.height))
    shown = scene.build(principal(), image, view, wanted_analysis(), window)
    response = page_or("images/show.html", "images/_viewer.html", scene=shown, image=image)
    if asked_by_htmx():
        response.headers["HX-Push-Url"] = shown.address()
    return response


@web.get("/images/<uuid:image_id>/panel")
@ml_feature
@at_a_glance(unchanged)
def show_panel(image_id: UUID) -> Response:
    """The answer to a poll: 204 when nothing changed, the panel, or the whole viewer when the drawing changed too."""
    image = access.image_for(principal(), image_id)
    version, rows = request.args.get("version", ""), scene.analyses_shown(image)
    if version == version_of(rows) and asked_by_htmx():
        return Response(status=204)
    view = read_view(request.args)
    window = read_window(request.args, view, Frame(image.width, image.height))
    wanted = wanted_analysis()
    if wanted and wanted not in {row.id for row in rows} and analyses.is_deleted(image, wanted):
        wanted = None  # deleted while it was shown: what the image has left is shown instead
    shown = scene.build(principal(), image, view, wanted, window)
    changed, redrawn = scene.differences(version, shown)
    changed = changed if asked_by_htmx() else []
    fragment = "images/_viewer.html" if redrawn else "analyses/_panel.html"
    response = page_or("images/show.html", fragment, scene=shown, image=image, changed=changed)
    if redrawn:
        response.headers["HX-Retarget"] = "#viewer"
    return response


@web.get("/images/<uuid:image_id>/content")
def image_content(image_id: UUID) -> Response:
    image = access.image_for(principal(), image_id)
    path, content_type, etag = image.storage_path, image.content_type, image.sha256
    db.session.rollback()  # nothing is held while the storage is asked
    return for_good(stored_file(storage.current(), path, content_type, etag=etag), etag)


@web.get("/images/<uuid:image_id>/preview")
def image_preview(image_id: UUID) -> Response:
    image = access.image_for(principal(), image_id)
    original = renders.Original(image.id, image.sha256, image.storage_path)
    db.session.rollback()  # nothing is held while the preview is made
    key = renders.preview(original, storage.current())
    return stored_file(storage.current(), key, renders.WEBP, etag=f"preview-{original.sha256}")
