"""Rings cut to the image, and many rings as one that covers the same pixels."""

import numpy as np
import pytest

from app.geometry import (
    Frame,
    Polygon,
    Raster,
    cut,
    filled,
    joined,
    outlines,
    rings,
    runs_of,
)
from tests.test_fill import bits, random_ring


def test_what_is_cut_covers_the_same_of_the_image() -> None:
    random, frame = np.random.default_rng(9), Frame(400, 300)
    for n in range(300):
        ring = random_ring(random, frame, n)
        inside = cut(ring, frame)
        assert all(0 <= x <= frame.width and 0 <= y <= frame.height for x, y in inside)
        whole = bits(filled([Polygon(ring)], frame))
        part = bits(filled([Polygon(tuple(inside))], frame)) if inside else np.zeros_like(whole)
        assert (whole ^ part).sum() < 250, "new corners are rounded to a fifth of a pixel, along a border"


def test_what_is_cut_to_nothing() -> None:
    frame = Frame(10, 10)
    beside = ((20.0, 0.0), (30.0, 0.0), (30.0, 9.0))
    touching = ((10.0, 0.0), (30.0, 0.0), (30.0, 9.0), (10.0, 9.0))
    around_a_corner = ((-9.0, 5.0), (5.0, -9.0), (-9.0, -9.0))
    assert cut(beside, frame) == cut(touching, frame) == cut(around_a_corner, frame) == []
    inside = ((0.0, 0.0), (10.0, 0.0), (10.0, 10.0))
    assert cut(inside, frame) == list(inside)


@pytest.mark.parametrize("nearest", [0, 10_000])
def test_one_ring_covers_what_many_cover(monkeypatch: pytest.MonkeyPatch, nearest: int) -> None:
    monkeypatch.setattr(rings, "NEAREST", nearest)
    random = np.random.default_rng(10)
    for _ in range(200):
        height, width = (int(side) for side in random.integers(1, 30, 2))
        mask, frame = random.random((height, width)) < random.random(), Frame(width, height)
        if not mask.any():
            continue
        one = joined(outlines(Raster(width, height, runs_of(mask)), frame))
        again = filled([Polygon(tuple(one))], frame)
        assert np.array_equal(bits(again), mask)


def test_seams_are_short() -> None:
    square = [(0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)]
    far = [(x + 10, y) for x, y in square]
    assert joined([square, far]) == [
        *square[:2],
        *far,
        far[0],
        square[1],
        *square[2:],
    ]
