"""Shapes in pixels of the upright image (origin top left, x to the right, y down) and pure functions on them."""

from app.geometry.fill import filled, resized
from app.geometry.hits import contains
from app.geometry.masks import (
    check_runs,
    decode,
    decode_crop,
    raster_area,
    raster_bounds,
    raster_box,
    runs_from_text,
    runs_of,
    sample,
    text_from_runs,
)
from app.geometry.outlines import has_exact_outlines, outlines
from app.geometry.rings import cut, joined
from app.geometry.shapes import (
    Bits,
    Frame,
    Point,
    Points,
    Polygon,
    Raster,
    Rect,
    Runs,
    Shape,
    bounds,
    clamp,
    far_outside,
    polygon_area,
    signed_area,
    simplify,
    union,
)

__all__ = [
    "Bits",
    "Frame",
    "Point",
    "Points",
    "Polygon",
    "Raster",
    "Rect",
    "Runs",
    "Shape",
    "bounds",
    "check_runs",
    "clamp",
    "contains",
    "cut",
    "decode",
    "decode_crop",
    "far_outside",
    "filled",
    "has_exact_outlines",
    "joined",
    "outlines",
    "polygon_area",
    "raster_area",
    "raster_bounds",
    "raster_box",
    "resized",
    "runs_from_text",
    "runs_of",
    "sample",
    "shape_bounds",
    "signed_area",
    "simplify",
    "text_from_runs",
    "union",
]


def shape_bounds(shape: Shape, frame: Frame) -> Rect | None:
    """The bounds of a shape over an image of this frame; None when it covers nothing."""
    if isinstance(shape, Rect):
        return shape
    if isinstance(shape, Raster):
        return raster_bounds(shape, frame)
    return bounds(shape.points)
