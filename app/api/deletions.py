"""Deleting images and analyses, and restoring what was deleted."""

from datetime import datetime
from uuid import UUID

from flask import Response, current_app

from app import access
from app.api import api
from app.errors import LimitReached
from app.extensions import db
from app.guards import body_may_be_empty, ml_feature, principal
from app.models import Role
from app.openapi import operation
from app.responses import answer
from app.schemas.analyses import AnalysisDeletedOut, AnalysisOut, analysis_out
from app.schemas.base import deleted_out
from app.schemas.projects import ImageDeletedOut, ImageOut, image_out
from app.services import deletions


@api.delete("/images/<uuid:image_id>")
@operation("Images", {200: ImageDeletedOut}, role="editor")
@body_may_be_empty
def delete_image(image_id: UUID) -> Response:
    """Deletes an image, with all its analyses; it can be restored until it is purged.

    The same again changes nothing. Everything else that names the image or one of its analyses is 410 from now on.
    """
    image = access.image_for(principal(), image_id, Role.EDITOR, deleted=True)
    deletions.delete(image, at=_moment(), by=principal())
    body = image_out(image) | deleted_out(image.deleted_at, deletions.restorable_until(image, _days()))
    db.session.commit()
    return answer(body)


@api.post("/images/<uuid:image_id>/restore")
@operation("Images", {200: ImageOut}, role="editor")
@body_may_be_empty
def restore_image(image_id: UUID) -> Response:
    """Takes the deletion of an image back; what is not deleted stays as it is.

    Its analyses come back with it, but for those that were deleted themselves.
    """
    image = access.image_for(principal(), image_id, Role.EDITOR, deleted=True)
    deletions.restore_image(image, days=_days(), clock=_moment, by=principal())
    body = image_out(image)
    db.session.commit()
    return answer(body)


@api.delete("/analyses/<uuid:analysis_id>")
@operation("Analyses", {200: AnalysisDeletedOut}, role="editor")
@ml_feature
@body_may_be_empty
def delete_analysis(analysis_id: UUID) -> Response:
    """Deletes an analysis, in whatever state; it can be restored until it is purged.

    The same again changes nothing. Everything else that names the analysis is 410 from now on. Its status stays, so a
    pipeline that works on it can go on when it is restored.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, deleted=True)
    deletions.delete(analysis, at=_moment(), by=principal())
    until = deletions.restorable_until(analysis, _days())
    body = analysis_out(analysis) | deleted_out(analysis.deleted_at, until)
    db.session.commit()
    return answer(body)


@api.post("/analyses/<uuid:analysis_id>/restore")
@operation("Analyses", {200: AnalysisOut}, role="editor", raises=(LimitReached,))
@ml_feature
@body_may_be_empty
def restore_analysis(analysis_id: UUID) -> Response:
    """Takes the deletion of an analysis back; what is not deleted stays as it is.

    Refused where it could not be created now, because as many as there can be have been created since.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, deleted=True)
    config = current_app.config
    deletions.restore_analysis(
        analysis,
        days=_days(),
        clock=_moment,
        limit=config["ML_MAX_ANALYSES_PER_IMAGE"],
        pending_limit=config["ML_MAX_PENDING_PER_USER"],
        by=principal(),
    )
    body = analysis_out(analysis)
    db.session.commit()
    return answer(body)


def _moment() -> datetime:
    now: datetime = current_app.extensions["clock"]()
    return now


def _days() -> int:
    days: int = current_app.config["ML_RETENTION_DAYS"]
    return days
