"""A value for every pixel, as a PNG artifact stretched over the image."""

from typing import ClassVar

from marshmallow import Schema, ValidationError

from app.annotations.base import AnnotationType, Data, Loaded, Part, present, require_artifact
from app.annotations.fields import Name, Real, Whole
from app.geometry import Frame, Raster, Shape, raster_bounds

MAX_PIXELS = 100_000_000
MAX_SIDE = 100_000


class HeatmapPayload(Schema):
    """The canonical form."""

    width = Whole(1, MAX_SIDE, required=True)
    height = Whole(1, MAX_SIDE, required=True)
    color_map = Name(64, allow_none=True)
    vmin = Real(allow_none=True)
    vmax = Real(allow_none=True)
    unit = Name(64, allow_none=True)


_PAYLOAD = Part(HeatmapPayload())


class Heatmap(AnnotationType):
    name = "heatmap"
    title = "Heatmap"
    example: ClassVar[Data] = {
        "width": 512,
        "height": 384,
        "color_map": "viridis",
        "vmin": 0.0,
        "vmax": 1.0,
        "unit": "probability",
    }
    drawn_as = "bitmap"
    Payload = HeatmapPayload
    columns = ("width", "height", "color_map", "vmin", "vmax", "unit")

    def _load(self, data: Data, frame: Frame, storage_path: str | None) -> Loaded:
        values, extra = _PAYLOAD.load(data)
        if values["width"] * values["height"] > MAX_PIXELS:
            raise ValidationError({"width": [f"times height must be at most {MAX_PIXELS} pixels"]})
        require_artifact(storage_path, "a heatmap")
        out = present(values, *self.columns) | ({"extra": extra} if extra else {})
        return Loaded(out, raster_bounds(Raster(out["width"], out["height"]), frame))

    def needs_storage_path(self, data: Data) -> bool:
        return True

    def shapes(self, data: Data, frame: Frame) -> list[Shape]:
        return [Raster(data["width"], data["height"])]
