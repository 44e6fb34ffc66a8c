"""Which pixels belong to a thing: COCO run-lengths, COCO polygons, or a PNG artifact."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
from marshmallow import Schema, ValidationError, fields

from app.annotations.base import (
    AnnotationType,
    Data,
    FrameFields,
    Loaded,
    Part,
    Scale,
    frame_keys,
    place,
    present,
    require_artifact,
    scale_of,
)
from app.annotations.compiled import compiled
from app.annotations.fields import (
    MAX_POINTS,
    NUMBER,
    Choice,
    Numbers,
    Real,
    numbers,
    whole,
)
from app.geometry import (
    Frame,
    Point,
    Polygon,
    Raster,
    Rect,
    Runs,
    Shape,
    bounds,
    check_runs,
    raster_area,
    raster_bounds,
    runs_from_text,
    signed_area,
    union,
)

FORMATS = ("rle", "polygon", "png")
MAX_RUNS = 2_000_000
MAX_POLYGONS = 10_000
MAX_PIXELS = 100_000_000
MAX_SIDE = 100_000


class _Counts(fields.Field[str | list[int]]):
    """COCO's compressed text, or a list of runs."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> str | list[int]:
        if not isinstance(value, (str, list)):
            raise ValidationError("must be COCO's compressed text or a list of runs")
        if len(value) > MAX_RUNS:
            raise ValidationError(f"must have at most {MAX_RUNS} runs")
        if isinstance(value, str):
            return value
        return [self._run(i, run) for i, run in enumerate(value)]

    def json_form(self) -> dict[str, Any]:
        run = {"type": "integer", "minimum": 0, "maximum": MAX_PIXELS}
        runs = {"type": "array", "maxItems": MAX_RUNS, "items": run}
        return {"anyOf": [{"type": "string", "maxLength": MAX_RUNS}, runs]}

    def _run(self, i: int, run: Any) -> int:
        if type(run) is int and 0 <= run <= MAX_PIXELS:
            return run
        try:
            return whole(run, 0, MAX_PIXELS)
        except ValidationError as error:
            raise ValidationError({str(i): error.messages}) from None


class _Size(fields.Field[list[int]]):
    """`[height, width]`."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[int]:
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValidationError("must be [height, width]")
        height, width = (whole(side, 1, MAX_SIDE) for side in value)
        if height * width > MAX_PIXELS:
            raise ValidationError(f"must be at most {MAX_PIXELS} pixels")
        return [height, width]

    def json_form(self) -> dict[str, Any]:
        side = {"type": "integer", "minimum": 1, "maximum": MAX_SIDE}
        return {"type": "array", "minItems": 2, "maxItems": 2, "items": side}


class _FlatRings(fields.Field[list[list[float]]]):
    """`[[x, y, x, y, …], …]`: one ring or more, together at most `MAX_POINTS` points."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[list[float]]:
        if not isinstance(value, (list, tuple)) or not value:
            raise ValidationError("must be a list of at least one polygon")
        if len(value) > MAX_POLYGONS:
            raise ValidationError(f"must have at most {MAX_POLYGONS} polygons")
        if sum(len(ring) for ring in value if isinstance(ring, list)) > 2 * MAX_POINTS:
            raise ValidationError(f"must have at most {MAX_POINTS} points")
        return [self._ring(i, ring) for i, ring in enumerate(value)]

    def json_form(self) -> dict[str, Any]:
        ring = {"type": "array", "minItems": 6, "maxItems": 2 * MAX_POINTS, "items": NUMBER}
        return {"type": "array", "minItems": 1, "maxItems": MAX_POLYGONS, "items": ring}

    def _ring(self, i: int, ring: Any) -> list[float]:
        try:
            flat = numbers(ring, 2 * MAX_POINTS)
            if len(flat) < 6 or len(flat) % 2:
                raise ValidationError("must be an even number of at least 6 coordinates")
            return flat
        except ValidationError as error:
            raise ValidationError({str(i): error.messages}) from None


class SegmentationPayload(Schema):
    """What every canonical form has; the rest is by `format`."""

    format = Choice(FORMATS, required=True)


class RlePayload(SegmentationPayload):
    format = Choice(("rle",), required=True)
    counts = _Counts(required=True)
    size = _Size(allow_none=True)
    bbox = Numbers(4, allow_none=True)
    area = Real(0, allow_none=True)


class PolygonsPayload(SegmentationPayload, FrameFields):
    format = Choice(("polygon",), required=True)
    polygons = _FlatRings(required=True)


class PngPayload(SegmentationPayload):
    """The mask itself is the artifact at `storage_path`."""

    format = Choice(("png",), required=True)


class MaskPayload(SegmentationPayload):
    """PNG without saying so, as the type name `mask` has it."""

    format = Choice(("png",), allow_none=True)


class Segmentation(AnnotationType):
    name = "segmentation"
    title = "Segmentation"
    example: ClassVar[Data] = {"format": "rle", "counts": [29, 4, 5, 4, 5, 4, 39], "size": [9, 10]}
    drawn_as = "bitmap"
    Payload = SegmentationPayload
    forms = (RlePayload, PolygonsPayload, PngPayload)
    columns = ("format", "mask_width", "mask_height", "x_min", "y_min", "x_max", "y_max", "area")

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        named = data.get("format")
        form = _FORMS.get(named) if isinstance(named, str) else None
        if form is None:
            _PNG.part.load(data)  # says what is wrong with the format
            raise AssertionError("a format that is in FORMATS has a form")
        values, extra = form.part.load(data)
        loaded = form.build(values, data, frame)
        if named == "png":
            require_artifact(storage_path, "a segmentation of this format")
        if extra:
            loaded.data["extra"] = extra
        return loaded

    def needs_storage_path(self, data: Data) -> bool:
        return bool(data["format"] == "png")

    def shapes(self, data: Data, frame: Frame) -> list[Shape]:
        """One Raster of a mask or picture, or one Polygon each; several polygons are one thing together."""
        if data["format"] == "rle":
            return [_raster(data)]
        if data["format"] == "png":
            return [Raster(frame.width, frame.height)]
        return [Polygon(ring) for ring in _rings(data)]

    def row(self, data: Data) -> Data:
        """Bounds and area in pixels: of the mask's own size for `rle`, of the image for `polygon`."""
        size: tuple[int | None, int | None] = (None, None)
        box: Rect | None = None
        area: float | None = None
        if data["format"] == "rle":
            raster = _raster(data)
            size = (raster.width, raster.height)
            box, area = raster_bounds(raster, Frame(raster.width, raster.height)), raster_area(raster)
        elif data["format"] == "polygon":
            rings = _rings(data)
            box, area = union(map(bounds, rings)), sum(abs(signed_area(ring)) for ring in rings)
        corners = (box.x_min, box.y_min, box.x_max, box.y_max) if box else (None,) * 4
        return dict(zip(self.columns, (data["format"], *size, *corners, area), strict=True))


class MaskAlias(Segmentation):
    """The type name `mask` that older pipelines send: a segmentation as PNG unless it names its format."""

    aliases = (MaskPayload,)

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        return super()._load(
            data if data.get("format") is not None else data | {"format": "png"}, frame, storage_path
        )


class _Form(NamedTuple):
    """How one format is validated and made canonical."""

    part: Part
    build: Callable[[Data, Data, Frame], Loaded]


def _rle(values: Data, sent: Data, frame: Frame) -> Loaded:
    """The size that is left out is the frame the pipeline named, else the image's."""
    size = values.get("size") or _default_size(sent, frame)
    out = {"format": "rle", "counts": values["counts"], "size": size} | present(values, "bbox", "area")
    try:
        raster = _raster(out)
        assert raster.runs is not None
        check_runs(raster.runs, raster.width, raster.height)
    except ValueError as error:
        raise ValidationError({"counts": [str(error)]}) from None
    return Loaded(out, raster_bounds(raster, frame))


def _default_size(sent: Data, frame: Frame) -> list[int]:
    """`image_width` and `image_height` stay in `extra` of a mask; here they only say how large it is."""
    named = _SIZE(sent)
    width, height = named.get("image_width") or frame.width, named.get("image_height") or frame.height
    return [height, width]


def _polygons(values: Data, sent: Data, frame: Frame) -> Loaded:
    scale = scale_of(values, frame)
    rings = [_place_flat(i, ring, scale) for i, ring in enumerate(values["polygons"])]
    out = {"format": "polygon", "polygons": rings} | frame_keys(values, frame)
    return Loaded(out, union(map(bounds, _rings(out))), scale.scaled_from)


def _place_flat(i: int, ring: list[float], scale: Scale) -> list[float]:
    points = [[x, y] for x, y in zip(ring[::2], ring[1::2], strict=True)]
    return [value for point in place(points, scale, f"polygons.{i}") for value in point]


def _png(values: Data, sent: Data, frame: Frame) -> Loaded:
    return Loaded({"format": "png"}, Rect(0.0, 0.0, float(frame.width), float(frame.height)))


_PNG = _Form(Part(SegmentationPayload()), _png)
_FORMS = {
    "rle": _Form(Part(RlePayload()), _rle),
    "polygon": _Form(Part(PolygonsPayload()), _polygons),
    "png": _PNG,
}
_SIZE = compiled(FrameFields(only=("image_width", "image_height")))


def _raster(data: Data) -> Raster:
    """The mask of canonical `data`; ValueError when its text cannot be read."""
    counts, (height, width) = data["counts"], data["size"]
    runs: Runs = runs_from_text(counts) if isinstance(counts, str) else np.array(counts, dtype=np.int64)
    return Raster(width, height, runs)


def _rings(data: Data) -> list[tuple[Point, ...]]:
    return [tuple(zip(ring[::2], ring[1::2], strict=True)) for ring in data["polygons"]]
