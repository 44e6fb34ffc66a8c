"""The keys that sign bundles, on the wire."""

from marshmallow import fields

from app.schemas.base import Schema


class BundleKeyOut(Schema):
    key_id = fields.String(required=True)
    algorithm = fields.String(required=True)
    public_key = fields.String(required=True, metadata={"description": "32 bytes in base64."})


class BundleKeysOut(Schema):
    keys = fields.List(fields.Nested(BundleKeyOut), required=True)
