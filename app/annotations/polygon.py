"""An outline with any number of corners, and holes."""

from typing import Any, ClassVar

from marshmallow import ValidationError, fields

from app.annotations.base import (
    AnnotationType,
    Data,
    FrameFields,
    Loaded,
    Part,
    frame_keys,
    place,
    scale_of,
)
from app.annotations.fields import MAX_POINTS, POINTS, PointPairs, pairs
from app.geometry import Frame, Polygon, Shape, bounds, polygon_area

MAX_HOLES = 10_000


class _Holes(fields.Field[list[list[list[float]]]]):
    """A list of rings, together at most `MAX_POINTS` points."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[list[list[float]]]:
        if not isinstance(value, (list, tuple)):
            raise ValidationError("must be a list of rings")
        if len(value) > MAX_HOLES or sum(len(ring) for ring in value if isinstance(ring, list)) > MAX_POINTS:
            raise ValidationError(f"must have at most {MAX_HOLES} rings and {MAX_POINTS} points")
        return [self._ring(i, ring) for i, ring in enumerate(value)]

    def json_form(self) -> dict[str, Any]:
        return {"type": "array", "maxItems": MAX_HOLES, "items": POINTS}

    def _ring(self, i: int, ring: Any) -> list[list[float]]:
        try:
            return pairs(ring)
        except ValidationError as error:
            raise ValidationError({str(i): error.messages}) from None


class PolygonPayload(FrameFields):
    """The canonical form."""

    points = PointPairs(required=True)
    holes = _Holes(allow_none=True)


_PAYLOAD = Part(PolygonPayload())


class PolygonType(AnnotationType):
    name = "polygon"
    title = "Polygon"
    example: ClassVar[Data] = {
        "points": [[20.0, 20.0], [180.0, 30.0], [160.0, 140.0], [30.0, 120.0]],
        "holes": [[[60.0, 60.0], [100.0, 60.0], [80.0, 90.0]]],
    }
    drawn_as = "vector"
    Payload = PolygonPayload
    columns = ("x_min", "y_min", "x_max", "y_max", "point_count", "hole_count", "area")

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        values, extra = _PAYLOAD.load(data)
        scale = scale_of(values, frame)
        out: Data = {"points": place(values["points"], scale, "points")}
        if values.get("holes"):
            out["holes"] = [place(hole, scale, f"holes.{i}") for i, hole in enumerate(values["holes"])]
        out |= frame_keys(values, frame)
        if extra:
            out["extra"] = extra
        return Loaded(out, bounds(out["points"]), scale.scaled_from)

    def shapes(self, data: Data, frame: Frame) -> list[Shape]:
        return [_polygon(data)]

    def row(self, data: Data) -> Data:
        """Bounds, how many points and holes, and the area in square pixels."""
        box = bounds(data["points"])
        assert box is not None  # a canonical polygon has three points
        return {
            "x_min": box.x_min,
            "y_min": box.y_min,
            "x_max": box.x_max,
            "y_max": box.y_max,
            "point_count": len(data["points"]),
            "hole_count": len(data.get("holes", ())),
            "area": polygon_area(_polygon(data)),
        }


def _polygon(data: Data) -> Polygon:
    holes = tuple(tuple((x, y) for x, y in hole) for hole in data.get("holes", ()))
    return Polygon(tuple((x, y) for x, y in data["points"]), holes)
