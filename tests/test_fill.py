"""Filled rings and stretched masks, against pycocotools and against a mask decoded whole."""

import numpy as np
import pytest
from pycocotools import mask as coco

from app.geometry import Frame, Polygon, Raster, decode, fill, filled, resized, runs_of

# pycocotools 2.0.11 has not caught up with the copy keyword of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Ring = tuple[tuple[float, float], ...]


def bits(raster: Raster | None) -> np.ndarray:
    assert raster is not None and raster.runs is not None
    assert raster.runs.sum() == raster.width * raster.height and raster.runs.min() >= 0
    return decode(raster, 0, 0, raster.width, raster.height)


def as_coco_draws(rings: list[Ring], frame: Frame) -> np.ndarray:
    flat = [[value for point in ring for value in point] for ring in rings]
    drawn = coco.frPyObjects(flat, frame.height, frame.width)
    return coco.decode(coco.merge(drawn)).astype(bool)


def random_ring(random: np.random.Generator, frame: Frame, n: int) -> Ring:
    """Within the image, on its pixels, between them or far outside; most cross themselves."""
    low, high = ((0, 1), (-1, 2), (-0.2, 1.2))[n % 3]
    corners = random.uniform(low, high, (int(random.integers(3, 12)), 2)) * frame
    if n % 4 == 0:
        corners = np.round(corners)
    if n % 4 == 1:
        corners = np.round(corners * 2) / 2
    return tuple((x, y) for x, y in corners.tolist())


def test_rings_are_filled_as_coco_fills_them() -> None:
    random = np.random.default_rng(6)
    for n in range(1500):
        frame = Frame(*(int(side) for side in random.integers(1, 60, 2)))
        rings = [random_ring(random, frame, n) for _ in range(int(random.integers(1, 4)))]
        found = bits(filled([Polygon(ring) for ring in rings], frame))
        assert np.array_equal(found, as_coco_draws(rings, frame)), (frame, rings)


def test_holes_are_cut_out() -> None:
    random = np.random.default_rng(7)
    for n in range(300):
        frame = Frame(*(int(side) for side in random.integers(1, 60, 2)))
        outer, *holes = (random_ring(random, frame, n) for _ in range(3))
        found = bits(filled([Polygon(outer, tuple(holes))], frame))
        assert np.array_equal(found, as_coco_draws([outer], frame) & ~as_coco_draws(holes, frame))


def test_what_is_outside_the_image_is_empty() -> None:
    frame = Frame(10, 8)
    outside = Polygon(((20.0, 20.0), (30.0, 20.0), (30.0, 30.0)))
    assert not bits(filled([outside], frame)).any()
    assert not bits(filled([], frame)).any()
    whole = Polygon(((-5.0, -5.0), (20.0, -5.0), (20.0, 20.0), (-5.0, 20.0)))
    assert bits(filled([whole], frame)).all()


def test_a_border_without_end_is_not_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    zigzag = tuple((float(n % 2 * 1000), float(n)) for n in range(100))
    assert filled([Polygon(zigzag)], Frame(1000, 100)) is not None
    monkeypatch.setattr(fill, "MAX_CROSSINGS", 90_000)
    assert filled([Polygon(zigzag)], Frame(1000, 100)) is None


@pytest.mark.parametrize("block", [7, 100, 1_000_000])
def test_a_mask_is_stretched(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(fill, "BLOCK", block)
    random = np.random.default_rng(8)
    for _ in range(100):
        height, width, rows, columns = (int(side) for side in random.integers(1, 40, 4))
        mask = random.random((height, width)) < random.random()
        found = bits(resized(Raster(width, height, runs_of(mask)), Frame(columns, rows)))
        at_row = ((np.arange(rows) + 0.5) * height / rows).astype(int)
        at_column = ((np.arange(columns) + 0.5) * width / columns).astype(int)
        assert np.array_equal(found, mask[np.ix_(at_row, at_column)])
