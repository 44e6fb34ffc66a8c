"""Shapes in pixels of the upright image (origin top left, x to the right, y down) and pure functions on them.

Run-length masks follow the COCO API (github.com/cocodataset/cocoapi, `common/maskApi.c`): column-major, the
first run is background, as a list of runs or as the API's compressed text.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Point: TypeAlias = tuple[float, float]
Runs: TypeAlias = NDArray[np.int64]
Bits: TypeAlias = NDArray[np.bool_]


class Frame(NamedTuple):
    """The size of a picture in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Rect:
    x_min: float
    y_min: float
    x_max: float
    y_max: float

    @property
    def width(self) -> float:
        return self.x_max - self.x_min

    @property
    def height(self) -> float:
        return self.y_max - self.y_min


@dataclass(frozen=True, slots=True)
class Polygon:
    """One outer ring and the rings cut out of it; rings are closed by themselves."""

    points: tuple[Point, ...]
    holes: tuple[tuple[Point, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Points:
    """Dots, and lines between them by position in `points` (from 0)."""

    points: tuple[Point, ...]
    lines: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """A picture stretched over the image: a run-length mask, or without `runs` a PNG in the object store."""

    width: int
    height: int
    runs: Runs | None = None


Shape: TypeAlias = Rect | Polygon | Points | Raster


def bounds(points: Iterable[Point]) -> Rect | None:
    """The smallest upright rectangle around the points; None without any."""
    pairs = list(points)
    if not pairs:
        return None
    xs, ys = zip(*pairs, strict=True)
    return Rect(min(xs), min(ys), max(xs), max(ys))


def union(rects: Iterable[Rect | None]) -> Rect | None:
    """The smallest rectangle around all of them; None counts for nothing."""
    real = [rect for rect in rects if rect is not None]
    if not real:
        return None
    return Rect(
        min(rect.x_min for rect in real),
        min(rect.y_min for rect in real),
        max(rect.x_max for rect in real),
        max(rect.y_max for rect in real),
    )


def shape_bounds(shape: Shape, frame: Frame) -> Rect | None:
    """The bounds of a shape over an image of this frame; None when it covers nothing."""
    if isinstance(shape, Rect):
        return shape
    if isinstance(shape, Raster):
        return raster_bounds(shape, frame)
    return bounds(shape.points)


def clamp(rect: Rect, frame: Frame) -> Rect | None:
    """The part of the rectangle inside the frame; None when there is none."""
    inside = Rect(
        max(rect.x_min, 0), max(rect.y_min, 0), min(rect.x_max, frame.width), min(rect.y_max, frame.height)
    )
    return inside if inside.width >= 0 and inside.height >= 0 else None


def far_outside(value: float, side: int) -> bool:
    """Whether a coordinate lies more than one image size beyond an edge of a side this long."""
    return not -side <= value <= 2 * side


def signed_area(ring: Sequence[Point]) -> float:
    """The shoelace sum: positive when the ring runs clockwise as seen on the screen."""
    if len(ring) < 3:
        return 0.0
    total, (x0, y0) = 0.0, ring[-1]
    for x, y in ring:
        total += x0 * y - x * y0
        x0, y0 = x, y
    return total / 2


def polygon_area(polygon: Polygon) -> float:
    return abs(signed_area(polygon.points)) - sum(abs(signed_area(hole)) for hole in polygon.holes)


def simplify(ring: Sequence[Point], tolerance: float) -> Sequence[Point]:
    """The ring without points that matter less than `tolerance`; at least 3 remain.

    Takes time in proportion to the points, whatever they are: Zhao and Saalfeld's sleeve-fitting (1997).
    Every point left out is within the tolerance of the side that passes it.
    """
    if len(ring) <= 8:
        return ring
    x, y = ring[0]
    middle = max(range(1, len(ring) - 1), key=lambda i: (ring[i][0] - x) ** 2 + (ring[i][1] - y) ** 2)
    return [
        *_sleeves(ring, 0, middle, tolerance),
        *_sleeves(ring, middle, len(ring) - 1, tolerance),
        ring[-1],
    ]


def _sleeves(ring: Sequence[Point], first: int, last: int, tolerance: float) -> list[Point]:
    """The points to keep from `first` until before `last`.

    A side grows from its anchor as long as it stays in the cone that passes every point since then closely
    enough, and does not end much nearer than one of them was: aside and back together are the tolerance.
    """
    aside, back = 0.8 * tolerance, 0.6 * tolerance
    kept = [ring[first]]
    x0, y0 = ring[first]
    reach, open_cone = 0.0, True
    left_x = left_y = right_x = right_y = 0.0
    for i in range(first + 1, last + 1):
        x, y = ring[i][0] - x0, ring[i][1] - y0
        away = math.hypot(x, y)
        inside = open_cone or (right_x * y >= right_y * x and x * left_y >= y * left_x)
        if not inside or away < reach - back:
            x0, y0 = ring[i - 1]
            kept.append((x0, y0))
            x, y = ring[i][0] - x0, ring[i][1] - y0
            away, reach, open_cone = math.hypot(x, y), 0.0, True
        reach = max(reach, away)
        if away <= aside:
            continue
        # the two lines from the anchor that touch the circle of radius `aside` around the point
        sine = aside / away
        cosine = math.sqrt(1 - sine * sine)
        to_left_x, to_left_y = x * cosine - y * sine, y * cosine + x * sine
        to_right_x, to_right_y = x * cosine + y * sine, y * cosine - x * sine
        if open_cone or to_left_x * left_y > to_left_y * left_x:
            left_x, left_y = to_left_x, to_left_y
        if open_cone or to_right_x * right_y < to_right_y * right_x:
            right_x, right_y = to_right_x, to_right_y
        open_cone = False
    return kept


def runs_from_text(text: str) -> Runs:
    """The runs of COCO's compressed text: 5 bits a character, low first, from index 3 as differences.

    Raises ValueError for characters outside `0`…`o`, an unfinished number or one beyond 35 bits.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError("has a character outside '0' to 'o'") from None
    if not codes.size:
        return np.zeros(0, dtype=np.int64)
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError("has a character outside '0' to 'o'")
    ends = np.flatnonzero(codes & 0x20 == 0)
    if not ends.size or ends[-1] != codes.size - 1:
        raise ValueError("ends in the middle of a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise ValueError("has a number beyond 35 bits")
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 0x1F) << shifts, starts)
    values -= np.where(codes[ends] & 0x10, np.int64(1) << 5 * lengths, 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def text_from_runs(runs: Runs) -> str:
    """The inverse of `runs_from_text`."""
    out = bytearray()
    for i, run in enumerate(runs.tolist()):
        value = run - int(runs[i - 2]) if i > 2 else run
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            out.append((code | 0x20 if more else code) + 48)
    return out.decode("ascii")


def check_runs(runs: Runs, width: int, height: int) -> None:
    """ValueError unless the runs are not negative and add up to width · height."""
    if runs.size and runs.min() < 0:
        raise ValueError("has a negative run")
    if runs.size and runs.max() > width * height:  # before the sum, which could overflow into the right one
        raise ValueError("has a run longer than the size has pixels")
    total = int(runs.sum())
    if total != width * height:
        raise ValueError(f"adds up to {total}, but the size [{height}, {width}] has {width * height} pixels")


def _spans(raster: Raster) -> tuple[Runs, Runs]:
    """First and end position, column-major, of every foreground run that is not empty."""
    if raster.runs is None:
        raise ValueError("this raster stands in the object store and has no runs")
    ends = np.cumsum(raster.runs)
    starts, ends = (ends - raster.runs)[1::2], ends[1::2]
    real = ends > starts
    return starts[real], ends[real]


def raster_area(raster: Raster) -> int:
    """Foreground pixels of a run-length mask, in its own size."""
    starts, ends = _spans(raster)
    return int((ends - starts).sum())


def raster_box(raster: Raster) -> tuple[int, int, int, int] | None:
    """`(left, top, right, bottom)` of the foreground in the mask's own pixels, ends excluded."""
    starts, ends = _spans(raster)
    if not starts.size:
        return None
    height, last = raster.height, ends - 1
    left, right = int(starts[0]) // height, int(last[-1]) // height + 1
    if np.any(starts // height != last // height):
        return left, 0, right, height
    return left, int((starts % height).min()), right, int((last % height).max()) + 1


def raster_bounds(raster: Raster, frame: Frame) -> Rect | None:
    """The bounds of the foreground over an image of this frame; a stored PNG covers all of it."""
    if raster.runs is None:
        return Rect(0.0, 0.0, float(frame.width), float(frame.height))
    box = raster_box(raster)
    if box is None:
        return None
    across, down = frame.width / raster.width, frame.height / raster.height
    return Rect(box[0] * across, box[1] * down, box[2] * across, box[3] * down)


def decode_crop(raster: Raster) -> tuple[tuple[int, int, int, int], Bits] | None:
    """The `raster_box` and the mask inside it as rows; never decodes more than the columns in use."""
    box = raster_box(raster)
    if box is None:
        return None
    left, top, right, bottom = box
    starts, ends = _spans(raster)
    height, offset = raster.height, left * raster.height
    steps = np.zeros((right - left) * height + 1, dtype=np.int8)
    steps[starts - offset] += 1
    steps[ends - offset] -= 1
    columns = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_).reshape(right - left, height)
    return box, columns[:, top:bottom].T


def sample(raster: Raster, columns: Runs, rows: Runs) -> Bits:
    """The mask at each crossing of these rows and columns, looked up in the runs without decoding."""
    if raster.runs is None:
        raise ValueError("this raster stands in the object store and has no runs")
    positions = columns[None, :] * raster.height + rows[:, None]
    run = np.searchsorted(np.cumsum(raster.runs), positions, side="right")
    return np.asarray(run % 2 == 1)
