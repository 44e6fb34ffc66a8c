"""Polygons, keypoints, heatmaps, classifications and custom objects."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from app.annotations import TYPES, Loaded
from app.annotations.base import Data
from app.geometry import Frame, Points, Polygon, Rect

FRAME = Frame(640, 480)
TRIANGLE = [[0, 0], [100, 0], [0, 100]]


def load(kind: str, data: Any, storage_path: str | None = "p.png") -> Loaded:
    return TYPES[kind].load(data, FRAME, storage_path)


def refusal(kind: str, data: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        load(kind, data)
    return list(caught.value.messages)


# --- polygon


def test_polygon_with_holes() -> None:
    hole = [[10, 10], [20, 10], [10, 20]]
    loaded = load("polygon", {"points": TRIANGLE, "holes": [hole], "label": "lake"})
    assert loaded.data == {"points": TRIANGLE, "holes": [hole], "extra": {"label": "lake"}}
    assert type(loaded.data["points"][0][0]) is float
    assert loaded.bounds == Rect(0, 0, 100, 100)
    (shape,) = TYPES["polygon"].shapes(loaded.data, FRAME)
    assert shape == Polygon(((0, 0), (100, 0), (0, 100)), (((10, 10), (20, 10), (10, 20)),))
    assert TYPES["polygon"].row(loaded.data)["area"] == 5000 - 50


def test_polygon_frames() -> None:
    loaded = load(
        "polygon", {"points": TRIANGLE, "holes": [TRIANGLE], "image_width": 320, "image_height": 240}
    )
    assert loaded.data["points"][1] == loaded.data["holes"][0][1] == [200, 0]
    assert loaded.data["image_width"] == 640
    assert loaded.scaled_from == Frame(320, 240)
    normalized = load("polygon", {"points": [[0, 0], [1, 0], [1, 1]], "normalized": True})
    assert normalized.data == {"points": [[0, 0], [640, 0], [640, 480]]}


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"points": TRIANGLE[:2]}, "points"),
        ({"points": [0, 0, 100, 0, 0, 100]}, "points.0"),
        ({"points": [*TRIANGLE, [1, 2, 3]]}, "points.3"),
        ({"points": [*TRIANGLE, [1, True]]}, "points.3"),
        ({"points": [*TRIANGLE, "12"]}, "points.3"),
        ({"points": [*TRIANGLE, {"x": 1, "y": 2}]}, "points.3"),
        ({"points": [*TRIANGLE, [1300, 2]]}, "points.3"),
        ({"points": TRIANGLE, "holes": [TRIANGLE, [[1, 2]]]}, "holes.1"),
        ({"points": TRIANGLE, "holes": [TRIANGLE, [*TRIANGLE, [1, float("nan")]]]}, "holes.1.3"),
        ({"points": TRIANGLE, "holes": [[*TRIANGLE, [1, -481]]]}, "holes.0.3"),
        ({"points": TRIANGLE, "holes": {}}, "holes"),
        ({"points": "0,0 1,1 2,2"}, "points"),
    ],
)
def test_polygon_refusals(data: Data, field: str) -> None:
    assert refusal("polygon", data) == [field]


# --- keypoint


def test_keypoints_keep_their_extra_keys_and_order() -> None:
    sent = {
        "keypoints": [
            {"visible": 2.0, "y": 2, "x": 1, "id": 7, "name": "nose"},
            {"x": 5, "y": 6, "confidence": None},
        ],
        "skeleton": [[0.0, 1]],
        "pose": "standing",
    }
    data = load("keypoint", sent).data
    assert data == {
        "keypoints": [{"name": "nose", "x": 1, "y": 2, "visible": 2, "extra": {"id": 7}}, {"x": 5, "y": 6}],
        "skeleton": [[0, 1]],
        "extra": {"pose": "standing"},
    }
    assert list(data["keypoints"][0]) == ["name", "x", "y", "visible", "extra"]
    assert load("keypoint", data).data == data


def test_unseen_keypoints_are_kept_but_neither_drawn_nor_in_the_bounds() -> None:
    keypoints = [{"x": 0, "y": 0, "visible": 0}, {"x": 10, "y": 20}, {"x": 30, "y": 5, "visible": True}]
    loaded = load("keypoint", {"keypoints": keypoints, "skeleton": [[0, 1], [2, 1]]})
    assert loaded.bounds == Rect(10, 5, 30, 20)
    assert TYPES["keypoint"].shapes(loaded.data, FRAME) == [Points(((10, 20), (30, 5)), ((1, 0),))]
    assert len(loaded.data["keypoints"]) == 3
    nobody = load("keypoint", {"keypoints": keypoints[:1]})
    assert nobody.bounds is None
    assert TYPES["keypoint"].shapes(nobody.data, FRAME) == []
    assert TYPES["keypoint"].row(nobody.data)["x_min"] is None


def test_keypoint_frames() -> None:
    sent = {"keypoints": [{"x": 0.5, "y": 0.25}], "normalized": True}
    assert load("keypoint", sent).data == {"keypoints": [{"x": 320, "y": 120}]}
    sent = {"keypoints": [{"x": 10, "y": 10}], "image_width": 64, "image_height": 48}
    loaded = load("keypoint", sent)
    assert loaded.data["keypoints"] == [{"x": 100, "y": 100}]
    assert loaded.scaled_from == Frame(64, 48)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"keypoints": [1, 2, 2]}, "keypoints.0"),
        ({"keypoints": {}}, "keypoints"),
        ({"keypoints": [{"x": 1, "y": 2}, {"x": 1}]}, "keypoints.1.y"),
        ({"keypoints": [{"x": 1, "y": 2, "confidence": 1.01}]}, "keypoints.0.confidence"),
        ({"keypoints": [{"x": 1, "y": 2, "confidence": True}]}, "keypoints.0.confidence"),
        ({"keypoints": [{"x": 1, "y": 2, "visible": 3}]}, "keypoints.0.visible"),
        ({"keypoints": [{"x": 1, "y": 2, "visible": "yes"}]}, "keypoints.0.visible"),
        ({"keypoints": [{"x": 1, "y": 2, "name": "a\u202eb"}]}, "keypoints.0.name"),
        ({"keypoints": [{"x": 1, "y": 2}, {"x": 1, "y": 961}]}, "keypoints.1.y"),
        ({"keypoints": [{"x": 1, "y": 2, "extra": {"a": 1}, "a": 2}]}, "keypoints.0.extra.a"),
        ({"keypoints": [{"x": 1, "y": 2}], "skeleton": [[0, 1]]}, "skeleton.0"),
        ({"keypoints": [{"x": 1, "y": 2}], "skeleton": [[0, -1]]}, "skeleton.0"),
        ({"keypoints": [{"x": 1, "y": 2}], "skeleton": [[0, False]]}, "skeleton.0"),
        ({"keypoints": [{"x": 1, "y": 2}], "skeleton": [[0, 0], [0]]}, "skeleton.1"),
        ({"keypoints": [{"x": 1, "y": 2}], "skeleton": [0, 0]}, "skeleton.0"),
    ],
)
def test_keypoint_refusals(data: Data, field: str) -> None:
    assert refusal("keypoint", data) == [field]


# --- heatmap


def test_heatmap_keeps_what_it_says_of_its_scale() -> None:
    sent = {"width": 64.0, "height": 48, "color_map": "jet", "vmin": -1, "vmax": 2, "unit": "°C", "layer": 4}
    loaded = load("heatmap", sent)
    assert loaded.data == {
        "width": 64,
        "height": 48,
        "color_map": "jet",
        "vmin": -1.0,
        "vmax": 2.0,
        "unit": "°C",
        "extra": {"layer": 4},
    }
    assert loaded.bounds == Rect(0, 0, 640, 480)
    assert load("heatmap", {"width": 1, "height": 1, "vmin": None, "unit": None}).data == {
        "width": 1,
        "height": 1,
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"width": 0}, "width"),
        ({"height": 1.5}, "height"),
        ({"width": True}, "width"),
        ({"color_map": 3}, "color_map"),
        ({"unit": "\n"}, "unit"),
        ({"vmax": "1"}, "vmax"),
    ],
)
def test_heatmap_refusals(change: Data, field: str) -> None:
    assert refusal("heatmap", {"width": 64, "height": 48} | change) == [field]


# --- classification


def test_scores_become_topk_the_surest_first() -> None:
    data = load("classification", {"scores": {"a": 0.1, "b": 1, "c": 0.5}, "temperature": 2}).data
    assert data == {
        "topk": [
            {"class": "b", "confidence": 1},
            {"class": "c", "confidence": 0.5},
            {"class": "a", "confidence": 0.1},
        ],
        "extra": {"temperature": 2},
    }


def test_topk_keeps_its_order_and_extra_keys() -> None:
    sent = {
        "topk": [{"class": "a", "confidence": 0, "id": 5}, {"class": "b", "confidence": 1}],
        "scores": {"a": 9},
    }
    data = load("classification", sent).data
    assert data["topk"] == [
        {"class": "a", "confidence": 0.0, "extra": {"id": 5}},
        {"class": "b", "confidence": 1.0},
    ]
    assert data["extra"] == {"scores": {"a": 9}}
    assert load("classification", data).data == data
    assert TYPES["classification"].row(data) == {"top_class": "b", "top_confidence": 1.0, "class_count": 2}


def test_class_names_are_nfc() -> None:
    assert load("classification", {"scores": {"Ku\u0308he": 0.5}}).data["topk"][0]["class"] == "Kühe"


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"topk": [{"class": "a", "confidence": 1.1}]}, "topk.0.confidence"),
        ({"topk": [{"class": "a", "confidence": -0.1}]}, "topk.0.confidence"),
        ({"topk": [{"class": "a"}]}, "topk.0.confidence"),
        ({"topk": [{"class": 4, "confidence": 0.1}]}, "topk.0.class"),
        ({"topk": [{"class": "", "confidence": 0.1}]}, "topk.0.class"),
        ({"topk": [{"class": "x" * 256, "confidence": 0.1}]}, "topk.0.class"),
        ({"topk": ["a"]}, "topk.0"),
        ({"topk": {"a": 1}}, "topk"),
        ({"scores": {"a": "0.5"}}, "scores.a"),
        ({"scores": {"a": True}}, "scores.a"),
        ({"scores": [0.5]}, "scores"),
    ],
)
def test_classification_refusals(data: Data, field: str) -> None:
    assert refusal("classification", data) == [field]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,10}", fullmatch=True), st.floats(0, 1), max_size=20))
def test_scores_lose_nothing(scores: dict[str, float]) -> None:
    data = load("classification", {"scores": scores}).data
    assert {entry["class"]: entry["confidence"] for entry in data["topk"]} == scores
    assert load("classification", data).data == data


# --- custom

keys = st.from_regex(r"\w{1,5}", fullmatch=True)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(keys, trees, max_size=5))
def test_custom_and_extra_come_back_as_they_were(tree: Data) -> None:
    assert load("custom", tree).data == tree
    data = load("polygon", {"points": TRIANGLE, "extra": tree}).data
    assert data.get("extra", {}) == tree


def test_custom_up_to_64_kib_of_utf_8() -> None:
    assert load("custom", {"t": "ä" * 32_764})
    assert refusal("custom", {"t": "ä" * 32_765}) == [""]
