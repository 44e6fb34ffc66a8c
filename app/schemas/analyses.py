"""Analyses on the wire: making one, its status, its end; and what is answered."""

from typing import Any

from marshmallow import fields, post_load, validate

from app.models import Analysis, Status
from app.schemas.annotations import AnnotationOut
from app.schemas.base import Deleted, ErrorMessage, JsonObject, Noted, Schema, StrictInteger, Text, moment


class CreateAnalysis(Schema):
    model_name = Text(required=True)
    model_version = Text(required=True)
    parameters = JsonObject(allow_none=True, load_default=None)
    provenance = JsonObject(allow_none=True, load_default=None)
    external_job_id = Text(
        allow_none=True,
        load_default=None,
        metadata={
            "description": "Your own id of the run. Sent again it gives the same analysis: 200, not 201."
        },
    )
    priority = StrictInteger(load_default=0)
    group_id = Text(allow_none=True, load_default=None)
    image_id = fields.UUID(
        allow_none=True, load_default=None, metadata={"description": "If given, the one in the address."}
    )


class SetStatus(Schema):
    status = fields.Enum(Status, by_value=True, required=True)
    error_message = ErrorMessage(allow_none=True, load_default=None)


class Finalize(Schema):
    status = fields.String(
        required=True, validate=validate.OneOf([Status.COMPLETED.value, Status.FAILED.value])
    )
    error_message = ErrorMessage(allow_none=True, load_default=None)
    expected_annotations = StrictInteger(
        0,
        allow_none=True,
        load_default=None,
        metadata={"description": "Another count than the analysis holds is a conflict, and nothing changes."},
    )

    @post_load
    def _as_status(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        return values | {"status": Status(values["status"])}


class AnalysisOut(Schema):
    """What `analysis_out` gives."""

    id = fields.UUID(required=True)
    image_id = fields.UUID(required=True)
    model_name = fields.String(required=True)
    model_version = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf([state.value for state in Status]))
    error_message = fields.String(required=True, allow_none=True)
    parameters = fields.Dict(required=True, allow_none=True)
    provenance = fields.Dict(required=True, allow_none=True)
    requested_by_id = fields.UUID(required=True, allow_none=True)
    external_job_id = fields.String(required=True, allow_none=True)
    priority = fields.Integer(required=True)
    group_id = fields.String(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    started_at = fields.DateTime(required=True, allow_none=True)
    completed_at = fields.DateTime(required=True, allow_none=True)
    updated_at = fields.DateTime(required=True)
    annotation_count = fields.Integer(required=True)
    attempt = fields.Integer(required=True)
    retry_of_id = fields.UUID(
        required=True,
        allow_none=True,
        metadata={"description": "The attempt before this one, whose worker was lost."},
    )


class AnalysisWrittenOut(AnalysisOut, Noted):
    """An analysis that was made or changed."""


class AnalysisDeletedOut(AnalysisOut, Deleted):
    """An analysis that was deleted."""


class AnalysisDetailOut(AnalysisOut):
    annotations = fields.List(fields.Nested(AnnotationOut), required=True)


class AnalysesPageOut(Noted):
    analyses = fields.List(fields.Nested(AnalysisOut), required=True)
    total = fields.Integer(required=True)


class ProjectAnalysesOut(Noted):
    analyses = fields.List(fields.Nested(AnalysisOut), required=True)
    next_cursor = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Send it as `cursor`; null on the last page."},
    )


class ExportedArtifactOut(Schema):
    type = fields.String(required=True)
    path = fields.String(required=True)
    content_type = fields.String(required=True)
    size = fields.Integer(required=True, allow_none=True)
    hash = fields.String(required=True, allow_none=True)
    etag = fields.String(required=True, allow_none=True)
    state = fields.String(
        required=True, validate=validate.OneOf(["pending", "present", "missing", "changed"])
    )


class ExportOut(AnalysisDetailOut):
    """What the JSON export gives."""

    schema_version = fields.String(required=True)
    filename = fields.String(required=True, metadata={"description": "That of the image."})
    artifacts = fields.List(fields.Nested(ExportedArtifactOut), required=True)


def analysis_out(analysis: Analysis | Any) -> dict[str, Any]:
    """Every field of the contract, without the annotations; `analysis` is an Analysis or a row of its columns."""
    return {
        "id": str(analysis.id),
        "image_id": str(analysis.image_id),
        "model_name": analysis.model_name,
        "model_version": analysis.model_version,
        "status": analysis.status,
        "error_message": analysis.error_message,
        "parameters": analysis.parameters,
        "provenance": analysis.provenance,
        "requested_by_id": str(analysis.requested_by_id) if analysis.requested_by_id else None,
        "external_job_id": analysis.external_job_id,
        "priority": analysis.priority,
        "group_id": analysis.group_id,
        "created_at": moment(analysis.created_at),
        "started_at": moment(analysis.started_at),
        "completed_at": moment(analysis.completed_at),
        "updated_at": moment(analysis.updated_at),
        "annotation_count": analysis.annotation_count,
        "attempt": analysis.attempt,
        "retry_of_id": str(analysis.retry_of_id) if analysis.retry_of_id else None,
    }
