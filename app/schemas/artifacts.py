"""Artifacts on the wire: asking for an upload address."""

from marshmallow import fields, validate

from app.models.artifacts import CONTENT_TYPES, FILENAME
from app.schemas.base import Schema, StrictInteger


class Presign(Schema):
    artifact_type = fields.String(required=True, validate=validate.OneOf(sorted(CONTENT_TYPES)))
    filename = fields.String(
        allow_none=True,
        load_default=None,
        validate=validate.Regexp(
            FILENAME + r"\Z", error="Letters, digits, dot, dash and underscore, at most 255."
        ),
    )
    size = StrictInteger(0, 2**53, allow_none=True, load_default=None)
    sha256 = fields.String(
        allow_none=True,
        load_default=None,
        validate=validate.Regexp(r"[0-9a-f]{64}\Z", error="64 lower-case hex."),
    )
