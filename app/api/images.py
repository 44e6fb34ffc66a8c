"""Images as JSON and as bytes."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from flask import Response, current_app, request
from werkzeug.datastructures import FileStorage

from app import access, storage
from app.api import api
from app.errors import InvalidPayload, PayloadTooLarge, StorageUnavailable, UnsupportedMediaType
from app.extensions import db
from app.guards import principal, takes_images
from app.models import Role
from app.openapi import Answer, binary, nothing, operation
from app.responses import answer, base_url, stored_file
from app.schemas import strict_json
from app.schemas.base import MAX_ERRORS, load
from app.schemas.projects import ImageDownloadOut, ImageOut, ImageWrittenOut, UploadImage, image_out
from app.schemas.queries import Page
from app.services import images
from app.storage.base import INLINE_TYPES

MAX_METADATA_BYTES = 64 * 1024


@api.get("/projects/<uuid:project_id>/images")
@operation(
    "Images",
    {200: Answer(ImageOut, many=True, says="The images of this page.", headers=("X-Total-Count", "Link"))},
    query=Page,
)
def list_images(project_id: UUID) -> Response:
    """The images of a project, newest first: a bare list, its pages in the headers."""
    project = access.project_for(principal(), project_id)
    page, _ = load(Page, request.args.to_dict())
    rows, total = images.page(project, **page)
    headers = {"X-Total-Count": str(total)}
    links = _links(project_id, total, **page)
    if links:
        headers["Link"] = links
    return answer([image_out(image) for image in rows], headers=headers)


def _links(project_id: UUID, total: int, skip: int, limit: int) -> str:
    """RFC 8288, as far as there is something before or after this page."""
    address = f"{base_url()}/api/projects/{project_id}/images"
    places = {
        "first": 0,
        "prev": max(skip - limit, 0),
        "next": skip + limit,
        "last": max(total - 1, 0) // limit * limit,
    }
    if skip == 0:
        del places["prev"]
    if skip + limit >= total:
        del places["next"]
    return ", ".join(
        f'<{address}?{urlencode({"skip": place, "limit": limit})}>; rel="{rel}"'
        for rel, place in places.items()
    )


@api.post("/projects/<uuid:project_id>/images")
@operation("Images", {201: ImageWrittenOut}, role="editor", form=UploadImage, raises=(StorageUnavailable,))
@takes_images(1)
def upload_image(project_id: UUID) -> Response:
    """Uploads an image.

    What is stored is an upright copy (the EXIF orientation is applied and taken away; TIFF becomes PNG); size, hash,
    width and height are those of the copy.
    """
    if request.mimetype != "multipart/form-data":
        raise UnsupportedMediaType("Send the image as the field `file` of multipart/form-data.")
    project = access.project_for(principal(), project_id, Role.EDITOR)
    db.session.rollback()  # nothing is held while the image comes in, is decoded and stored
    file, metadata, ignored = _form()
    filename = images.clean_filename(file.filename or "")
    stored = images.store(file.stream, storage.current())
    image = images.add(project, stored, filename, metadata, by=principal())
    body = image_out(image)
    db.session.commit()
    return answer(body | ({"ignored": ignored} if ignored else {}), 201)


def _form() -> tuple[FileStorage, dict[str, Any] | None, list[str]]:
    """The file, its metadata, and the names of the fields that mean nothing here."""
    files = request.files.getlist("file")
    if len(files) != 1:
        reason = "must be one file at a time" if files else "is missing"
        raise InvalidPayload(errors=[{"field": "file", "reason": reason}])
    largest = current_app.config["MAX_IMAGE_BYTES"]
    size = files[0].stream.seek(0, 2)
    if size > largest:
        raise PayloadTooLarge(f"The image may have at most {largest} bytes, not {size}.", limit=largest)
    files[0].stream.seek(0)
    # a part whose name is missing or cannot be read is called None
    ignored = sorted({name or "" for name in (*request.form, *request.files)} - {"file", "metadata"})
    return files[0], _metadata(request.form.get("metadata")), ignored[:MAX_ERRORS]


def _metadata(text: str | None) -> dict[str, Any] | None:
    if text is None or not text.strip():
        return None
    written = text.encode("utf-8", "surrogatepass")
    value = strict_json.parse(written)
    if not isinstance(value, dict) or len(written) > MAX_METADATA_BYTES:
        reason = f"must be a JSON object of at most {MAX_METADATA_BYTES} bytes"
        raise InvalidPayload(errors=[{"field": "metadata", "reason": reason}])
    return value


@api.get("/images/<uuid:image_id>")
@operation("Images", {200: ImageOut})
def show_image(image_id: UUID) -> Response:
    """An image, but for its bytes."""
    return answer(image_out(access.image_for(principal(), image_id)))


@api.get("/images/<uuid:image_id>/download")
@operation("Images", {200: ImageDownloadOut}, raises=(StorageUnavailable,))
def download_image(image_id: UUID) -> Response:
    """A signed address to download an image from."""
    image = access.image_for(principal(), image_id)
    signed = storage.current().download_url(
        image.storage_path,
        current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"],
        base_url(),
        content_type=image.content_type,
        filename=image.filename,
    )
    return answer(
        {"url": signed.url, "object_key": image.storage_path, "expires_at": signed.expires_at.isoformat()}
    )


@api.get("/images/<uuid:image_id>/content")
@operation(
    "Images",
    {
        200: binary(*INLINE_TYPES, says="The bytes.", headers=("ETag", "Content-Disposition")),
        304: nothing("The bytes are those that `If-None-Match` named."),
    },
    raises=(StorageUnavailable,),
)
def image_content(image_id: UUID) -> Response:
    """The bytes of an image, streamed."""
    image = access.image_for(principal(), image_id)
    path, content_type, etag = image.storage_path, image.content_type, image.sha256
    db.session.rollback()  # nothing is held while the storage is asked
    return stored_file(storage.current(), path, content_type, etag=etag)
