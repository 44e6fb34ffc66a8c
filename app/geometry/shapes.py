"""Shapes, and pure functions on boxes and rings."""

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


class Rect(NamedTuple):
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
