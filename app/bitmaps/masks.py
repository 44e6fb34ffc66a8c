"""Run-length masks as one palette PNG: of a whole image, or of a part of it at full resolution."""

import math
from collections.abc import Sequence

import numpy as np

from app.bitmaps.color_maps import Bytes
from app.bitmaps.pictures import EDGE_ALPHA, FILL_ALPHA, MAX_SIDE, palette_png
from app.geometry import Bits, Frame, Raster, Rect, decode, raster_bounds, sample

MAX_WORK = 100_000_000
"""Pixels of all masks together; above it the layer is drawn smaller, so that many large ones stay bounded."""


def mask_layer(
    items: Sequence[tuple[Raster, int]],
    frame: Frame,
    palette: Sequence[str],
    part: Rect | None = None,
    side: int = MAX_SIDE,
) -> bytes:
    """Run-length masks over an image of this frame, or over a part of it, as one palette PNG, later ones on top.

    Each item is a mask with `runs` and its index in `palette` (`#rrggbb`, at most 127 colours). The inside is
    half transparent, the edge opaque, so that neighbours of one class stay apart. A mask of another size is
    stretched. `part` has whole numbers. The PNG is as large as the part in pixels of the image, or smaller in
    proportion: neither side above `side`. Parts that lie side by side fit together, edges too.
    """
    part = part or Rect(0, 0, frame.width, frame.height)
    factor = _factor(items, frame, part, side)
    canvas = np.zeros(
        (max(1, round(part.height * factor)), max(1, round(part.width * factor))), dtype=np.uint8
    )
    for raster, index in items:
        _stamp(canvas, part, frame, raster, index, len(palette))
    colours = b"".join(bytes.fromhex(colour.removeprefix("#")) for colour in palette)
    count = len(palette)
    alphas = bytes([0]) + bytes([FILL_ALPHA] * count) + bytes([EDGE_ALPHA] * count)
    return palette_png(canvas, bytes(3) + colours + colours, alphas)


def _factor(items: Sequence[tuple[Raster, int]], frame: Frame, part: Rect, side: int) -> float:
    """Pixels of the layer for one of the image."""
    work = 0.0
    for raster, _ in items:
        box = raster_bounds(raster, frame)
        if box is not None:
            across = min(box.x_max, part.x_max) - max(box.x_min, part.x_min)
            down = min(box.y_max, part.y_max) - max(box.y_min, part.y_min)
            work += max(across, 0) * max(down, 0)
    fits = min(1.0, side / max(part.width, part.height))
    return min(fits, math.sqrt(MAX_WORK / work) if work > 0 else 1.0)


def _stamp(canvas: Bytes, part: Rect, frame: Frame, raster: Raster, index: int, colours: int) -> None:
    """Draws one mask: its colour plus one inside, and `colours` more on its edge."""
    bounds = raster_bounds(raster, frame)
    if bounds is None:
        return
    height, width = canvas.shape
    across, down = width / part.width, height / part.height
    left, right = _cells(bounds.x_min, bounds.x_max, part.x_min, frame.width, across, width)
    top, bottom = _cells(bounds.y_min, bounds.y_max, part.y_min, frame.height, down, height)
    if left >= right or top >= bottom:
        return
    inside = _covering(raster, frame, part, (across, down), (left, top, right, bottom))
    edge = _edge(inside)
    seen = (slice(max(-top, 0), height - top), slice(max(-left, 0), width - left))
    inside, edge = inside[seen], edge[seen]
    target = canvas[
        max(top, 0) : max(top, 0) + inside.shape[0], max(left, 0) : max(left, 0) + inside.shape[1]
    ]
    target[inside] = 1 + index
    target[edge] = 1 + colours + index


def _cells(low: float, high: float, start: float, end: float, factor: float, size: int) -> tuple[int, int]:
    """First and end pixel of the layer that a mask meets, and where it goes on in the image one more, for its edge."""
    first = max(math.floor((low - start) * factor), -1 if start > 0 else 0)
    last = min(math.ceil((high - start) * factor), math.floor((end - start) * factor + 0.5), size + 1)
    return first, last


def _covering(
    raster: Raster,
    frame: Frame,
    part: Rect,
    factors: tuple[float, float],
    cells: tuple[int, int, int, int],
) -> Bits:
    """The mask in these pixels of the layer, as rows; by the nearest pixel where the sizes differ."""
    left, top, right, bottom = cells
    x, y = round(part.x_min), round(part.y_min)
    if (raster.width, raster.height) == tuple(frame) and factors == (1.0, 1.0):
        return decode(raster, left + x, top + y, right + x, bottom + y)
    columns = (np.arange(left, right) + 0.5) / factors[0] + part.x_min
    rows = (np.arange(top, bottom) + 0.5) / factors[1] + part.y_min
    columns, rows = columns * raster.width / frame.width, rows * raster.height / frame.height
    return sample(
        raster,
        np.clip(columns, 0, raster.width - 1).astype(np.int64),
        np.clip(rows, 0, raster.height - 1).astype(np.int64),
    )


def _edge(inside: Bits) -> Bits:
    """The pixels of a mask that have a neighbour outside it."""
    core = np.zeros_like(inside)
    core[1:-1, 1:-1] = (
        inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    )
    return inside & ~core
