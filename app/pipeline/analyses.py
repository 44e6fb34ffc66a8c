"""Making an analysis, moving it through its states, ending it."""

from functools import partial
from typing import Any, cast
from uuid import UUID

from flask import Flask, Response, current_app, g
from sqlalchemy.exc import SQLAlchemyError

from app import access, storage
from app.errors import (
    Conflict,
    Forbidden,
    IllegalTransition,
    ImageMismatch,
    LeaseLost,
    LimitReached,
    LoupeError,
    ModelNotAllowed,
    StorageUnavailable,
)
from app.extensions import db
from app.guards import principal, unsigned_for_keys, unsigned_for_people
from app.models import Analysis, Role, Status
from app.openapi import Answer, operation
from app.pipeline import commit, lease_proof, pipeline
from app.responses import answer
from app.schemas.analyses import AnalysisWrittenOut, CreateAnalysis, Finalize, SetStatus, analysis_out
from app.schemas.base import load
from app.services import analyses, artifacts, snapshots, swapping


@pipeline.post("/images/<uuid:image_id>/analyses")
@operation(
    "Analyses",
    {
        200: Answer(AnalysisWrittenOut, says="The one that this `external_job_id` made before."),
        201: AnalysisWrittenOut,
    },
    role="editor",
    body=CreateAnalysis,
    example={
        "model_name": "leaf-net",
        "model_version": "1.4.0",
        "parameters": {"threshold": 0.5},
        "external_job_id": "run-2026-03-04-17",
    },
    raises=(ModelNotAllowed, ImageMismatch, LimitReached, Conflict),
)
@unsigned_for_keys
def create_analysis(image_id: UUID) -> Response:
    """Makes an analysis of an image.

    Where `external_job_id` made one before and all else is equal, that one is answered; where anything differs, it is a
    conflict.
    """
    image = access.image_for(principal(), image_id, Role.EDITOR)
    values, ignored = load(CreateAnalysis, g.body)
    if values["image_id"] not in (None, image.id):
        raise ImageMismatch(f"The body names the image {values['image_id']}.")
    analysis, is_new = analyses.create(
        image,
        values,
        by=principal(),
        limit=current_app.config["ML_MAX_ANALYSES_PER_IMAGE"],
        pending_limit=current_app.config["ML_MAX_PENDING_PER_USER"],
        models=current_app.config["ML_ALLOWED_MODELS"],
        status=Status(current_app.config["ML_DEFAULT_STATUS"]),
    )
    return _committed(analysis, ignored, 201 if is_new else 200)


@pipeline.patch("/analyses/<uuid:analysis_id>/status")
@operation(
    "Analyses",
    {200: AnalysisWrittenOut},
    role="editor",
    body=SetStatus,
    example={"status": "processing"},
    parameters=("X-ML-Lease-Token",),
    raises=(IllegalTransition, LeaseLost, StorageUnavailable),
)
@unsigned_for_people
def set_status(analysis_id: UUID) -> Response:
    """Moves an analysis to another status; without a signature a person may only cancel it.

    `queued` may become `processing` or `canceled`; `processing` may become `completed`, `failed` or `canceled`. The
    same status again changes nothing.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, swap=True)
    values, ignored = load(SetStatus, g.body)
    unsigned = not principal().signed and current_app.config["ML_PIPELINE_REQUIRE_HMAC"]
    if unsigned and values["status"] is not Status.CANCELED:
        raise Forbidden("Without a signature an analysis can only be canceled.")
    found = _look_up_artifacts(analysis) if values["status"].is_terminal else None
    analyses.set_status(analysis, **values, found=found, by=principal(), proof=lease_proof())
    return _committed(analysis, ignored)


@pipeline.post("/analyses/<uuid:analysis_id>/finalize")
@operation(
    "Analyses",
    {200: AnalysisWrittenOut},
    role="editor",
    body=Finalize,
    example={"status": "completed", "expected_annotations": 2},
    parameters=("X-ML-Lease-Token",),
    raises=(IllegalTransition, Conflict, LeaseLost, StorageUnavailable),
)
def finalize_analysis(analysis_id: UUID) -> Response:
    """Ends an analysis, from `queued` or `processing`.

    Every artifact that an annotation names must have been uploaded. The same end again changes nothing.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, swap=True)
    values, ignored = load(Finalize, g.body)
    found = _look_up_artifacts(analysis)
    analyses.finalize(analysis, **values, found=found, by=principal(), proof=lease_proof())
    return _committed(analysis, ignored)


def _look_up_artifacts(analysis: Analysis) -> dict[str, artifacts.Found] | None:
    """What the storage holds of the artifacts; nothing is held in the database while it is asked.

    None where there are none. Then it is not asked, and no annotation can come that names one, or the race is lost.
    What is presigned just now may be written down by the sweeper, as what is uploaded later."""
    wanted = artifacts.paths(analysis.id)
    if not wanted:
        return None
    swapping.give_up()
    db.session.rollback()
    return artifacts.look_up(wanted, storage.current())


def _committed(analysis: Analysis, ignored: list[str], status: int = 200) -> Response:
    body = analysis_out(analysis) | ({"ignored": ignored} if ignored else {})
    large = snapshots.is_large(analysis)
    commit()
    response = answer(body, status)
    if large:  # the first who looks at it need not wait; the pipeline has its answer by then
        app = cast(Any, current_app)._get_current_object()
        response.call_on_close(partial(_prepare, app, analysis_id=analysis.id))
    return response


def _prepare(app: Flask, analysis_id: UUID) -> None:
    with app.app_context():
        try:
            snapshots.prepare(analysis_id, storage.current())
        except (LoupeError, SQLAlchemyError) as error:
            app.logger.warning("a snapshot was not prepared; it is made when it is asked for", exc_info=error)
