"""The exact border of a run-length mask, along the edges of its pixels."""

import math

import numpy as np

from app.geometry.masks import raster_box, runs_of, sample, spans
from app.geometry.shapes import Frame, Point, Raster, Runs

MAX_CORNERS = 50_000
COARSE_PIXELS = 1_000_000


def outlines(raster: Raster, frame: Frame, most: int = MAX_CORNERS) -> list[tuple[Point, ...]]:
    """The border of the foreground as closed rings of corners; filled even-odd they are the mask again.

    The rings are rectilinear and in pixels of an image of this frame: stretched, where the mask has another
    size. Pixels that meet only at a corner are apart. Time and memory go with the runs and columns, not with the
    pixels. A mask with more than `most` corners (noise, or an attack) is outlined on a grid coarse enough to
    have fewer, each cell as the pixel in its middle.
    """
    x, y, partner = _corners(*_segments(raster), raster.height)
    left, top, step = 0, 0, 1
    box = raster_box(raster)
    if x.size > most and box is not None:
        left, top = box[:2]
        step = max(2, math.ceil(math.sqrt((box[2] - left) * (box[3] - top) / COARSE_PIXELS)))
        while x.size > most:
            coarse = _coarse(raster, box, step)
            x, y, partner = _corners(*_segments(coarse), coarse.height)
            step *= 2
        step //= 2
        x, y = np.minimum(left + x * step, box[2]), np.minimum(top + y * step, box[3])
    across, down = frame.width / raster.width, frame.height / raster.height
    points = list(zip((x * across).tolist(), (y * down).tolist(), strict=True))
    return [tuple(points[corner] for corner in ring) for ring in _rings(partner.tolist())]


def has_exact_outlines(raster: Raster, most: int = MAX_CORNERS) -> bool:
    """Whether `outlines` does not take a coarser grid."""
    return _corners(*_segments(raster), raster.height)[0].size <= most


def _segments(raster: Raster) -> tuple[Runs, Runs, Runs]:
    """Column, first row and end row of every stretch of foreground in one column, none touching another."""
    starts, ends = spans(raster)
    apart = starts[1:] != ends[:-1]
    starts, ends = starts[np.append(True, apart)[: starts.size]], ends[np.append(apart, True)[: ends.size]]
    height = raster.height
    first, last = starts // height, (ends - 1) // height
    times = last - first + 1
    column = np.repeat(first - np.cumsum(times) + times, times) + np.arange(int(times.sum()))
    start, end = np.repeat(starts, times), np.repeat(ends, times)
    top = np.maximum(start - column * height, 0)
    return column, top, np.minimum(end - column * height, height)


def _corners(column: Runs, top: Runs, bottom: Runs, height: int) -> tuple[Runs, Runs, Runs]:
    """x and y of every corner of the border, by column, and the corner at the other end of its horizontal side.

    The one at the other end of its vertical side is its neighbour in the order: 0 and 1, 2 and 3, and so on. A
    horizontal side ends where the columns to its left and right do not begin or end at the same row. Where one
    begins as the other ends, two pixels meet at a corner, and there are two corners in one place.
    """
    side = height + 1
    rows = np.stack([top, bottom], axis=1).ravel()
    opens = np.tile(np.array([True, False]), top.size)
    right_of = np.repeat(column, 2) * side + rows  # the place whose right column begins or ends there
    left_of = right_of + side
    common, at_right, at_left = np.intersect1d(right_of, left_of, assume_unique=True, return_indices=True)
    meeting = opens[at_right] != opens[at_left]
    twice, falling = common[meeting], opens[at_right][meeting]
    places = np.sort(np.concatenate([np.setxor1d(right_of, left_of, assume_unique=True), twice, twice]))
    x, y = places // side, places % side
    # of two corners in one place the first has the side above it; which has the side to the left of it depends
    second = np.zeros(places.size, dtype=np.int64)
    at = np.searchsorted(places, twice)
    second[at], second[at + 1] = ~falling, falling
    order = np.lexsort((second, x, y))
    partner = np.empty(places.size, dtype=np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return x, y, partner


def _rings(partner: list[int]) -> list[list[int]]:
    """The corners of each ring, walked along a horizontal side, then a vertical one, and so on."""
    seen, rings = bytearray(len(partner)), []
    for start in range(len(partner)):
        ring, corner = [], start
        while not seen[corner]:
            over = partner[corner]
            seen[corner] = seen[over] = 1
            ring += [corner, over]
            corner = over ^ 1
        if ring:
            rings.append(ring)
    return rings


def _coarse(raster: Raster, box: tuple[int, int, int, int], step: int) -> Raster:
    """The part of a mask inside the box in cells of `step` pixels."""
    left, top, right, bottom = box
    columns = np.minimum(np.arange(left, right, step) + step // 2, right - 1)
    rows = np.minimum(np.arange(top, bottom, step) + step // 2, bottom - 1)
    return Raster(columns.size, rows.size, runs_of(sample(raster, columns, rows)))
