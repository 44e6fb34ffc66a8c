from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from app.annotations import TYPES, Loaded
from app.geometry import Frame, Rect

FRAME = Frame(640, 480)
BOX = TYPES["bounding_box"]
CANONICAL = {"x_min": 10.0, "y_min": 20.0, "x_max": 110.0, "y_max": 70.0}


def load(data: Any, frame: Frame = FRAME) -> Loaded:
    return BOX.load(data, frame, None)


def refusal(data: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        load(data)
    assert isinstance(caught.value.messages, dict)
    return caught.value.messages


@pytest.mark.parametrize(
    "data",
    [
        {"x_min": 10, "y_min": 20, "x_max": 110, "y_max": 70},
        {"left": 10, "top": 20, "right": 110, "bottom": 70},
        {"x": 10, "y": 20, "width": 100, "height": 50},
        {"bbox": [10, 20, 110, 70], "format": "xyxy"},
        {"bbox": [10, 20, 100, 50], "format": "xywh"},
        {"bbox": [60.0, 45, 100, 50.0], "format": "cxcywh"},
        {"x_min": 10, "y_min": 20, "x_max": 110, "y_max": 70, "normalized": False, "image_width": None},
    ],
)
def test_every_form_becomes_the_canonical_one(data: dict[str, Any]) -> None:
    loaded = load(data)
    assert loaded.data == CANONICAL
    assert all(type(value) is float for value in loaded.data.values())
    assert loaded.bounds == Rect(10, 20, 110, 70)


@pytest.mark.parametrize(
    "data",
    [
        {"x_min": 0.25, "y_min": 0.5, "x_max": 0.5, "y_max": 1},
        {"left": 0.25, "top": 0.5, "right": 0.5, "bottom": 1},
        {"x": 0.25, "y": 0.5, "width": 0.25, "height": 0.5},
        {"bbox": [0.25, 0.5, 0.5, 1], "format": "xyxy"},
        {"bbox": [0.25, 0.5, 0.25, 0.5], "format": "xywh"},
        {"bbox": [0.375, 0.75, 0.25, 0.5], "format": "cxcywh"},
    ],
)
@pytest.mark.parametrize("frame", [{}, {"image_width": 1280, "image_height": 960}])
def test_every_form_may_be_normalized(data: dict[str, Any], frame: dict[str, int]) -> None:
    loaded = load(data | frame | {"normalized": True})
    assert {key: loaded.data[key] for key in CANONICAL} == {
        "x_min": 160,
        "y_min": 240,
        "x_max": 320,
        "y_max": 480,
    }
    assert loaded.scaled_from is None
    assert load(loaded.data).data == loaded.data


def test_other_forms_beside_the_canonical_one_are_extra() -> None:
    beside = {"width": 100, "height": 50, "bbox": [1, 2, 3, 4], "format": "odd", "left": "x", "area": 5000}
    loaded = load(CANONICAL | beside)
    assert loaded.data == CANONICAL | {"extra": beside}
    assert load(loaded.data).data == loaded.data


def test_extra_keys_join_an_extra_object() -> None:
    assert load(CANONICAL | {"track": 7, "extra": {"id": 1}}).data["extra"] == {"track": 7, "id": 1}
    assert load(CANONICAL | {"extra": "a note"}).data["extra"] == {"extra": "a note"}
    assert "extra" not in load(CANONICAL | {"extra": {}}).data
    assert load(CANONICAL | {"track": 7, "extra": {"track": 7}}).data["extra"] == {"track": 7}
    assert list(refusal(CANONICAL | {"track": 7, "extra": {"track": 8}})) == ["extra.track"]


def test_numbers_in_another_frame_are_scaled_and_reported() -> None:
    loaded = load(CANONICAL | {"image_width": 320, "image_height": 960})
    assert loaded.data == {
        "x_min": 20, "y_min": 10, "x_max": 220, "y_max": 35, "image_width": 640, "image_height": 480,
    }  # fmt: skip
    assert loaded.scaled_from == Frame(320, 960)
    assert load(loaded.data) == loaded._replace(scaled_from=None)


def test_the_images_own_frame_is_no_scaling() -> None:
    loaded = load(CANONICAL | {"image_width": 640.0, "image_height": 480})
    assert loaded.data == CANONICAL | {"image_width": 640, "image_height": 480}
    assert loaded.scaled_from is None
    assert load(CANONICAL | {"image_width": 640}).data == CANONICAL | {"image_width": 640}


def test_half_a_frame_that_is_not_the_images_is_refused() -> None:
    assert list(refusal(CANONICAL | {"image_width": 320})) == ["image_height"]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"x_min": 10, "y_min": 20, "x_max": 10, "y_max": 70}, "x_max"),
        ({"x_min": 10, "y_min": 20, "x_max": 50, "y_max": 15}, "y_max"),
        ({"left": 10, "top": 20, "right": 5, "bottom": 70}, "right"),
        ({"x": 10, "y": 20, "width": 0, "height": 50}, "width"),
        ({"x": 10, "y": 20, "width": 10, "height": -50}, "height"),
        ({"bbox": [10, 20, 5, 70], "format": "xyxy"}, "bbox.2"),
        ({"bbox": [10, 20, 5], "format": "xyxy"}, "bbox"),
        ({"bbox": [10, 20, 5, "9"], "format": "xyxy"}, "bbox.3"),
        ({"bbox": "10,20,5,9", "format": "xyxy"}, "bbox"),
        ({"bbox": [10, 20, 50, 70]}, "format"),
        ({"bbox": [10, 20, 50, 70], "format": "yxyx"}, "format"),
        ({"bbox": [10, 20, 50, 70], "format": ["xyxy"]}, "format"),
        ({"x_min": 10, "y_min": 20, "width": 10, "height": 10}, "x_max"),
        ({"left": 1, "top": 2, "width": 3, "height": 4}, "right"),
        (CANONICAL | {"normalized": "yes"}, "normalized"),
        (CANONICAL | {"normalized": 1}, "normalized"),
        (CANONICAL | {"normalized": True}, "x_min"),
        (CANONICAL | {"image_width": 0, "image_height": 480}, "image_width"),
        (CANONICAL | {"image_width": "640", "image_height": 480}, "image_width"),
        (CANONICAL | {"image_width": 640.5, "image_height": 480}, "image_width"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_sent(data: dict[str, Any], field: str) -> None:
    assert field in refusal(data)


def test_one_image_size_beyond_an_edge_is_the_limit() -> None:
    assert load({"x_min": -640, "y_min": -480, "x_max": 1280, "y_max": 960})
    far = refusal({"x_min": -640.1, "y_min": -480, "x_max": 1280, "y_max": 960.1})
    assert set(far) == {"x_min", "y_max"}
    assert "y" in refusal({"x": 1, "y": -481, "width": 10, "height": 10})


def test_the_frame_decides_what_is_far_outside() -> None:
    far = {"x_min": 2000, "y_min": 10, "x_max": 2100, "y_max": 50}
    assert "x_min" in refusal(far)
    assert load(far | {"image_width": 6400, "image_height": 4800}).data["x_min"] == 200


coordinate = st.floats(0, 600, allow_nan=False) | st.integers(0, 600)
length = st.floats(0.01, 400) | st.integers(1, 400)


@given(x=coordinate, y=coordinate, width=length, height=length)
def test_the_forms_agree(x: float, y: float, width: float, height: float) -> None:
    frame = Frame(1000, 1000)
    right, bottom = x + width, y + height
    wanted = load({"x_min": x, "y_min": y, "x_max": right, "y_max": bottom}, frame).data
    exact: list[dict[str, Any]] = [
        {"left": x, "top": y, "right": right, "bottom": bottom},
        {"x": x, "y": y, "width": width, "height": height},
        {"bbox": [x, y, right, bottom], "format": "xyxy"},
        {"bbox": [x, y, width, height], "format": "xywh"},
    ]
    assert all(load(data, frame).data == wanted for data in exact)
    close = [
        load({"bbox": [x + width / 2, y + height / 2, width, height], "format": "cxcywh"}, frame).data,
        load(
            {
                "x": x / 1000,
                "y": y / 1000,
                "width": width / 1000,
                "height": height / 1000,
                "normalized": True,
            },
            frame,
        ).data,
    ]
    assert all(data == pytest.approx(wanted, abs=1e-9) for data in close)
    assert all(load(data, frame).data == data for data in [wanted, *close])
