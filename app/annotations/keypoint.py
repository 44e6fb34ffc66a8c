"""Named points, and the lines between them."""

from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, fields

from app.annotations.base import (
    FAR,
    AnnotationType,
    Data,
    FrameFields,
    Loaded,
    Part,
    Scale,
    frame_keys,
    scale_of,
)
from app.annotations.fields import Entries, Name, Real, whole
from app.geometry import Frame, Points, Shape, bounds, far_outside

MAX_KEYPOINTS = 10_000
MAX_LINES = 10_000


class _Visible(fields.Field[bool | int]):
    """true, false, or COCO's 0 (not labelled), 1 (hidden), 2 (visible); kept as sent."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> bool | int:
        if value is True or value is False:
            return bool(value)
        try:
            return whole(value, 0, 2)
        except ValidationError:
            raise ValidationError("must be true, false, 0, 1 or 2") from None

    def json_form(self) -> dict[str, Any]:
        return {"type": ["boolean", "integer"], "minimum": 0, "maximum": 2}


class _Skeleton(fields.Field[list[list[int]]]):
    """`[[i, j], …]`; whether the positions exist is checked beside the keypoints."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[list[int]]:
        if not isinstance(value, (list, tuple)):
            raise ValidationError("must be a list of [i, j] pairs")
        if len(value) > MAX_LINES:
            raise ValidationError(f"must have at most {MAX_LINES} pairs")
        return [self._pair(i, pair) for i, pair in enumerate(value)]

    def json_form(self) -> dict[str, Any]:
        end = {"type": "integer", "minimum": 0, "maximum": MAX_KEYPOINTS}
        pair = {"type": "array", "minItems": 2, "maxItems": 2, "items": end}
        return {"type": "array", "maxItems": MAX_LINES, "items": pair}

    def _pair(self, i: int, pair: Any) -> list[int]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValidationError({str(i): ["must be a pair [i, j]"]})
        try:
            return [whole(end, 0, MAX_KEYPOINTS) for end in pair]
        except ValidationError as error:
            raise ValidationError({str(i): error.messages}) from None


class _KeypointPayload(Schema):
    name = Name(allow_none=True)
    x = Real(required=True)
    y = Real(required=True)
    confidence = Real(0, 1, allow_none=True)
    visible = _Visible(allow_none=True)


class KeypointPayload(FrameFields):
    """The canonical form."""

    keypoints = Entries(_KeypointPayload(), MAX_KEYPOINTS, required=True)
    skeleton = _Skeleton(allow_none=True)


_PAYLOAD = Part(KeypointPayload())


class Keypoint(AnnotationType):
    name = "keypoint"
    title = "Keypoints"
    example: ClassVar[Data] = {
        "keypoints": [
            {"name": "nose", "x": 100.0, "y": 40.0, "confidence": 0.97, "visible": True},
            {"name": "left eye", "x": 110.0, "y": 32.0, "confidence": 0.95},
            {"name": "right eye", "x": 90.0, "y": 32.0, "confidence": 0.94},
        ],
        "skeleton": [[0, 1], [0, 2]],
    }
    drawn_as = "vector"
    Payload = KeypointPayload
    columns = ("x_min", "y_min", "x_max", "y_max", "keypoint_count", "visible_count")

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        values, extra = _PAYLOAD.load(data)
        scale = scale_of(values, frame)
        keypoints = [_placed(i, point, scale) for i, point in enumerate(values["keypoints"])]
        out: Data = {"keypoints": keypoints}
        if values.get("skeleton"):
            _check_skeleton(values["skeleton"], len(keypoints))
            out["skeleton"] = values["skeleton"]
        out |= frame_keys(values, frame)
        if extra:
            out["extra"] = extra
        return Loaded(out, bounds(_seen(out)), scale.scaled_from)

    def shapes(self, data: Data, frame: Frame) -> list[Shape]:
        """The keypoints that are not marked as unseen, and the lines between two of these."""
        seen = [i for i, point in enumerate(data["keypoints"]) if _is_seen(point)]
        position = {i: at for at, i in enumerate(seen)}
        lines = ((position.get(i), position.get(j)) for i, j in data.get("skeleton", ()))
        kept = tuple((a, b) for a, b in lines if a is not None and b is not None)
        return [Points(tuple(_seen(data)), kept)] if seen else []

    def row(self, data: Data) -> Data:
        """Bounds of the visible keypoints, and how many there are."""
        seen = _seen(data)
        box = bounds(seen)
        return {
            "x_min": box and box.x_min,
            "y_min": box and box.y_min,
            "x_max": box and box.x_max,
            "y_max": box and box.y_max,
            "keypoint_count": len(data["keypoints"]),
            "visible_count": len(seen),
        }


def _is_seen(point: Data) -> bool:
    return bool(point.get("visible", True))


def _seen(data: Data) -> list[tuple[float, float]]:
    return [(point["x"], point["y"]) for point in data["keypoints"] if _is_seen(point)]


def _placed(i: int, point: Data, scale: Scale) -> Data:
    """The keypoint in pixels of the image, its keys in canonical order."""
    x, y = point["x"] * scale.across, point["y"] * scale.down
    for key, value, side in (("x", x, scale.frame.width), ("y", y, scale.frame.height)):
        if far_outside(value, side):
            raise ValidationError({f"keypoints.{i}.{key}": [FAR]})
    point["x"], point["y"] = x, y
    return point


def _check_skeleton(skeleton: list[list[int]], count: int) -> None:
    for i, pair in enumerate(skeleton):
        if max(pair) >= count:
            reason = f"names keypoint {max(pair)}, but they go from 0 to {count - 1}"
            raise ValidationError({f"skeleton.{i}": [reason]})
