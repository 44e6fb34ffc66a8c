"""What the echo of a signed request says."""

from marshmallow import fields, validate

from app.schemas.base import Schema


class EchoOut(Schema):
    verified = fields.Boolean(required=True)
    scheme = fields.String(required=True, allow_none=True, validate=validate.OneOf(["v2", "sha256"]))
    code = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "Why it does not verify: the code of the error."},
    )
    detail = fields.String(required=True)
    server_time = fields.Integer(required=True, metadata={"description": "Unix seconds."})
    body_bytes = fields.Integer(required=True)
    body_sha256 = fields.String(required=True, metadata={"description": "Of the raw bytes, lower-case hex."})
    string_to_sign = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={
            "description": "By scheme, as the server built it from this request: to compare with what you signed. "
            "`sha256` is left out where the body is long or no UTF-8."
        },
    )
