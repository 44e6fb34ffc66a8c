"""Pictures laid over an image: composed masks, coloured heatmaps, re-encoded segmentations."""

from app.bitmaps.color_maps import COLOR_MAPS, color_map_named
from app.bitmaps.masks import MAX_WORK, mask_layer
from app.bitmaps.pictures import (
    EDGE_ALPHA,
    FILL_ALPHA,
    HEADER,
    MAX_PIXELS,
    MAX_SIDE,
    colour_mask,
    kind_of,
    mask_of,
    palette_png,
    recolour,
    with_colours,
)

__all__ = [
    "COLOR_MAPS",
    "EDGE_ALPHA",
    "FILL_ALPHA",
    "HEADER",
    "MAX_PIXELS",
    "MAX_SIDE",
    "MAX_WORK",
    "color_map_named",
    "colour_mask",
    "kind_of",
    "mask_layer",
    "mask_of",
    "palette_png",
    "recolour",
    "with_colours",
]
