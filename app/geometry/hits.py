"""Whether a point is on a shape."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from app.geometry.masks import sample
from app.geometry.shapes import Frame, Point, Points, Polygon, Raster, Rect, Shape


def contains(shape: Shape, x: float, y: float, slack: float, frame: Frame) -> bool:
    """Whether a point of an image of this frame lies in the shape, or at most `slack` pixels beside its lines.

    A stored picture is over all of the image.
    """
    if isinstance(shape, Rect):
        across = shape.x_min - slack <= x <= shape.x_max + slack
        return across and shape.y_min - slack <= y <= shape.y_max + slack
    if isinstance(shape, Polygon):
        rings = (shape.points, *shape.holes)
        inside = sum(_inside(ring, x, y) for ring in rings) % 2 == 1
        return inside or any(_near([*ring, ring[0]], x, y, slack) for ring in rings)
    if isinstance(shape, Points):
        bones = (_near((shape.points[i], shape.points[j]), x, y, slack) for i, j in shape.lines)
        return any(math.dist(point, (x, y)) <= 2 * slack for point in shape.points) or any(bones)
    return _in_raster(shape, x, y, frame)


def _in_raster(raster: Raster, x: float, y: float, frame: Frame) -> bool:
    if raster.runs is None:
        return True
    column, row = math.floor(x * raster.width / frame.width), math.floor(y * raster.height / frame.height)
    if not (0 <= column < raster.width and 0 <= row < raster.height):
        return False
    return bool(sample(raster, np.array([column]), np.array([row]))[0, 0])


def _inside(ring: Sequence[Point], x: float, y: float) -> bool:
    """By the even-odd rule: how often a line to the right crosses the ring."""
    crossings, (x0, y0) = 0, ring[-1]
    for x1, y1 in ring:
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            crossings += 1
        x0, y0 = x1, y1
    return crossings % 2 == 1


def _near(line: Sequence[Point], x: float, y: float, slack: float) -> bool:
    return any(_distance(start, end, x, y) <= slack for start, end in pairwise(line))


def _distance(start: Point, end: Point, x: float, y: float) -> float:
    """From a point to a stretch of line."""
    (x0, y0), (x1, y1) = start, end
    length = (x1 - x0) ** 2 + (y1 - y0) ** 2
    share = 0.0 if length == 0 else min(max(((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length, 0.0), 1.0)
    return math.hypot(x - x0 - share * (x1 - x0), y - y0 - share * (y1 - y0))
