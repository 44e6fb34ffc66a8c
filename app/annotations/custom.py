"""Any JSON object, shown as a readable tree."""

import json
from typing import ClassVar

from marshmallow import Schema, ValidationError

from app.annotations.base import AnnotationType, Data, Loaded
from app.annotations.extra import check_tree
from app.geometry import Frame

MAX_BYTES = 64 * 1024


class CustomPayload(Schema):
    """The canonical form has no keys of its own: every key is the sender's."""


class Custom(AnnotationType):
    name = "custom"
    title = "Custom"
    example: ClassVar[Data] = {"verdict": "retake", "sharpness": 0.42, "reasons": ["blurred", "too dark"]}
    drawn_as = "none"
    Payload = CustomPayload

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        check_tree(data)
        size = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
        if size > MAX_BYTES:
            raise ValidationError({"": [f"must be at most {MAX_BYTES} bytes as JSON, this is {size}"]})
        return Loaded(data, None)
