"""One annotation as COCO has it: places, masks, keypoints, categories, and what is said to be left out."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from app.annotations import TYPES
from app.exports.coco_items import Categories, annotation_of, result_of
from app.geometry import Frame
from tests.support.said import said

# pycocotools 2.0.11 has not caught up with the copy keyword of numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
FRAME = Frame(100, 80)
RING = [[10.0, 10.0], [60.0, 12.0], [50.0, 70.0]]
BOX = {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}
HOLE = [[25.0, 20.0], [45.0, 20.0], [40.0, 40.0]]


def both(kind: str, data: dict[str, Any], **columns: Any) -> tuple[Any, Any, Counter[str], Counter[str]]:
    """The annotation, the result, and what was dropped for each."""
    row, dropped = said(kind, data, FRAME, **columns), (Counter[str](), Counter[str]())
    drop = [lambda what, seen=seen: seen.update([what]) for seen in dropped]
    return (
        annotation_of(row, FRAME, Categories(), drop[0]),
        result_of(row, FRAME, Categories(), drop[1]),
        *dropped,
    )


def drawn(item: Any) -> Any:
    return coco.decode(item["segmentation"]).astype(bool)


def flat(ring: list[list[float]]) -> list[float]:
    return [value for point in ring for value in point]


def filled_by_coco(ring: list[list[float]]) -> Any:
    return coco.decode(coco.frPyObjects([flat(ring)], FRAME.height, FRAME.width))[:, :, 0].astype(bool)


def test_a_box() -> None:
    data = {"x_min": 12.25, "y_min": 8.5, "x_max": 90, "y_max": 64, "track": 7}
    annotation, result, *dropped = both("bounding_box", data, ordering=3)
    assert annotation["bbox"] == [12.25, 8.5, 77.75, 55.5] and annotation["area"] == 77.75 * 55.5
    assert annotation["score"] == 0.5 and annotation["iscrowd"] == 0 and annotation["extra"] == {"track": 7}
    assert annotation["ordering"] == 3 and annotation["client_id"] == "c1" and annotation["category_id"] == 1
    assert annotation["loupe_id"].startswith("01900000-") and annotation["analysis_id"].endswith("aa")
    assert {**result, "iscrowd": 0} == annotation and dropped == [{}, {}]


def test_without_a_score() -> None:
    annotation, result, *dropped = both("bounding_box", BOX, confidence=None)
    assert "score" not in annotation and result["score"] == 1.0 and dropped == [{}, {"no_score": 1}]


def test_a_crowd() -> None:
    data = {**TYPES["segmentation"].example, "size": [9, 10], "iscrowd": 1}
    assert both("segmentation", data)[0]["iscrowd"] == 1


def test_run_lengths() -> None:
    mask = np.random.default_rng(1).random((FRAME.height, FRAME.width)) < 0.3
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    text = encoded["counts"].decode()
    runs = TYPES["segmentation"].load({"format": "rle", "counts": text}, FRAME).data
    for data in (runs, {**runs, "bbox": [1, 2, 3, 4], "area": 9}):
        for item in both("segmentation", data)[:2]:
            assert np.array_equal(drawn(item), mask) and item["segmentation"]["counts"] == text
            assert item["area"] == coco.area(encoded) and item["bbox"] == coco.toBbox(encoded).tolist()
    assert item["sent_bbox"] == [1, 2, 3, 4] and item["sent_area"] == 9


def test_run_lengths_of_another_size_are_stretched() -> None:
    annotation, result, *dropped = both("segmentation", TYPES["segmentation"].example)
    runs = coco.frPyObjects([{"size": [9, 10], "counts": [29, 4, 5, 4, 5, 4, 39]}], 9, 10)
    rows = ((np.arange(80) + 0.5) * 9 / 80).astype(int)
    assert np.array_equal(drawn(annotation), np.repeat(coco.decode(runs)[rows, :, 0], 10, axis=1))
    assert annotation["segmentation"] == result["segmentation"]
    assert dropped == [{"mask_size": 1}, {"mask_size": 1}]


def test_a_mask_of_nothing() -> None:
    annotation, result, *_ = both("segmentation", {"format": "rle", "counts": [8000]})
    assert annotation["bbox"] == [0, 0, 0, 0] == result["bbox"] and annotation["area"] == 0
    assert not drawn(annotation).any()


@pytest.mark.parametrize("kind", ["polygon", "segmentation"])
def test_outlines_stay_outlines_in_a_dataset(kind: str) -> None:
    data = {"polygon": {"points": RING}, "segmentation": {"format": "polygon", "polygons": [flat(RING)]}}
    annotation, result, *dropped = both(kind, data[kind])
    assert annotation["segmentation"] == [flat(RING)] and annotation["bbox"] == [10, 10, 50, 60]
    assert annotation["area"] == pytest.approx(filled_by_coco(RING).sum(), rel=0.03)
    assert np.array_equal(drawn(result), filled_by_coco(RING))
    assert dropped == [{}, {"outline": 1}]


def test_holes_are_kept_as_pixels() -> None:
    annotation, result, *dropped = both("polygon", {"points": RING, "holes": [HOLE]})
    expected = filled_by_coco(RING) & ~filled_by_coco(HOLE)
    for item in (annotation, result):
        assert np.array_equal(drawn(item), expected) and item["area"] == expected.sum()
    assert dropped == [{"outline": 1}] * 2


def test_an_endless_border(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.geometry.fill.MAX_CROSSINGS", 10)
    annotation, result, *dropped = both("polygon", {"points": RING, "holes": [HOLE]})
    assert annotation["segmentation"] == [flat(RING)] and dropped == [{"holes": 1}, {"mask": 1}]
    assert "segmentation" not in result and result["bbox"] == [10, 10, 50, 60]


def test_keypoints() -> None:
    points = [
        {"name": "nose", "x": 10, "y": 20, "confidence": 0.9, "visible": True},
        {"name": "eye", "x": 30, "y": 5, "visible": 1},
        {"name": "ear", "x": 99, "y": 79, "visible": False, "side": "left"},
    ]
    row = said("keypoint", {"keypoints": points, "skeleton": [[0, 1], [1, 2]]}, FRAME)
    categories, dropped = Categories(), Counter[str]()
    annotation = annotation_of(row, FRAME, categories, lambda what: dropped.update([what]))
    assert annotation is not None
    assert annotation["keypoints"] == [10, 20, 2, 30, 5, 1, 99, 79, 0] and annotation["num_keypoints"] == 2
    assert annotation["bbox"] == [10, 5, 20, 15] and annotation["keypoint_scores"] == [0.9, None, None]
    (category,) = categories.rows
    assert category["keypoints"] == ["nose", "eye", "ear"] and category["skeleton"] == [[1, 2], [2, 3]]
    assert dropped == {"keypoint_extra": 1}


def test_keypoints_without_names_or_sight() -> None:
    annotation, _, dropped, _ = both("keypoint", {"keypoints": [{"x": 1, "y": 2, "visible": 0}]})
    assert annotation["num_keypoints"] == 0 and annotation["bbox"] == [0, 0, 0, 0]
    assert annotation["keypoints"] == [1, 2, 0] and dropped == {"keypoint_names": 1}


HEATMAP = TYPES["heatmap"].example
NOWHERE = [
    ("heatmap", HEATMAP, "heatmap"),
    ("segmentation", {"format": "png"}, "png_mask"),
    ("classification", TYPES["classification"].example, "classification"),
    ("custom", TYPES["custom"].example, "custom"),
]


@pytest.mark.parametrize(("kind", "data", "word"), NOWHERE)
def test_what_has_no_place(kind: str, data: dict[str, Any], word: str) -> None:
    annotation, result, *dropped = both(kind, data, storage_path="ml_outputs/x/y.png")
    assert annotation is None and result is None and dropped == [{word: 1}, {word: 1}]


def test_categories() -> None:
    categories = Categories()
    pose, other = ((("nose", None), ((0, 1),)), (("nose",), ()))
    asked = [
        categories.of("person")["id"],
        categories.of("person", pose)["id"],
        categories.of("cat", other)["id"],
        categories.of("person", other)["id"],
        categories.of("person")["id"],
        categories.of(None)["id"],
        categories.of("unlabeled")["id"],
        categories.of("person", pose)["id"],
        categories.of("person", other)["id"],
    ]
    assert asked == [1, 1, 2, 3, 1, 4, 5, 1, 3]
    assert [row["name"] for row in categories.rows] == [
        "person",
        "cat",
        "person (2)",
        "unlabeled",
        "unlabeled (2)",
    ]
    assert [row.get("loupe_class", "the name") for row in categories.rows] == [
        "the name",
        "the name",
        "person",
        None,
        "unlabeled",
    ]
    assert categories.rows[0]["keypoints"] == ["nose", "keypoint_2"]
