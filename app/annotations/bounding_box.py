"""A box with its sides along the image's."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeAlias

from marshmallow import ValidationError

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
from app.annotations.fields import Choice, Numbers, Real
from app.geometry import Frame, Rect, Shape, far_outside

Corners: TypeAlias = tuple[float, float, float, float]
CORNERS = ("x_min", "y_min", "x_max", "y_max")


class CornersPayload(FrameFields):
    """The canonical form."""

    x_min = Real(required=True)
    y_min = Real(required=True)
    x_max = Real(required=True)
    y_max = Real(required=True)

    names = CORNERS

    @staticmethod
    def corners(values: Data) -> Corners:
        return values["x_min"], values["y_min"], values["x_max"], values["y_max"]


class EdgesPayload(FrameFields):
    left = Real(required=True)
    top = Real(required=True)
    right = Real(required=True)
    bottom = Real(required=True)

    names = ("left", "top", "right", "bottom")

    @staticmethod
    def corners(values: Data) -> Corners:
        return values["left"], values["top"], values["right"], values["bottom"]


class ExtentPayload(FrameFields):
    x = Real(required=True)
    y = Real(required=True)
    width = Real(required=True)
    height = Real(required=True)

    names = ("x", "y", "width", "height")

    @staticmethod
    def corners(values: Data) -> Corners:
        return FORMATS["xywh"](values["x"], values["y"], values["width"], values["height"])


FORMATS: dict[str, Callable[[float, float, float, float], Corners]] = {
    "xyxy": lambda a, b, c, d: (a, b, c, d),
    "xywh": lambda x, y, width, height: (x, y, x + width, y + height),
    "cxcywh": lambda x, y, width, height: (x - width / 2, y - height / 2, x + width / 2, y + height / 2),
}


class ListPayload(FrameFields):
    bbox = Numbers(4, required=True)
    format = Choice(FORMATS, required=True)

    names = ("bbox.0", "bbox.1", "bbox.2", "bbox.3")

    @staticmethod
    def corners(values: Data) -> Corners:
        return FORMATS[values["format"]](*values["bbox"])


class _Form:
    def __init__(self, payload: type[Any], *own: str) -> None:
        self.part = Part(payload())
        self.own = frozenset(own)
        self.names: tuple[str, str, str, str] = payload.names
        self.corners = payload.corners


_CANONICAL = _Form(CornersPayload, *CORNERS)
_ALIASES = (
    _Form(EdgesPayload, "left", "top", "right", "bottom"),
    _Form(ExtentPayload, "x", "y", "width", "height"),
    _Form(ListPayload, "bbox"),
)


def _form_of(data: Data) -> _Form:
    """The canonical form where any of its keys stands, else an alias that is complete, else one begun."""
    if not _CANONICAL.own.isdisjoint(data):
        return _CANONICAL
    complete = (form for form in _ALIASES if form.own.issubset(data))
    begun = (form for form in _ALIASES if not form.own.isdisjoint(data))
    return next(complete, None) or next(begun, _CANONICAL)


class BoundingBox(AnnotationType):
    name = "bounding_box"
    title = "Bounding box"
    example: ClassVar[Data] = {"x_min": 12.0, "y_min": 8.5, "x_max": 220.0, "y_max": 164.0}
    drawn_as = "vector"
    Payload = CornersPayload
    aliases = (EdgesPayload, ExtentPayload, ListPayload)
    columns = CORNERS

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        form = _form_of(data)
        values, extra = form.part.load(data)
        scale = scale_of(values, frame)
        x_min, y_min, x_max, y_max = _checked(form, values, scale)
        out: Data = {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}
        if "image_width" in values or "image_height" in values:
            out.update(frame_keys(values, frame))
        if extra:
            out["extra"] = extra
        return Loaded(out, Rect(x_min, y_min, x_max, y_max), scale.scaled_from)

    def shapes(self, data: Data, frame: Frame) -> list[Shape]:
        return [Rect(data["x_min"], data["y_min"], data["x_max"], data["y_max"])]


def _checked(form: _Form, values: Data, scale: Scale) -> Corners:
    """The corners in pixels of the image, in order and not far outside."""
    x_min, y_min, x_max, y_max = form.corners(values)
    across, down, frame, _ = scale
    if across != 1.0 or down != 1.0:
        x_min, y_min, x_max, y_max = x_min * across, y_min * down, x_max * across, y_max * down
    corners = x_min, y_min, x_max, y_max
    width, height = frame
    in_order = x_max > x_min and y_max > y_min
    if (
        not in_order
        or far_outside(x_min, width)
        or far_outside(x_max, width)
        or far_outside(y_min, height)
        or far_outside(y_max, height)
    ):
        raise ValidationError(_faults(form, corners, frame))
    return corners


def _faults(form: _Form, corners: Corners, frame: Frame) -> dict[str, list[str]]:
    x_min, y_min, x_max, y_max = corners
    sides = (frame.width, frame.height, frame.width, frame.height)
    far = [
        name for name, value, side in zip(form.names, corners, sides, strict=True) if far_outside(value, side)
    ]
    errors = {name: [FAR] for name in far}
    if not x_max > x_min:
        errors.setdefault(form.names[2], []).append("must lie right of the left edge")
    if not y_max > y_min:
        errors.setdefault(form.names[3], []).append("must lie below the top edge")
    return errors
