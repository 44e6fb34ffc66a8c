"""Deleting images and analyses, taking that back, and what can still be taken back."""

from datetime import datetime
from uuid import UUID

from flask import Response, current_app, flash, render_template, request, url_for

from app import access
from app.extensions import db
from app.guards import ml_feature, principal
from app.models import Analysis, Image, Role
from app.responses import see_other
from app.services import deletions
from app.web import web
from app.web.session import moment
from app.web.view import read_view

UNDO = "undo"  # the category of a notice that is a text and the address that takes back what it tells


@web.post("/images/<uuid:image_id>/delete")
def delete_image(image_id: UUID) -> Response:
    image = access.image_for(principal(), image_id, Role.EDITOR, deleted=True)
    _delete(image, url_for("web.restore_image", image_id=image.id))
    return see_other(url_for("web.show_project", project_id=image.project_id))


@web.post("/images/<uuid:image_id>/restore")
def restore_image(image_id: UUID) -> Response:
    image = access.image_for(principal(), image_id, Role.EDITOR, deleted=True)
    deletions.restore_image(image, days=_days(), clock=moment, by=principal())
    _say_restored(image)
    return see_other(url_for("web.show_image", image_id=image.id))


@web.post("/analyses/<uuid:analysis_id>/delete")
@ml_feature
def delete_analysis(analysis_id: UUID) -> Response:
    """The image page again, in the same way of looking at what is left."""
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, deleted=True)
    _delete(analysis, url_for("web.restore_analysis", analysis_id=analysis.id))
    return see_other(read_view(request.form).address(analysis.image, None, page=1, pick=None))


@web.post("/analyses/<uuid:analysis_id>/restore")
@ml_feature
def restore_analysis(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, deleted=True)
    config = current_app.config
    deletions.restore_analysis(
        analysis,
        days=_days(),
        clock=moment,
        limit=config["ML_MAX_ANALYSES_PER_IMAGE"],
        pending_limit=config["ML_MAX_PENDING_PER_USER"],
        by=principal(),
    )
    _say_restored(analysis)
    return see_other(url_for("web.show_image", image_id=analysis.image_id, analysis=analysis.id))


@web.get("/projects/<uuid:project_id>/deleted")
def list_deleted(project_id: UUID) -> Response:
    """What editors can restore."""
    project = access.project_for(principal(), project_id, Role.EDITOR)
    ml, days = current_app.config["ML_ANALYSIS_ENABLED"], _days()
    text = render_template(
        "deletions/list.html",
        project=project,
        images=deletions.images_of(project, _since()),
        analyses=deletions.analyses_of(project, _since()) if ml else [],
        days=days,
        until=lambda row: deletions.restorable_until(row, days),
        listed=deletions.LISTED,
    )
    return Response(text)


def _delete(row: Image | Analysis, undo: str) -> None:
    deletions.delete(row, at=moment(), by=principal())
    text = f"“{deletions.title_of(row)}” has been deleted."
    db.session.commit()
    flash({"text": text, "undo": undo}, UNDO)  # type: ignore[arg-type]  # a session holds any JSON


def _say_restored(row: Image | Analysis) -> None:
    text = f"“{deletions.title_of(row)}” has been restored."
    db.session.commit()
    flash(text)


def _days() -> int:
    days: int = current_app.config["ML_RETENTION_DAYS"]
    return days


def _since() -> datetime | None:
    return deletions.restorable_since(moment(), _days())
