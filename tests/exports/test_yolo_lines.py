"""Lines of YOLO labels read as Ultralytics documents them; what is cut, what is filled in, what is left out."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import TYPES
from app.exports.yolo_lines import line_of
from app.geometry import Frame, Polygon, filled, runs_of
from tests.support.said import said
from tests.test_fill import bits

FRAME = Frame(200, 100)
# of the side: half a unit of the sixth digit for the middle, and a quarter for half the width
ROUNDING = 1e-6


def line(
    kind: str, data: dict[str, Any], frame: Frame = FRAME, *, scores: bool = False, **columns: Any
) -> tuple[str, list[float], Counter[str]]:
    dropped = Counter[str]()
    found = line_of(
        said(kind, data, frame, **columns), frame, lambda what: dropped.update([what]), scores=scores
    )
    if found is None:
        return "", [], dropped
    return found[0], [float(number) for number in found[1].split()], dropped


def corners(numbers: list[float], frame: Frame) -> list[float]:
    x, y, width, height = numbers[:4]
    shares = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return [share * side for share, side in zip(shares, (*frame, *frame), strict=True)]


def mask_of(numbers: list[float], frame: Frame = FRAME) -> Any:
    points = zip(numbers[::2], numbers[1::2], strict=True)
    ring = tuple((x * frame.width, y * frame.height) for x, y in points)
    return bits(filled([Polygon(ring)], frame))


def box(x_min: float, y_min: float, x_max: float, y_max: float) -> dict[str, Any]:
    return {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}


def test_a_box() -> None:
    dataset, numbers, dropped = line("bounding_box", box(20, 10, 60, 90), confidence=0.875)
    assert (dataset, numbers, dropped) == ("detect", [0.2, 0.5, 0.2, 0.8], {"score": 1})
    dataset, numbers, dropped = line("bounding_box", box(20, 10, 60, 90), confidence=0.875, scores=True)
    assert (dataset, numbers, dropped) == ("detect", [0.2, 0.5, 0.2, 0.8, 0.875], {})
    *_, last = line("bounding_box", box(20, 10, 60, 90), confidence=None, scores=True)[1]
    assert last == 1
    assert line("bounding_box", {**box(0, 0, 1, 1), "track": 1}, confidence=None)[2] == {"extra": 1}


@settings(deadline=None)
@given(st.data())
def test_boxes_come_back_within_a_millionth_of_the_side(data: st.DataObject) -> None:
    frame = Frame(data.draw(st.integers(1, 20_000)), data.draw(st.integers(1, 20_000)))
    sides = []
    for side in frame:
        low = data.draw(st.floats(0, side * 0.999))
        sides.append((low, data.draw(st.floats(low, side, exclude_min=True))))
    (x_min, x_max), (y_min, y_max) = sides
    _, numbers, _ = line("bounding_box", box(x_min, y_min, x_max, y_max), frame)
    for found, sent, side in zip(
        corners(numbers, frame), (x_min, y_min, x_max, y_max), (*frame, *frame), strict=True
    ):
        assert found == pytest.approx(sent, abs=side * ROUNDING)


def test_what_is_beyond_the_edge_is_cut() -> None:
    _, numbers, dropped = line("bounding_box", box(-20, -10, 60, 250 - 60), confidence=None)
    assert corners(numbers, FRAME) == pytest.approx([0, 0, 60, 100]) and dropped == {"cut": 1}
    for outside in (box(-20, 0, -5, 10), box(200, 0, 250, 10)):
        assert line("bounding_box", outside, confidence=None) == ("", [], {"outside": 1})


def test_masks_come_back_pixel_for_pixel() -> None:
    random = np.random.default_rng(3)
    for _ in range(60):
        frame = Frame(*(int(side) for side in random.integers(1, 40, 2)))
        mask = random.random((frame.height, frame.width)) < random.random()
        data = {"format": "rle", "counts": runs_of(mask).tolist()}
        dataset, numbers, dropped = line("segmentation", data, frame, confidence=None)
        if not mask.any():
            assert (numbers, dropped) == ([], {"empty_mask": 1})
            continue
        assert dataset == "segment" and min(numbers) >= 0 and max(numbers) <= 1 and not dropped
        assert np.array_equal(mask_of(numbers, frame), mask)


RING = [[20.0, 10.0], [120.0, 12.0], [90.0, 90.0]]
HOLE = [[60.0, 25.0], [95.0, 25.0], [80.0, 50.0]]


def pixels(*polygons: Polygon) -> Any:
    return bits(filled(polygons, FRAME))


def ring(points: list[list[float]]) -> tuple[tuple[float, float], ...]:
    return tuple((x, y) for x, y in points)


def test_holes_are_kept_by_a_seam() -> None:
    _, numbers, dropped = line("polygon", {"points": RING, "holes": [HOLE]}, confidence=None)
    assert np.array_equal(mask_of(numbers), pixels(Polygon(ring(RING), (ring(HOLE),)))) and not dropped


@pytest.mark.parametrize("shift", [0, 40, 100])
def test_parts_are_one_line(shift: float) -> None:
    other = [[x + shift / 2, y] for x, y in RING]
    parts = [[value for point in part for value in point] for part in (RING, other)]
    _, numbers, dropped = line("segmentation", {"format": "polygon", "polygons": parts}, confidence=None)
    assert np.array_equal(mask_of(numbers), pixels(Polygon(ring(RING)), Polygon(ring(other)))) and not dropped


def test_a_polygon_is_cut_to_the_image() -> None:
    points = [[-100.0, 50.0], [100.0, -50.0], [300.0, 50.0], [100.0, 150.0]]
    _, numbers, dropped = line("polygon", {"points": points}, confidence=None)
    assert min(numbers) >= 0 and max(numbers) <= 1 and dropped == {"cut": 1}
    assert np.array_equal(mask_of(numbers), pixels(Polygon(ring(points))))
    beside = [[-100.0, 0.0], [-50.0, 0.0], [-50.0, 50.0]]
    assert line("polygon", {"points": beside}, confidence=None) == ("", [], {"outside": 1})


POINTS = [
    {"name": "nose", "x": 20.0, "y": 50.0, "confidence": 0.25, "visible": True},
    {"x": 120.0, "y": 10.0, "visible": 1},
    {"x": 300.0, "y": 0.0, "visible": False},
]


def test_keypoints() -> None:
    data = {"keypoints": POINTS, "skeleton": [[0, 1]]}
    dataset, numbers, dropped = line("keypoint", data)
    assert dataset == "pose3" and numbers[4:] == [0.1, 0.5, 2, 0.6, 0.1, 1, 1, 0, 0]
    assert corners(numbers, FRAME) == pytest.approx([20, 10, 120, 50])
    assert dropped == {"score": 1, "keypoint_score": 1, "skeleton": 1}
    _, numbers, dropped = line("keypoint", data, scores=True)
    assert numbers[4:] == [0.1, 0.5, 0.25, 0.6, 0.1, 1, 1, 0, 0, 0.5]
    assert dropped == {"keypoint_visible": 1, "no_keypoint_score": 1, "skeleton": 1}


def test_one_keypoint_and_none_that_is_seen() -> None:
    _, numbers, dropped = line("keypoint", {"keypoints": POINTS[:1]}, confidence=None)
    assert numbers == [0.1, 0.5, 0, 0, 0.1, 0.5, 2] and dropped == {"keypoint_score": 1}
    assert line("keypoint", {"keypoints": POINTS[2:]}) == ("", [], {"unseen": 1})


NOWHERE = [("heatmap", "heatmap"), ("classification", "classification"), ("custom", "custom")]


@pytest.mark.parametrize(("kind", "word"), NOWHERE)
def test_what_has_no_place(kind: str, word: str) -> None:
    path = "ml_outputs/x/y.png"
    assert line(kind, TYPES[kind].example, storage_path=path) == ("", [], {word: 1})
    assert line("segmentation", {"format": "png"}, storage_path=path) == ("", [], {"png_mask": 1})


def test_a_mask_of_another_size_is_stretched() -> None:
    small = np.zeros((2, 4), dtype=bool)
    small[1, 1:3] = True
    data = {"format": "rle", "counts": runs_of(small).tolist(), "size": [2, 4]}
    _, numbers, _ = line("segmentation", data, confidence=None)
    found = mask_of(numbers)
    assert found[50:, 50:150].all() and found.sum() == 50 * 100


def test_a_mask_of_noise_is_coarse_and_that_is_said() -> None:
    frame, noise = Frame(500, 400), np.random.default_rng(5).random((400, 500)) < 0.5
    dataset, numbers, dropped = line(
        "segmentation", {"format": "rle", "counts": runs_of(noise).tolist()}, frame, confidence=None
    )
    assert dataset == "segment" and len(numbers) < 4 * 50_000 and dropped == {"coarse": 1}
