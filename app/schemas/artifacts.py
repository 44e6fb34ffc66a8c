"""Artifacts on the wire: asking for an upload address."""

from marshmallow import fields, validate

from app.models.artifacts import CONTENT_TYPES, FILENAME
from app.schemas.base import Noted, Schema, StrictInteger


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


class UploadOut(Noted):
    upload_url = fields.URL(
        required=True, metadata={"description": "Good for PUTs until `expires_at`; the last one wins."}
    )
    storage_path = fields.String(
        required=True, metadata={"description": "What an annotation names as its `storage_path`."}
    )
    method = fields.String(required=True, validate=validate.Equal("PUT"))
    headers = fields.Dict(
        values=fields.String(), required=True, metadata={"description": "Send exactly these with the PUT."}
    )
    expires_at = fields.DateTime(required=True)


class ArtifactDownloadOut(Noted):
    url = fields.URL(required=True)
    expires_at = fields.DateTime(required=True)
