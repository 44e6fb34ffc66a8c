"""Rings cut to the image, and several rings as one."""

from collections.abc import Sequence

import numpy as np

from app.geometry.shapes import Frame, Point, bounds

NEAREST = 1000  # with more corners the seams are not the shortest: that takes all pairs


def cut(ring: Sequence[Point], frame: Frame) -> list[Point]:
    """The part of a ring's area inside the frame; empty when there is none. Sutherland and Hodgman (1974)."""
    points = list(ring)
    for axis, side, keeps_less in (
        (0, 0, False),
        (0, frame.width, True),
        (1, 0, False),
        (1, frame.height, True),
    ):
        if not points:
            return []
        kept: list[Point] = []
        before = points[-1]
        for point in points:
            was_in, is_in = ((p[axis] <= side) if keeps_less else (p[axis] >= side) for p in (before, point))
            if was_in != is_in:
                kept.append(_meeting(before, point, axis, side))
            if is_in:
                kept.append(point)
            before = point
        points = kept
    box = bounds(points)
    return points if box and box.width > 0 and box.height > 0 else []


def _meeting(a: Point, b: Point, axis: int, side: int) -> Point:
    """Where the line between two points meets `axis` = `side`."""
    other = 1 - axis
    at = a[other] + (b[other] - a[other]) * (side - a[axis]) / (b[axis] - a[axis])
    return (float(side), at) if axis == 0 else (at, float(side))


def joined(rings: Sequence[Sequence[Point]]) -> list[Point]:
    """One ring that covers, filled even-odd, what the rings cover: seams of no width lead to each and back."""
    out = list(rings[0])
    near = sum(map(len, rings)) <= NEAREST
    for ring in rings[1:]:
        i, j = _nearest(out, ring) if near else (0, 0)
        out[i + 1 : i + 1] = [*ring[j:], *ring[: j + 1], out[i]]
    return out


def _nearest(ring: Sequence[Point], other: Sequence[Point]) -> tuple[int, int]:
    """The positions of the two corners that are closest."""
    a, b = np.array(ring), np.array(other)
    away = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
    i, j = np.unravel_index(int(away.argmin()), away.shape)
    return int(i), int(j)
