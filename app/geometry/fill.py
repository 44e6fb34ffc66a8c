"""Rings filled as run-length masks, and masks brought to another size; neither ever holds a whole picture.

Rings are filled as the COCO API fills them, pixel for pixel (github.com/cocodataset/cocoapi, `rleFrPoly` in
`common/maskApi.c`): corners are rounded to a fifth of a pixel, and a ring covers the pixels whose column has its
middle between two crossings of the border.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from app.geometry.shapes import Frame, Point, Polygon, Raster, Runs

FINE = 5  # steps of a pixel in which the API draws
MIDDLE = 2  # the border crosses a column between this step and the next
MAX_CROSSINGS = 500_000
BLOCK = 1_000_000  # pixels of a mask that are looked up at a time

Steps = NDArray[np.int64]


def filled(polygons: Iterable[Polygon], frame: Frame) -> Raster | None:
    """The pixels of a frame that lie in any of the polygons and in none of its holes.

    None when the borders cross more than `MAX_CROSSINGS` columns: such a mask takes more memory than it is worth.
    """
    shapes = list(polygons)
    rings = [ring for shape in shapes for ring in (shape.points, *shape.holes)]
    if sum(_columns_crossed(ring) for ring in rings) > MAX_CROSSINGS:
        return None
    parts = [_without(_toggles(shape.points, frame), _any(_each(shape.holes, frame))) for shape in shapes]
    return _raster(_any(parts), frame)


def resized(raster: Raster, frame: Frame) -> Raster:
    """The mask stretched over a frame: each pixel is the one of the mask that its middle lies in."""
    if (raster.width, raster.height) == frame:
        return raster
    if raster.runs is None:
        raise ValueError("this raster stands in the object store and has no runs")
    ends = np.cumsum(raster.runs)
    rows = ((np.arange(frame.height) + 0.5) * raster.height / frame.height).astype(np.int64)
    columns = ((np.arange(frame.width) + 0.5) * raster.width / frame.width).astype(np.int64)
    step, before, found = max(1, BLOCK // frame.height), False, []
    for first in range(0, frame.width, step):
        places = columns[first : first + step, None] * raster.height + rows[None, :]
        inside = (np.searchsorted(ends, places, side="right") % 2 == 1).ravel()
        found.append(np.flatnonzero(np.diff(inside, prepend=before)) + first * frame.height)
        before = bool(inside[-1])
    return _raster(np.concatenate(found), frame)


def _raster(toggles: Steps, frame: Frame) -> Raster:
    """The mask that begins as background and turns at each of these positions, column-major and in order."""
    end = frame.width * frame.height
    inner = toggles[toggles < end]
    runs: Runs = np.diff(np.concatenate(([0], inner, [end])))
    return Raster(frame.width, frame.height, runs)


def _each(rings: Iterable[Sequence[Point]], frame: Frame) -> Iterator[Steps]:
    return (_toggles(ring, frame) for ring in rings)


def _columns_crossed(ring: Sequence[Point]) -> float:
    return sum(abs(x - before) for (x, _), (before, _) in zip(ring, [*ring[1:], ring[0]], strict=True))


def _toggles(ring: Sequence[Point], frame: Frame) -> Steps:
    """Where a ring's mask turns, column-major, in order, each position once."""
    corners = np.trunc(np.asarray(ring, dtype=np.float64) * FINE + 0.5).astype(np.int64)
    nexts = np.roll(corners, -1, axis=0)
    across, down = np.abs(nexts - corners).T
    # every side is walked from its lower end along its longer axis, whichever way the ring runs
    turned = np.where(across >= down, corners[:, 0] > nexts[:, 0], corners[:, 1] > nexts[:, 1])[:, None]
    starts, ends = np.where(turned, nexts, corners), np.where(turned, corners, nexts)
    flat = across >= down
    columns, heights = zip(
        _crossings_of_flat(starts[flat], ends[flat], frame),
        _crossings_of_steep(starts[~flat], ends[~flat], frame),
        strict=True,
    )
    y = (np.concatenate(heights) + 0.5) / FINE - 0.5
    y = np.ceil(np.clip(y, 0, frame.height)).astype(np.int64)
    places, times = np.unique(np.concatenate(columns) * frame.height + y, return_counts=True)
    odd: Steps = places[times % 2 == 1]
    return odd


def _columns(low: Steps, high: Steps, frame: Frame) -> tuple[Steps, Steps]:
    """Which side crosses the middle of which column: positions in `low` and `high` (fine x), and columns."""
    first = np.maximum(-(-(low - MIDDLE) // FINE), 0)
    last = np.minimum((high - 1 - MIDDLE) // FINE, frame.width - 1)
    times = np.maximum(last - first + 1, 0)
    side = np.repeat(np.arange(low.size), times)
    return side, np.arange(side.size) - np.repeat(np.cumsum(times) - times, times) + first[side]


def _crossings_of_flat(start: Steps, end: Steps, frame: Frame) -> tuple[Steps, Steps]:
    """Columns and fine y of the crossings of sides that are wider than high: one step in x at a time."""
    side, column = _columns(start[:, 0], end[:, 0], frame)
    x, y = start[side].T
    slope = (end[side, 1] - y) / np.maximum(end[side, 0] - x, 1)
    step = column * FINE + MIDDLE - x
    before, after = (np.trunc(y + slope * at + 0.5).astype(np.int64) for at in (step, step + 1))
    return column, np.minimum(before, after)


def _crossings_of_steep(start: Steps, end: Steps, frame: Frame) -> tuple[Steps, Steps]:
    """The same of sides that are higher than wide: one step in y at a time, and the first that is over the middle."""
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    side, column = _columns(low, high, frame)
    x, y = start[side].T
    slope = (end[side, 0] - x) / (end[side, 1] - y)
    edge = column * FINE + MIDDLE + 1
    step = np.floor((edge - 0.5 - x) / slope).astype(np.int64) - 1
    for _ in range(3):  # the division is only about right, the drawing decides
        drawn = np.trunc(x + slope * step + 0.5)
        step += np.where(slope > 0, drawn < edge, drawn >= edge)
    return column, y + step - 1


def _any(parts: Iterable[Steps]) -> Steps:
    """Where the union of masks turns."""
    real = [part for part in parts if part.size]
    if len(real) < 2:
        return real[0] if real else np.zeros(0, dtype=np.int64)
    places = np.concatenate(real)
    changes = np.concatenate([np.resize([1, -1], part.size) for part in real])
    order = np.argsort(places, kind="stable")
    places, depth = places[order], np.cumsum(changes[order])
    last = np.append(places[1:] != places[:-1], True)
    return _turns(places[last], depth[last] > 0)


def _without(whole: Steps, holes: Steps) -> Steps:
    """Where a mask without another turns."""
    if not holes.size or not whole.size:
        return whole
    places = np.union1d(whole, holes)
    inside, cut = (np.searchsorted(part, places, side="right") % 2 == 1 for part in (whole, holes))
    return _turns(places, inside & ~cut)


def _turns(places: Steps, inside: NDArray[np.bool_]) -> Steps:
    turns: Steps = places[np.diff(inside, prepend=False)]
    return turns
