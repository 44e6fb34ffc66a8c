"""Making an analysis, moving it through its states, ending it."""

from uuid import UUID

from flask import Response, current_app, g

from app import access, storage
from app.errors import Forbidden, ImageMismatch
from app.extensions import db
from app.guards import principal, unsigned_for_people
from app.models import Analysis, Role, Status
from app.pipeline import pipeline
from app.responses import answer
from app.schemas.analyses import CreateAnalysis, Finalize, SetStatus, analysis_out
from app.schemas.base import load
from app.services import analyses, artifacts


@pipeline.post("/images/<uuid:image_id>/analyses")
@unsigned_for_people
def create_analysis(image_id: UUID) -> Response:
    image = access.image_for(principal(), image_id, Role.EDITOR)
    values, ignored = load(CreateAnalysis(), g.body)
    if values["image_id"] not in (None, image.id):
        raise ImageMismatch(f"The body names the image {values['image_id']}.")
    analysis, is_new = analyses.create(
        image,
        values,
        by=principal(),
        limit=current_app.config["ML_MAX_ANALYSES_PER_IMAGE"],
        models=current_app.config["ML_ALLOWED_MODELS"],
        status=Status(current_app.config["ML_DEFAULT_STATUS"]),
    )
    return _committed(analysis, ignored, 201 if is_new else 200)


@pipeline.patch("/analyses/<uuid:analysis_id>/status")
@unsigned_for_people
def set_status(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR)
    values, ignored = load(SetStatus(), g.body)
    unsigned = principal().kind == "user" and current_app.config["ML_PIPELINE_REQUIRE_HMAC"]
    if unsigned and values["status"] is not Status.CANCELED:
        raise Forbidden("Without a signature an analysis can only be canceled.")
    found = _look_up_artifacts(analysis) if values["status"].is_terminal else {}
    analyses.set_status(analysis, **values, found=found, by=principal())
    return _committed(analysis, ignored)


@pipeline.post("/analyses/<uuid:analysis_id>/finalize")
def finalize_analysis(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR)
    values, ignored = load(Finalize(), g.body)
    analyses.finalize(analysis, **values, found=_look_up_artifacts(analysis), by=principal())
    return _committed(analysis, ignored)


def _look_up_artifacts(analysis: Analysis) -> dict[str, artifacts.Found]:
    """What the storage holds of the artifacts; nothing is held in the database while it is asked."""
    wanted = artifacts.paths(analysis)
    db.session.rollback()
    return artifacts.look_up(wanted, storage.current())


def _committed(analysis: Analysis, ignored: list[str], status: int = 200) -> Response:
    body = analysis_out(analysis) | ({"ignored": ignored} if ignored else {})
    db.session.commit()
    return answer(body, status)
