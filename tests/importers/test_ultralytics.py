"""What `Results.to_json()` of ultralytics writes, see tests/data/importers/make_ultralytics.py."""

from pathlib import Path
from typing import Any

import pytest

from tests.importers.reading import data, faults, load, rows, said

LEAF = {"x_min": 4.25, "y_min": 3.5, "x_max": 30.75, "y_max": 20.125}


def golden(task: str, **more: Any) -> Any:
    return load(Path(f"ultralytics-{task}.json"), "ultralytics", **more)


def test_boxes() -> None:
    bulk = golden("detect")
    assert rows(bulk) == [("bounding_box", "leaf", 0.9312), ("bounding_box", "stem", 0.5)]
    assert data(bulk)[0] == LEAF | {"extra": {"class": 0}}
    assert bulk.places == ["0", "1"] and said(bulk, "told") == said(bulk, "left_out") == {}


def test_a_tracks_id_is_kept() -> None:
    assert data(golden("track")) == [LEAF | {"extra": {"track_id": 17, "class": 0}}]


def test_outlines_are_masks_and_keep_their_box() -> None:
    bulk = golden("segment")
    assert rows(bulk) == [("segmentation", "leaf", 0.9312), ("segmentation", "stem", 0.5)]
    first = data(bulk)[0]
    assert first["format"] == "polygon" and first["polygons"][0][:4] == [14, 5, 13, 6]
    assert first["extra"] == {"class": 0, "box": {"x1": 4.25, "y1": 3.5, "x2": 30.75, "y2": 20.125}}


def test_keypoints_stand_beside_their_box() -> None:
    bulk = golden("pose")
    assert [row[:2] for row in rows(bulk)] == [
        ("bounding_box", "leaf"),
        ("keypoint", "leaf"),
        ("bounding_box", "stem"),
        ("keypoint", "stem"),
    ]
    assert data(bulk)[1]["keypoints"][1] == {"x": 20, "y": 15.5, "confidence": 0.5}
    assert bulk.places == ["0", "0", "1", "1"]


def test_turned_boxes_are_polygons() -> None:
    bulk = golden("obb")
    assert rows(bulk) == [("polygon", "stem", 0.75)]
    assert data(bulk)[0]["points"][0] == [36.3787, 29.18217]


def test_classes_of_the_image_are_one_classification() -> None:
    bulk = golden("classify")
    assert rows(bulk) == [("classification", "stem", 0.7)]
    assert data(bulk)[0]["topk"] == [
        {"class": "stem", "confidence": 0.7, "extra": {"class": 1}},
        {"class": "leaf", "confidence": 0.2, "extra": {"class": 0}},
        {"class": "tree", "confidence": 0.1, "extra": {"class": 2}},
    ]


def test_numbers_from_0_to_1() -> None:
    bulk = golden("normalized", normalized=True)
    assert {key: data(bulk)[0][key] for key in LEAF} == pytest.approx(LEAF, abs=0.001)
    told = "has a box within one pixel; if the numbers go from 0 to 1, say `normalized`"
    assert said(golden("normalized"), "told") == {told: 2}


def one(**more: Any) -> dict[str, Any]:
    return {
        "name": "leaf",
        "class": 0,
        "confidence": 0.5,
        "box": {"x1": 1, "y1": 2, "x2": 9, "y2": 9},
        **more,
    }


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (7, ""),
        (one(box=[1, 2, 3, 4]), "box"),
        (one(box={"x1": 1}), "data.x_max"),
        (one(box={"x1": 9, "y1": 2, "x2": 1, "y2": 9}), "data.x_max"),
        (one(box={"x1": 1, "x3": 2}), "data.points.0"),
        (one(segments={"x": [1, 2, 3], "y": [1, 2]}), "segments"),
        (one(segments={"x": [1, 2, 3]}), "segments"),
        (one(segments={"x": 1, "y": 2}), "segments"),
        (one(segments={"x": [1, 2], "y": [1, 2]}), "data.polygons.0"),
        (one(keypoints={"x": [1], "y": [None]}), "data.keypoints.0.y"),
        (one(keypoints="none"), "keypoints"),
        (one(box=0), "box"),
        (one(box=False), "box"),
        (one(**{"class": [3]}), "class"),
        (one(name=5), "class_name"),
        (one(confidence=None, name="a", box=None), "data.topk.0.confidence"),
        ({}, "data.topk.0.class"),
    ],
)
def test_what_is_refused(entry: Any, field: str) -> None:
    found = faults([one(), entry], "ultralytics")
    assert {fault["place"] for fault in found} == {"1"}
    assert any(fault["field"].startswith(field) for fault in found), found


def test_an_empty_outline_leaves_the_box() -> None:
    bulk = load([one(segments={"x": [], "y": []})], "ultralytics")
    assert rows(bulk) == [("bounding_box", "leaf", 0.5)]
    assert said(bulk, "told") == {"has an empty outline, so its box is taken": 1}


def test_keys_of_its_own_are_kept() -> None:
    box = {"x1": 1, "y1": 2, "x2": 9, "y2": 9, "angle": 3}
    (stored,) = data(load([one(box=box, normalized=True)], "ultralytics"))
    assert stored["extra"] == {"normalized": True, "class": 0, "box": {"angle": 3}}


def test_a_class_without_a_name() -> None:
    entries = [{key: value for key, value in one().items() if key != "name"}] * 2
    bulk = load(entries, "ultralytics", names={"0": "leaf"})
    assert [row[1] for row in rows(bulk)] == ["leaf", "leaf"] and said(bulk, "told") == {}
    assert [row[1] for row in rows(load(entries, "ultralytics"))] == ["0", "0"]
    assert "extra" not in data(load(entries, "ultralytics"))[0]
    (row,) = rows(load([one(**{"name": None, "class": 3})], "ultralytics"))
    assert row[1] == "3"


def test_the_number_of_a_class_is_kept_beside_its_name() -> None:
    entry = one(**{"class": 3}, segments={"x": [1, 9, 5], "y": [2, 2, 9]}, keypoints={"x": [1], "y": [2]})
    mask, points = data(load([entry], "ultralytics"))
    assert mask["extra"].keys() == {"class", "box"} and points["extra"] == {"class": 3}
    (classified,) = data(load([one(**{"class": 3}, box=None)], "ultralytics"))
    assert classified["topk"] == [{"class": "leaf", "confidence": 0.5, "extra": {"class": 3}}]


@pytest.mark.parametrize("file", [{}, {"images": []}, 1, None, "text"])
def test_what_is_another_file(file: Any) -> None:
    assert faults(file, "ultralytics")
