"""Properties of every type with a shape: what is drawn fits the image, and every alias means its canonical form."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import TYPES, type_named
from app.geometry import Frame, clamp, shape_bounds
from app.overlay.colours import Colours
from app.overlay.paths import Pen
from app.overlay.shapes import items_at

FRAME = Frame(640, 480)
xs, ys = st.floats(-640, 1280, allow_nan=False), st.floats(-480, 960, allow_nan=False)
points = st.lists(st.tuples(xs, ys).map(list), min_size=3, max_size=12)
corners = st.tuples(st.integers(0, 639), st.integers(0, 479), st.integers(1, 400), st.integers(1, 400))


@st.composite
def drawn(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A type and data it takes, reaching past the edges of the image."""
    ring = draw(points)
    x, y, width, height = draw(corners)
    flat = [value for point in ring for value in point]
    return draw(
        st.sampled_from(
            [
                ("polygon", {"points": ring}),
                ("keypoint", {"keypoints": [{"x": x, "y": y} for x, y in ring], "skeleton": [[0, 1]]}),
                ("bounding_box", {"x_min": x, "y_min": y, "x_max": x + width, "y_max": y + height}),
                ("segmentation", {"format": "polygon", "polygons": [flat]}),
                ("segmentation", {"format": "rle", "counts": [x, 1, 639 - x], "size": [20, 32]}),
                ("heatmap", {"width": width, "height": height}),
            ]
        )
    )


@settings(max_examples=300, deadline=None)
@given(drawn())
def test_what_is_drawn_is_inside_the_view_box(sent: tuple[str, dict[str, Any]]) -> None:
    kind, data = sent
    for shape in TYPES[kind].shapes(TYPES[kind].load(data, FRAME, "h.png").data, FRAME):
        box = shape_bounds(shape, FRAME)
        assert box is not None
        inside = clamp(box, FRAME)
        if inside is not None:
            assert 0 <= inside.x_min <= inside.x_max <= FRAME.width
            assert 0 <= inside.y_min <= inside.y_max <= FRAME.height
        else:
            assert box.x_max < 0 or box.y_max < 0 or box.x_min > FRAME.width or box.y_min > FRAME.height


@settings(max_examples=100, deadline=None)
@given(corners)
def test_every_form_of_a_box_is_the_same_box(corners: tuple[int, int, int, int]) -> None:
    x, y, width, height = corners
    right, bottom = x + width, y + height
    box = TYPES["bounding_box"]
    canonical = box.load({"x_min": x, "y_min": y, "x_max": right, "y_max": bottom}, FRAME)
    for alias in (
        {"left": x, "top": y, "right": right, "bottom": bottom},
        {"x": x, "y": y, "width": width, "height": height},
        {"bbox": [x, y, right, bottom], "format": "xyxy"},
        {"bbox": [x, y, width, height], "format": "xywh"},
        {"bbox": [x + width / 2, y + height / 2, width, height], "format": "cxcywh"},
    ):
        assert box.load(alias, FRAME) == canonical
        assert box.load(canonical.data, FRAME) == canonical
        assert box.load(normal(alias), FRAME).data == pytest.approx(canonical.data, abs=1e-6)
    assert box.load(normal(canonical.data), FRAME).data == pytest.approx(canonical.data, abs=1e-6)


def normal(data: dict[str, Any]) -> dict[str, Any]:
    """A form of a box in parts of the image's sides instead of pixels."""
    sides = {"x": 640, "width": 640, "left": 640, "right": 640, "x_min": 640, "x_max": 640}
    said = {
        name: value / sides.get(name, 480) if isinstance(value, (int, float)) else value
        for name, value in data.items()
    }
    if "bbox" in said:
        said["bbox"] = [value / (640, 480)[place % 2] for place, value in enumerate(data["bbox"])]
    return {**said, "normalized": True}


fractions = st.tuples(st.integers(0, 64), st.integers(0, 48)).map(lambda at: (at[0] / 64, at[1] / 48))


@settings(max_examples=100, deadline=None)
@given(st.lists(fractions, min_size=3, max_size=9), st.sampled_from(["normalized", "frame"]))
def test_points_in_another_frame_are_the_same_points(ring: list[tuple[float, float]], how: str) -> None:
    """Of parts of the sides, and of an image that was sent smaller."""
    if how == "normalized":
        sent: list[list[float]] = [[x, y] for x, y in ring]
        said: dict[str, Any] = {"normalized": True}
    else:
        sent = [[x * 64, y * 48] for x, y in ring]
        said = {"image_width": 64, "image_height": 48}
    wanted = [[x * 640, y * 480] for x, y in ring]
    keypoints = TYPES["keypoint"].load({**said, "keypoints": [{"x": x, "y": y} for x, y in sent]}, FRAME)
    assert [[point["x"], point["y"]] for point in keypoints.data["keypoints"]] == near(wanted)
    polygon = TYPES["polygon"].load({**said, "points": sent}, FRAME)
    assert polygon.data["points"] == near(wanted)
    flat = {**said, "format": "polygon", "polygons": [[value for point in sent for value in point]]}
    parts = TYPES["segmentation"].load(flat, FRAME).data["polygons"]
    assert parts == [pytest.approx([value for point in wanted for value in point], abs=1e-6)]


def near(points: list[list[float]]) -> list[Any]:
    return [pytest.approx(point, abs=1e-6) for point in points]


@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=4), st.integers(0, 100), min_size=1, max_size=9)
)
def test_scores_are_the_ranked_classes(said: dict[str, int]) -> None:
    scores = {name: share / 100 for name, share in said.items()}
    ranked = sorted(scores.items(), key=lambda one: -one[1])
    canonical = {"topk": [{"class": name, "confidence": share} for name, share in ranked]}
    kind = TYPES["classification"]
    assert kind.load({"scores": scores}, FRAME).data == kind.load(canonical, FRAME).data == canonical


@given(corners)
def test_a_mask_is_a_segmentation_by_whatever_name(corners: tuple[int, int, int, int]) -> None:
    start, length = corners[0], corners[2]
    kind, path = type_named("mask"), "ml_outputs/0198f6e0-0000-7000-8000-000000000001/m.png"
    runs = {"format": "rle", "counts": [start, length, 640 * 480 - start - length], "size": [480, 640]}
    assert kind is not None and kind.name == "segmentation"
    assert kind.load(runs, FRAME) == TYPES["segmentation"].load(runs, FRAME)
    assert kind.load(TYPES["segmentation"].load(runs, FRAME).data, FRAME).data == runs
    assert kind.load({}, FRAME, path).data == TYPES["segmentation"].load({"format": "png"}, FRAME, path).data


@dataclass
class Row:
    annotation_type: str
    data: dict[str, Any]
    class_name: str | None = None
    confidence: Any = None
    storage_path: str | None = None
    id: UUID = field(default_factory=uuid4)
    position: int = 0


@settings(max_examples=100, deadline=None)
@given(corners)
def test_every_form_of_a_box_is_drawn_as_the_same_element(corners: tuple[int, int, int, int]) -> None:
    x, y, width, height = corners
    forms = (
        {"x_min": x, "y_min": y, "x_max": x + width, "y_max": y + height},
        {"x": x, "y": y, "width": width, "height": height},
        {"bbox": [x + width / 2, y + height / 2, width, height], "format": "cxcywh"},
        normal({"left": x, "top": y, "right": x + width, "bottom": y + height}),
    )
    loaded = [TYPES["bounding_box"].load(form, FRAME) for form in forms]
    rows = [Row("bounding_box", one.data) for one in loaded]
    elements = items_at(rows, FRAME, Pen(), Colours(()))
    assert {(one.x, one.y, one.width, one.height) for _, one in elements} == {
        (x, y, min(width, 640 - x), min(height, 480 - y))
    }
