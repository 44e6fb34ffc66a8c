import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import TYPES
from app.geometry import Frame
from app.overlay import PALETTE, Label, class_index, layers_of, masks_of, title_of, vector_layer

FRAME = Frame(640, 480)


@dataclass
class Said:
    """An annotation as the model's row has it."""

    annotation_type: str
    data: dict[str, Any]
    class_name: str | None = "cat"
    confidence: Any = Decimal("0.9100")
    storage_path: str | None = None
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    x_min: float | None = None
    y_min: float | None = None
    x_max: float | None = None
    y_max: float | None = None


def box(x_min: float, y_min: float, x_max: float, y_max: float, **more: Any) -> Said:
    return Said("bounding_box", {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}, **more)


def numbers(d: str) -> list[float]:
    return [float(one) for one in re.findall(r"-?\d+(?:\.\d+)?", d)]


def overlaps(labels: Iterable[Label]) -> bool:
    plates = list(labels)
    return any(
        a.x + a.width > b.x + 0.11
        and b.x + b.width > a.x + 0.11
        and a.y + a.height > b.y + 0.11
        and b.y + b.height > a.y + 0.11
        for i, a in enumerate(plates)
        for b in plates[i + 1 :]
    )


def test_a_box_is_rounded_and_cut_to_the_image() -> None:
    layer = vector_layer([box(-10.26, 20.04, 100.55, 500)], FRAME)
    (item,) = layer.items
    assert (item.kind, item.x, item.y, item.width, item.height) == ("rect", 0, 20, 100.6, 460)
    assert [type(value) for value in (item.x, item.y, item.width)] == [int, int, float]
    assert item.title == "cat 0.91"
    assert layer.view_box == "0 0 640 480"
    assert not layer.grouped


def test_a_polygon_has_its_holes_in_the_path() -> None:
    (item,) = vector_layer([Said("polygon", TYPES["polygon"].example)], FRAME).items
    assert item.kind == "polygon"
    assert item.paths == ("M20 20l160 10 -20 110 -130 -20zM60 60l40 0 -20 30z",)
    assert (item.x, item.y, item.width, item.height) == (20, 20, 160, 120)


def test_the_parts_of_a_segmentation_are_one_item() -> None:
    data = {"format": "polygon", "polygons": [[0, 0, 9, 0, 9, 9], [20, 20, 29, 20, 29, 29.04]]}
    (item,) = vector_layer([Said("segmentation", data)], FRAME).items
    assert item.paths == ("M0 0l9 0 0 9z", "M20 20l9 0 0 9z")


def test_keypoints_are_dots_and_lines() -> None:
    layer = vector_layer([Said("keypoint", TYPES["keypoint"].example)], FRAME)
    (item,) = layer.items
    assert list(item.dots) == [(100, 40), (110, 32), (90, 32)]
    assert item.paths == ("M100 40l10 -8M100 40l-10 -8",)
    assert layer.dot_radius > 0
    (single,) = vector_layer([Said("keypoint", {"keypoints": [{"x": 1.0, "y": 2.0}]})], FRAME).items
    assert single.paths == ()


def test_steps_between_rounded_points_do_not_add_up() -> None:
    points = [[i * 7.04, (i % 2) * 50.0] for i in range(60)]
    (item,) = vector_layer([Said("polygon", {"points": points})], FRAME).items
    steps = numbers(item.paths[0])
    assert sum(steps[0::2]) == pytest.approx(points[-1][0], abs=0.051)


def test_outlines_lose_what_does_not_show() -> None:
    dense = [[i * 0.1, 0.04 * (i % 3)] for i in range(3000)] + [[300.0, 200.0], [0.0, 200.0]]
    (item,) = vector_layer([Said("polygon", {"points": dense})], FRAME).items
    assert len(numbers(item.paths[0])) // 2 <= 8


def test_it_is_counted_what_is_not_drawn() -> None:
    said = [
        box(1, 1, 5, 5),
        box(700, 10, 900, 90),
        Said("heatmap", TYPES["heatmap"].example, storage_path="h.png"),
        Said("segmentation", TYPES["segmentation"].example),
        Said("classification", TYPES["classification"].example),
        Said("keypoint", {"keypoints": [{"x": 1.0, "y": 1.0, "visible": 0}]}),
        Said("something later", {}),
    ]
    layer = vector_layer(said, FRAME)
    assert (layer.received, layer.drawn) == (7, 1)
    assert layer.undrawn == {"outside the image": 1, "drawn as a picture": 2, "nothing to draw": 3}
    assert layer.received == layer.drawn + sum(layer.undrawn.values())


def test_nothing_is_a_layer_too() -> None:
    layer = vector_layer([], FRAME)
    assert (layer.items, layer.paths, layer.labels, layer.received) == ((), (), (), 0)


def test_above_the_budget_there_is_a_path_per_class_and_tile() -> None:
    said = [
        box(x, y, x + 10, y + 10, class_name=name)
        for name in "ab"
        for x in range(0, 1000, 20)
        for y in (0, 600)
    ]
    layer = vector_layer(said, Frame(1000, 700), budget=100)
    assert layer.grouped
    assert layer.items == ()
    assert len(layer.paths) == 2 * 2 * 2
    assert sum(path.count for path in layer.paths) == layer.drawn == len(said)
    assert {path.index for path in layer.paths} == {class_index("a"), class_index("b")}
    assert all(path.d.count("M") == path.count for path in layer.paths)
    assert "a: 25" in {path.title for path in layer.paths}
    assert layer.labels
    assert not vector_layer(said[:100], Frame(1000, 700), budget=100).grouped


def test_grouped_holes_are_wound_the_other_way() -> None:
    ring, hole = [[0.0, 0.0], [90.0, 0.0], [90.0, 90.0]], [[20.0, 10.0], [60.0, 10.0], [60.0, 50.0]]
    for points in (ring, ring[::-1]):
        for inner in (hole, hole[::-1]):
            (path,) = vector_layer(
                [Said("polygon", {"points": points, "holes": [inner]})], FRAME, budget=0
            ).paths
            outer_turn, inner_turn = (_turn(part) for part in path.d.split("z")[:2])
            assert outer_turn > 0 > inner_turn


def _turn(d: str) -> float:
    _, _, x1, y1, x2, y2 = numbers(d)
    return x1 * y2 - x2 * y1


def test_grouped_keypoints_are_lines() -> None:
    (path,) = vector_layer([Said("keypoint", TYPES["keypoint"].example)], FRAME, budget=0).paths
    assert path.kind == "line"
    assert path.d.count("h0") == 3


def test_colours_are_stable_and_no_class_has_its_own() -> None:
    assert len(PALETTE) == len(set(PALETTE)) == 10
    assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in PALETTE)
    assert class_index(None) == 9
    # these never change: links and screenshots in people's mails show them
    assert [class_index(name) for name in ("cat", "dog", "person", "Zürich", "")] == [1, 7, 8, 0, 0]
    assert {class_index(str(i)) for i in range(200)} == set(range(9))


def test_titles() -> None:
    assert title_of(box(0, 0, 1, 1)) == "cat 0.91"
    assert title_of(box(0, 0, 1, 1, confidence=None)) == "cat"
    assert title_of(box(0, 0, 1, 1, class_name=None, confidence=0.5)) == "Bounding box 0.50"
    assert title_of(Said("later", {}, class_name=None, confidence=None)) == "later"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 600), st.floats(0, 440), st.floats(1, 400), st.floats(1, 300)), max_size=150
    ),
    st.sampled_from([Frame(640, 480), Frame(64, 48), Frame(6400, 300), Frame(3, 900)]),
)
def test_labels_are_inside_and_never_overlap(
    boxes: list[tuple[float, float, float, float]], frame: Frame
) -> None:
    said = [box(x, y, x + width, y + height, class_name=str(int(x))) for x, y, width, height in boxes]
    labels = vector_layer(said, frame).labels
    assert len(labels) <= 120
    assert not overlaps(labels)
    for label in labels:
        assert -0.1 <= label.x <= label.x + label.width <= frame.width + 0.2
        assert -0.1 <= label.y <= label.y + label.height <= frame.height + 0.2


def test_the_surest_are_labelled_first() -> None:
    said = [box(100, 100, 200, 200, confidence=i / 100) for i in range(50)]
    labels = vector_layer(said, FRAME).labels
    assert labels[0].text == "cat 0.49"
    assert 1 <= len(labels) < 10


def test_at_most_120_labels_of_at_most_40_characters() -> None:
    said = [
        box(x, y, x + 5, y + 5, class_name="x" * 200)
        for x in range(0, 20_000, 1000)
        for y in range(0, 20_000, 1000)
    ]
    labels = vector_layer(said, Frame(4000 * 5, 4000 * 5)).labels
    assert len(labels) <= 120
    assert all(len(label.text) == 40 and label.text.endswith("…") for label in labels)


def test_layers_of() -> None:
    heatmap = Said("heatmap", TYPES["heatmap"].example, storage_path="h.png")
    mask = Said("segmentation", {"format": "png"}, storage_path="m.png", class_name=None)
    rle = Said("segmentation", TYPES["segmentation"].example)
    layers = layers_of([heatmap, mask, rle, box(0, 0, 1, 1)])
    assert (layers.vector, layers.masks) == (True, True)
    first, second = layers.bitmaps
    assert (first.kind, first.storage_path, first.color_map, first.unit) == (
        "heatmap",
        "h.png",
        "viridis",
        "probability",
    )
    assert (second.kind, second.index, second.title) == ("mask", 9, "Segmentation 0.91")
    nothing = layers_of([Said("custom", {}), Said("heatmap", TYPES["heatmap"].example)])
    assert (nothing.vector, nothing.masks, nothing.bitmaps) == (False, False, ())
    assert layers_of([Said("segmentation", {"format": "polygon", "polygons": [[0, 0, 9, 0, 9, 9]]})]).vector


def test_masks_of_are_the_run_lengths_only() -> None:
    said = [
        box(0, 0, 1, 1),
        Said("segmentation", TYPES["segmentation"].example),
        Said("segmentation", {"format": "png"}),
    ]
    ((raster, index),) = masks_of(said, FRAME)
    assert (raster.width, raster.height, index) == (10, 9, class_index("cat"))
