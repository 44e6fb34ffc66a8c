import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

from app.geometry import (
    Frame,
    Point,
    Points,
    Polygon,
    Raster,
    Rect,
    bounds,
    check_runs,
    clamp,
    decode_crop,
    far_outside,
    polygon_area,
    raster_area,
    raster_bounds,
    raster_box,
    runs_from_text,
    sample,
    shape_bounds,
    signed_area,
    simplify,
    text_from_runs,
    union,
)

random_masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=60), elements=st.integers(0, 1)
)


@st.composite
def blobs(draw: st.DrawFn) -> NDArray[np.uint8]:
    """Masks as models make them: a few rectangles in an empty picture."""
    height, width = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    mask = np.zeros((height, width), dtype=np.uint8)
    for _ in range(draw(st.integers(0, 4))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(1, 80)), left : left + draw(st.integers(1, 80))] ^= 1
    return mask


def raster_of(mask: NDArray[np.uint8]) -> Raster:
    text = coco.encode(np.asfortranarray(mask))["counts"].decode()
    return Raster(mask.shape[1], mask.shape[0], runs_from_text(text))


# pycocotools 2.0.11 has not caught up with the copy keyword of numpy 2
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@settings(max_examples=300, deadline=None)
@given(random_masks | blobs())
def test_run_lengths_agree_with_the_coco_api(mask: NDArray[np.uint8]) -> None:
    encoded = coco.encode(np.asfortranarray(mask))
    raster = raster_of(mask)
    assert raster.runs is not None
    check_runs(raster.runs, raster.width, raster.height)
    assert text_from_runs(raster.runs) == encoded["counts"].decode()
    assert raster_area(raster) == coco.area(encoded)
    x, y, width, height = coco.toBbox(encoded)
    crop = decode_crop(raster)
    if not mask.any():
        assert crop is None
        assert raster_box(raster) is None
        return
    assert crop is not None
    box, inside = crop
    # the COCO box is the whole height as soon as a run crosses into the next column; so is ours
    assert box == (x, y, x + width, y + height)
    whole = np.zeros(mask.shape, dtype=np.uint8)
    whole[box[1] : box[3], box[0] : box[2]] = inside
    assert np.array_equal(whole, coco.decode(encoded))
    columns, rows = np.arange(0, mask.shape[1], 2), np.arange(0, mask.shape[0], 3)
    assert np.array_equal(sample(raster, columns, rows), mask[::3, ::2] == 1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 2**31 - 1), max_size=50))
def test_text_and_runs_are_inverse(runs: list[int]) -> None:
    array = np.array(runs, dtype=np.int64)
    assert runs_from_text(text_from_runs(array)).tolist() == runs


def test_an_uncompressed_list_is_what_the_coco_api_makes_of_it() -> None:
    runs = [6, 1, 40, 4, 5, 4, 5, 4, 21]
    encoded = coco.frPyObjects({"counts": runs, "size": [9, 10]}, 9, 10)
    raster = Raster(10, 9, np.array(runs))
    assert text_from_runs(np.array(runs)) == encoded["counts"].decode()
    assert raster_area(raster) == coco.area(encoded)


@pytest.mark.parametrize("text", ["é", "~", "/", "P", "0P", "oooooooo0"])
def test_broken_text(text: str) -> None:
    with pytest.raises(ValueError, match=r"character|middle|35 bits"):
        runs_from_text(text)


def test_runs_that_do_not_fit() -> None:
    check_runs(np.array([4, 2]), 2, 3)
    with pytest.raises(ValueError, match="adds up to 6"):
        check_runs(np.array([4, 2]), 3, 3)
    with pytest.raises(ValueError, match="longer"):
        check_runs(np.array([2**62, 2**62, 2**62, 2**62, 6]), 2, 3)
    with pytest.raises(ValueError, match="negative"):
        check_runs(np.array([7, -1]), 2, 3)


def test_a_stored_picture_has_no_runs() -> None:
    stored = Raster(5, 5)
    assert raster_bounds(stored, Frame(20, 10)) == Rect(0, 0, 20, 10)
    with pytest.raises(ValueError, match="no runs"):
        raster_box(stored)
    with pytest.raises(ValueError, match="no runs"):
        sample(stored, np.arange(1), np.arange(1))


def test_a_mask_of_another_size_is_stretched() -> None:
    mask = np.zeros((4, 8), dtype=np.uint8)
    mask[1:3, 2:4] = 1
    assert raster_bounds(raster_of(mask), Frame(80, 80)) == Rect(20, 20, 40, 60)


def test_bounds_and_union() -> None:
    assert bounds([]) is None
    assert bounds([(1, 5), (-3, 2)]) == Rect(-3, 2, 1, 5)
    assert union([None, Rect(0, 0, 1, 1), Rect(5, -1, 6, 0)]) == Rect(0, -1, 6, 1)
    assert union([None]) is None
    assert shape_bounds(Points(((1, 2),)), Frame(9, 9)) == Rect(1, 2, 1, 2)
    assert shape_bounds(Polygon(((1, 2), (3, 4), (0, 9))), Frame(9, 9)) == Rect(0, 2, 3, 9)


def test_clamp() -> None:
    frame = Frame(100, 50)
    assert clamp(Rect(-5, -5, 200, 20), frame) == Rect(0, 0, 100, 20)
    assert clamp(Rect(101, 0, 120, 20), frame) is None


def test_far_outside() -> None:
    assert not far_outside(-10, 10)
    assert not far_outside(20, 10)
    assert far_outside(-10.01, 10)
    assert far_outside(20.01, 10)
    assert far_outside(float("nan"), 10)


def test_areas() -> None:
    square = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))
    assert signed_area(square) == 16
    assert signed_area(square[::-1]) == -16
    assert polygon_area(Polygon(square, (((1, 1), (2, 1), (2, 2)),))) == 15.5
    assert signed_area(square[:2]) == 0


def test_simplify_drops_what_does_not_show() -> None:
    straight = [(float(x), 0.0) for x in range(50)] + [(float(x), 30.0) for x in range(49, -1, -1)]
    assert len(simplify(straight, 0.5)) <= 6
    few = straight[:5]
    assert simplify(few, 0.5) == few


@settings(max_examples=50, deadline=None)
@given(st.integers(9, 200), st.floats(5, 300))
def test_simplify_stays_within_its_tolerance(count: int, radius: float) -> None:
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ring = [(radius * float(np.cos(a)), radius * float(np.sin(a))) for a in angles]
    kept = simplify(ring, 0.5)
    assert set(kept) <= set(ring)
    assert len(kept) >= 3
    # every point is close to some side of what is left
    sides = list(zip(kept, [*kept[1:], kept[0]], strict=True))
    for x, y in ring:
        assert min(_away(x, y, a, b) for a, b in sides) <= 0.5 + 1e-9


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=9, max_size=150),
    st.sampled_from([0.0, 0.2, 1.0, 20.0]),
    st.floats(0.05, 2),
)
def test_simplify_stays_within_its_tolerance_on_any_walk(
    steps: list[Point], drift: float, tolerance: float
) -> None:
    """Steps back and aside, loops, points that repeat: what clumsy outlines are made of."""
    walk = np.cumsum(np.array(steps) + np.array([drift, 0.0]), axis=0)
    ring = [(float(x), float(y)) for x, y in walk]
    kept = simplify(ring, tolerance)
    assert set(kept) <= set(ring)
    assert (kept[0], kept[-1]) == (ring[0], ring[-1])
    assert 3 <= len(kept) <= len(ring)
    sides = list(zip(kept, [*kept[1:], kept[0]], strict=True))
    for x, y in ring:
        assert min(_away(x, y, a, b) for a, b in sides) <= tolerance + 1e-6


def test_simplify_of_one_place() -> None:
    assert list(simplify([(2.0, 3.0)] * 50, 0.5)) == [(2.0, 3.0)] * 3


def circle(count: int) -> list[Point]:
    turns = [2 * math.pi * i / count for i in range(count)]
    return [(1000 + 1000 * math.cos(turn), 1000 + 1000 * math.sin(turn)) for turn in turns]


def zigzag(count: int) -> list[Point]:
    """Higher with every point: the furthest is always the last, so halving there never gets anywhere."""
    return [(i * 0.1, 500 + (-1) ** i * i * 0.02) for i in range(count)]


def star(count: int) -> list[Point]:
    return [(x if i % 2 else x / 2, y if i % 2 else y / 2) for i, (x, y) in enumerate(circle(count))]


@pytest.mark.parametrize("hostile", [zigzag, star])
def test_a_hostile_polygon_takes_no_longer_than_a_friendly_one(
    hostile: Callable[[int], list[Point]],
) -> None:
    assert _seconds(hostile(50_000)) < 10 * _seconds(circle(50_000))
    assert len(simplify(circle(50_000), 0.5)) < 200


def _seconds(ring: list[Point]) -> float:
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        simplify(ring, 0.5)
        taken.append(time.perf_counter() - start)
    return min(taken)


def _away(x: float, y: float, a: tuple[float, float], b: tuple[float, float]) -> float:
    along = np.subtract(b, a)
    share = np.clip(np.dot(np.subtract((x, y), a), along) / max(float(along @ along), 1e-12), 0, 1)
    return float(np.hypot(*(np.subtract((x, y), a) - share * along)))
