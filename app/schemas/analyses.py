"""Analyses on the wire: making one, its status, its end; and what is answered."""

from typing import Any

from marshmallow import fields, post_load, validate

from app.models import Analysis, Status
from app.schemas.base import ErrorMessage, JsonObject, Schema, StrictInteger, Text, moment


class CreateAnalysis(Schema):
    model_name = Text(required=True)
    model_version = Text(required=True)
    parameters = JsonObject(allow_none=True, load_default=None)
    provenance = JsonObject(allow_none=True, load_default=None)
    external_job_id = Text(allow_none=True, load_default=None)
    priority = StrictInteger(load_default=0)
    group_id = Text(allow_none=True, load_default=None)
    image_id = fields.UUID(allow_none=True, load_default=None)


class SetStatus(Schema):
    status = fields.Enum(Status, by_value=True, required=True)
    error_message = ErrorMessage(allow_none=True, load_default=None)


class Finalize(Schema):
    status = fields.String(
        required=True, validate=validate.OneOf([Status.COMPLETED.value, Status.FAILED.value])
    )
    error_message = ErrorMessage(allow_none=True, load_default=None)
    expected_annotations = StrictInteger(0, allow_none=True, load_default=None)

    @post_load
    def _as_status(self, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        return values | {"status": Status(values["status"])}


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
    }
