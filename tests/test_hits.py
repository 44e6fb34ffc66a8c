"""What is at a point: each kind of shape by its own lines, and what a person may miss by."""

import numpy as np
import pytest

from app.geometry import Frame, Points, Polygon, Raster, Rect
from app.geometry.hits import contains

FRAME = Frame(100, 80)
RING = Polygon(((10, 10), (50, 10), (50, 50), (10, 50)), (((20, 20), (40, 20), (40, 40), (20, 40)),))
ARROW = Polygon(((0, 0), (40, 0), (20, 10), (40, 20), (0, 20)))
BONE = Points(((10, 10), (50, 10), (90, 70)), ((0, 1),))
HALF = Raster(10, 8, np.array([40, 40], dtype=np.int64))  # by columns: the right half is in it


@pytest.mark.parametrize(
    ("shape", "x", "y", "slack", "there"),
    [
        (Rect(10, 10, 20, 20), 15, 15, 0, True),
        (Rect(10, 10, 20, 20), 22, 15, 3, True),
        (Rect(10, 10, 20, 20), 22, 15, 1, False),
        (Rect(10, 10, 20, 20), 15, 24, 3, False),
        (RING, 15, 30, 0, True),
        (RING, 30, 30, 0, False),
        (RING, 38, 30, 3, True),
        (RING, 52, 30, 1, False),
        (RING, 8, 30, 3, True),
        (ARROW, 35, 10, 0, False),
        (ARROW, 30, 2, 0, True),
        (BONE, 30, 11, 1, True),
        (BONE, 30, 13, 1, False),
        (BONE, 88, 70, 1, True),
        (BONE, 70, 40, 1, False),
        (HALF, 49.9, 40, 9, False),
        (HALF, 50, 40, 0, True),
        (HALF, 100, 40, 9, False),
        (HALF, 60, -1, 9, False),
        (Raster(4, 4), 99, 79, 0, True),
    ],
)
def test_what_is_at_a_point(
    shape: Rect | Polygon | Points | Raster, x: float, y: float, slack: float, there: bool
) -> None:
    assert contains(shape, x, y, slack, FRAME) is there


def test_a_point_of_a_ring_given_twice_is_no_trouble() -> None:
    twice = Polygon(((10, 10), (10, 10), (50, 10), (50, 50)))
    assert contains(twice, 45, 20, 0, FRAME)
    assert not contains(twice, 15, 40, 0, FRAME)
