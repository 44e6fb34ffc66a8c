import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.annotations import TYPES
from app.geometry import Frame, shape_bounds
from app.overlay import (
    Label,
    Plan,
    bitmaps_of,
    draw,
    labels,
    plan,
    rows_needed,
    title_of,
)
from app.overlay.colours import PALETTE, UNNAMED, Colours, class_index
from app.overlay.filters import Filter
from app.overlay.masks import MASK_PALETTE, SHADES, shown_masks
from app.overlay.parts import ClassPath, Item, VectorLayer
from app.overlay.paths import Pen, pen_for
from app.overlay.shapes import class_paths, items_at
from app.overlay.tiles import LEVELS, tiles_in
from app.overlay.window import Window, whole
from tests.support.columns import snapshot

FRAME = Frame(640, 480)
NAMED = Colours(())


@dataclass
class Said:
    """An annotation as the model's row has it."""

    annotation_type: str
    data: dict[str, Any]
    class_name: str | None = "cat"
    confidence: Any = Decimal("0.9100")
    storage_path: str | None = None
    id: uuid.UUID = field(default_factory=uuid.uuid4)
    position: int = 0


def items(said: list[Said], frame: Frame, pen: Pen, colours: Colours) -> list[Item]:
    return [item for _, item in items_at(said, frame, pen, colours)]


def box(x_min: float, y_min: float, x_max: float, y_max: float, **more: Any) -> Said:
    return Said("bounding_box", {"x_min": x_min, "y_min": y_min, "x_max": x_max, "y_max": y_max}, **more)


def planned(said: list[Said], frame: Frame = FRAME, window: Window | None = None) -> Plan:
    return plan(snapshot(said, frame), Filter(), window or whole(frame, 1000, 750), frame)


def drawn(said: list[Said], frame: Frame = FRAME) -> VectorLayer:
    """All of the image in a stage of 1000 by 750."""
    columns, wanted = snapshot(said, frame), planned(said, frame)
    rows = [replace(said[index], position=index) for index in rows_needed(columns, wanted).tolist()]
    return draw(columns, wanted, rows, whole(frame, 1000, 750), frame)


def labelled(said: list[Said], frame: Frame = FRAME) -> tuple[Label, ...]:
    return labels(snapshot(said, frame), planned(said, frame), whole(frame, 1000, 750), frame)


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
    (item,) = items([box(-10.26, 20.04, 100.55, 500)], FRAME, Pen(), NAMED)
    assert (item.kind, item.x, item.y, item.width, item.height) == ("rect", 0, 20, 100.6, 460)
    assert [type(value) for value in (item.x, item.y, item.width)] == [int, int, float]
    assert item.title == "cat 0.91"


def test_a_polygon_has_its_holes_in_the_path() -> None:
    (item,) = items([Said("polygon", TYPES["polygon"].example)], FRAME, Pen(), NAMED)
    assert item.kind == "polygon"
    assert item.d == "M20 20l160 10 -20 110 -130 -20zM80 90l20 -30 -40 0z"
    assert (item.x, item.y, item.width, item.height) == (20, 20, 160, 120)


def test_the_parts_of_a_segmentation_are_one_item() -> None:
    data = {"format": "polygon", "polygons": [[0, 0, 9, 0, 9, 9], [20, 20, 29, 20, 29, 29.04]]}
    (item,) = items([Said("segmentation", data)], FRAME, Pen(), NAMED)
    assert item.d == "M0 0l9 0 0 9zM20 20l9 0 0 9z"


def test_keypoints_are_dots_and_lines() -> None:
    layer = drawn([Said("keypoint", TYPES["keypoint"].example)])
    (item,) = layer.items
    assert item.dots == "M100 40h0M110 32h0M90 32h0"
    assert item.d == "M100 40l10 -8M100 40l-10 -8"
    (single,) = items([Said("keypoint", {"keypoints": [{"x": 1.0, "y": 2.0}]})], FRAME, Pen(), NAMED)
    assert (single.d, single.dots) == ("", "M1 2h0")


def test_steps_between_rounded_points_do_not_add_up() -> None:
    points = [[i * 7.04, (i % 2) * 50.0] for i in range(60)]
    (item,) = items([Said("polygon", {"points": points})], FRAME, Pen(), NAMED)
    steps = numbers(item.d)
    assert sum(steps[0::2]) == pytest.approx(points[-1][0], abs=0.051)


def test_outlines_lose_what_does_not_show() -> None:
    dense = [[i * 0.1, 0.04 * (i % 3)] for i in range(3000)] + [[300.0, 200.0], [0.0, 200.0]]
    (item,) = items([Said("polygon", {"points": dense})], FRAME, Pen(), NAMED)
    assert len(numbers(item.d)) // 2 <= 8


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
    counted = planned(said)
    assert (counted.received, counted.drawn) == (7, 3)
    assert counted.undrawn == {"outside the image": 1, "without a shape": 3}
    assert counted.received == counted.drawn + sum(counted.undrawn.values())


def test_nothing_is_a_layer_too() -> None:
    layer = drawn([])
    assert (layer.items, layer.paths, layer.tiles, labelled([])) == ((), (), (), ())


def test_above_the_budget_there_is_a_path_per_class_and_tile() -> None:
    said = [
        box(x, y, x + 10, y + 10, class_name=name)
        for name in "ab"
        for x in range(0, 1000, 20)
        for y in (0, 600)
    ]
    frame = Frame(1000, 700)
    paths = class_paths(said, frame, Pen(), NAMED, 10)
    assert len(paths) == 2 * 2 * 2
    assert sum(path.count for path in paths) == len(said)
    assert {path.index for path in paths} == {class_index("a"), class_index("b")}
    assert all(path.d.count("M") == path.count for path in paths)
    assert "a: 25" in {path.title for path in paths}
    many = said * 12  # 2,400
    layer = drawn(many, frame)
    assert layer.items == () and sum(path.count for path in layer.paths) == len(many)

    # boxes are drawn from columns alone: the same as from rows
    def told(path: ClassPath) -> tuple[int, str, str]:
        return path.index, path.title, path.d

    assert sorted(map(told, layer.paths)) == sorted(map(told, class_paths(many, frame, Pen(), NAMED, 10)))
    assert labelled(many, frame)


def crowded(names: int, frame: Frame) -> list[Said]:
    """6,000 boxes all over the image, of so many classes."""
    steps = [(x, y) for x in range(100) for y in range(60)]
    return [
        box(
            *(at := (x * frame.width / 100, y * frame.height / 60)),
            at[0] + 3,
            at[1] + 3,
            class_name=f"class {(7 * x + y) % names}",
        )
        for x, y in steps
    ]


@pytest.mark.parametrize(
    ("names", "frame"), [(12, Frame(1500, 1000)), (80, Frame(8000, 6000)), (5000, Frame(30_000, 30_000))]
)
def test_the_paths_are_few_whatever_the_classes_and_the_image(names: int, frame: Frame) -> None:
    """Of boxes, which are drawn from the columns, and of polygons, which are drawn from rows."""
    said = crowded(names, frame)
    for row in said[::2]:
        x, y, right, bottom = (row.data[side] for side in ("x_min", "y_min", "x_max", "y_max"))
        row.annotation_type, row.data = "polygon", {"points": [[x, y], [right, y], [right, bottom]]}
    layer = drawn(said, frame)
    assert 1 < len(layer.paths) <= 600
    assert (
        sum(path.count for path in layer.paths) == sum(path.d.count("M") for path in layer.paths) == len(said)
    )
    assert {path.index for path in layer.paths} == set(Colours(row.class_name for row in said).values())


def test_analyses_share_what_a_page_may_hold() -> None:
    said = [box(x, y, x + 10, y + 10) for x in range(0, 600, 20) for y in range(0, 400, 20)]  # 600
    columns, window = snapshot(said, FRAME), whole(FRAME, 1000, 750)
    tiers = [plan(columns, Filter(), window, FRAME, layers).tier for layers in (1, 3, 4, 33, 34)]
    assert tiers == ["elements", "elements", "paths", "paths", "tiles"]
    shared = plan(columns, Filter(), window, FRAME, 6)
    assert len(draw(columns, shared, [], window, FRAME).paths) <= shared.most_paths == 100


def test_an_annotation_is_a_few_elements_however_many_points_or_parts_it_has() -> None:
    many = {"keypoints": [{"x": float(x), "y": 1.0} for x in range(400)]}
    parts = {"format": "polygon", "polygons": [[x, 0, x + 1, 0, x + 1, 1] for x in range(0, 400, 2)]}
    points, segmentation = items([Said("keypoint", many), Said("segmentation", parts)], FRAME, Pen(), NAMED)
    assert points.dots.count("M") == 400 and segmentation.d.count("M") == 200


def test_what_only_touches_the_image_is_outside_and_what_is_small_is_seen() -> None:
    outside = [box(-9, 5, 0, 9), box(640, 5, 700, 9), box(5, -3, 9, 0), box(5, 480, 9, 500)]
    border = [
        box(0, 5, 0, 9),
        box(640, 480, 640, 480),
        Said("keypoint", {"keypoints": [{"x": 0.0, "y": 0.0}]}),
    ]
    counted, layer = planned([*outside, *border]), drawn([*outside, *border])
    assert (counted.drawn, counted.undrawn) == (3, {"outside the image": 4})
    assert [(item.width, item.height) for item in layer.items] == [(0.1, 4), (0.1, 0.1), (0.1, 0.1)]


@pytest.mark.parametrize("scale", [0.01, 0.3, 8, 128, 999])
def test_tiles_are_few_whatever_is_asked_for(scale: float) -> None:
    frame = Frame(4000, 3000)
    tiles = tiles_in(Window(0, 0, 4000, 3000, scale), frame)
    assert 1 <= len(tiles) <= 60
    assert sum(tile.rect.width * tile.rect.height for tile in tiles) == 4000 * 3000
    assert {tile.level in LEVELS for tile in tiles} == {True}
    assert all(tile.level in LEVELS for tile in tiles_in(Window(9.5, 9.5, 0.01, 0.01, scale), frame))
    assert tiles_in(Window(5000, 0, 10, 10, scale), frame) == ()


def test_far_above_it_there_are_tiles() -> None:
    said = [box(x, y, x + 4, y + 4) for x in range(0, 1000, 5) for y in range(0, 700, 5)]
    layer = drawn(said, Frame(1000, 700))
    assert (layer.items, layer.paths) == ((), ()) and layer.tiles
    near = Window(100, 100, 50, 50, 8.0)
    assert planned(said, Frame(1000, 700), near).tier == "elements"


def test_the_nearer_the_finer() -> None:
    assert (pen_for(1).per, pen_for(16).per) == (10, 100)
    (item,) = items([box(10.123, 10, 20, 20)], FRAME, pen_for(16), NAMED)
    assert item.x == 10.12
    assert pen_for(16).tolerance == 0.5 / 16


def test_grouped_holes_are_wound_the_other_way() -> None:
    ring, hole = [[0.0, 0.0], [90.0, 0.0], [90.0, 90.0]], [[20.0, 10.0], [60.0, 10.0], [60.0, 50.0]]
    for points in (ring, ring[::-1]):
        for inner in (hole, hole[::-1]):
            (path,) = class_paths(
                [Said("polygon", {"points": points, "holes": [inner]})], FRAME, Pen(), NAMED, 1
            )
            outer_turn, inner_turn = (_turn(part) for part in path.d.split("z")[:2])
            assert outer_turn > 0 > inner_turn


def _turn(d: str) -> float:
    _, _, x1, y1, x2, y2 = numbers(d)
    return x1 * y2 - x2 * y1


def test_grouped_keypoints_are_lines() -> None:
    (path,) = class_paths([Said("keypoint", TYPES["keypoint"].example)], FRAME, Pen(), NAMED, 1)
    assert path.kind == "line"
    assert path.d.count("h0") == 3


def test_colours_are_stable_and_no_class_has_its_own() -> None:
    assert len(PALETTE) == len(set(PALETTE)) == 10
    assert all(re.fullmatch(r"#[0-9a-f]{6}", colour) for colour in PALETTE)
    assert class_index(None) == 9
    # these never change: links and screenshots in people's mails show them
    assert [class_index(name) for name in ("cat", "dog", "person", "Zürich", "")] == [1, 7, 8, 0, 0]
    assert {class_index(str(i)) for i in range(200)} == set(range(9))


def test_classes_of_an_analysis_have_colours_of_their_own() -> None:
    """car, bus and leaf would all be yellow: one stays so, the others move to what is free."""
    assert {class_index(name) for name in ("bus", "car", "leaf")} == {3}
    found = Colours(["leaf", None, "car", "dog", "bus"])
    assert found == {"bus": 3, "car": 4, "leaf": 5, "dog": 7}
    assert (found[None], found["something later"]) == (UNNAMED, class_index("something later"))
    assert Colours(["bus", "car", "dog", "leaf", None, "car"]) == found, "the order is of no matter"
    for name in ("bus", "car", "leaf"):
        assert Colours([name, "dog"]) == {name: 3, "dog": 7}, "alone each has its own"


@given(st.lists(st.text(max_size=8), unique=True, max_size=40))
def test_colours_are_shared_only_when_there_are_too_few(names: list[str]) -> None:
    found = Colours(names)
    assert set(found) == set(names) and set(found.values()) <= set(range(UNNAMED))
    assert len(set(found.values())) == min(len(names), UNNAMED)
    for index in {class_index(name) for name in names}:
        owner = min(name for name in names if class_index(name) == index)
        assert found[owner] == index


# how people see without one kind of cones, in linear RGB: Machado, Oliveira and Fernandes (2009), severity 1
CONES = {
    "all": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1, 1.08883])


def _linear(colours: Iterable[str]) -> Any:
    parts = np.array([list(bytes.fromhex(colour[1:])) for colour in colours]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def _lab(linear: Any) -> Any:
    xyz = np.clip(linear, 0, 1) @ TO_XYZ.T / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)


@pytest.mark.parametrize("cones", CONES)
def test_the_palette_is_told_apart_by_the_colour_blind(cones: str) -> None:
    lab = _lab(_linear(PALETTE) @ CONES[cones].T)
    apart = np.sqrt(((lab[:, None] - lab[None]) ** 2).sum(axis=-1))
    assert apart[~np.eye(len(PALETTE), dtype=bool)].min() >= 17


def test_the_palette_is_read_on_the_plates_of_labels() -> None:
    luminance = _linear([*PALETTE, "#0b0d10"]) @ TO_XYZ[1]
    assert ((luminance[:-1] + 0.05) / (luminance[-1] + 0.05)).min() >= 5


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
    placed = labelled(said, frame)
    assert len(placed) <= 120
    assert not overlaps(placed)
    for label in placed:
        assert -0.1 <= label.x <= label.x + label.width <= frame.width + 0.2
        assert -0.1 <= label.y <= label.y + label.height <= frame.height + 0.2


def test_the_surest_are_labelled_first() -> None:
    said = [box(100, 100, 200, 200, confidence=i / 100) for i in range(50)]
    placed = labelled(said)
    assert placed[0].text == "cat 0.49"
    assert 1 <= len(placed) < 10


def test_masks_are_labelled_and_what_was_told_twice_once() -> None:
    runs = {"format": "rle", "counts": [640 * 100, 50, 480 * 640 - 64050], "size": [480, 640]}
    mask = Said("segmentation", runs, confidence=0.8)
    alone = labelled([mask])
    assert [(label.text, label.is_of_mask) for label in alone] == [("cat 0.80", True)]
    (shape,) = TYPES["segmentation"].shapes(runs, FRAME)
    bounds = shape_bounds(shape, FRAME)
    assert bounds
    border = box(bounds.x_min, bounds.y_min, bounds.x_max + 0.5, bounds.y_max, confidence=0.8)
    both = [mask, border, box(300, 300, 400, 400, confidence=0.8)]
    assert [(label.text, label.is_of_mask) for label in labelled(both)] == [("cat 0.80", False)] * 2
    columns, wanted, window = snapshot(both, FRAME), planned(both), whole(FRAME, 1000, 750)
    assert [one.is_of_mask for one in labels(columns, wanted, window, FRAME, boxes=False)] == [True]
    assert not labels(columns, wanted, window, FRAME, boxes=False, bitmaps=False)


def test_at_most_120_labels_of_at_most_40_characters() -> None:
    said = [
        box(x, y, x + 5, y + 5, class_name="x" * 200)
        for x in range(0, 20_000, 1000)
        for y in range(0, 20_000, 1000)
    ]
    placed = labelled(said, Frame(4000 * 5, 4000 * 5))
    assert len(placed) <= 120
    assert all(len(label.text) == 40 and label.text.endswith("…") for label in placed)


def test_pictures_of_their_own() -> None:
    heatmap = Said("heatmap", TYPES["heatmap"].example, storage_path="h.png")
    mask = Said("segmentation", {"format": "png"}, storage_path="m.png", class_name=None)
    rle = Said("segmentation", TYPES["segmentation"].example)
    first, second = bitmaps_of([heatmap, mask, rle, box(0, 0, 1, 1)], NAMED)
    assert (first.kind, first.storage_path, first.color_map, first.unit) == (
        "heatmap",
        "h.png",
        "viridis",
        "probability",
    )
    assert (second.kind, second.index, second.title) == ("mask", 9, "Segmentation 0.91")
    assert bitmaps_of([Said("custom", {}), Said("heatmap", TYPES["heatmap"].example)], NAMED) == ()


def test_shown_masks_are_the_run_lengths_only() -> None:
    said = [
        box(0, 0, 1, 1),
        Said("segmentation", TYPES["segmentation"].example, position=1),
        Said("segmentation", {"format": "png"}),
    ]
    ((raster, index),) = shown_masks(said, FRAME, Filter(), NAMED)
    assert (raster.width, raster.height) == (10, 9)
    assert index == class_index("cat") * len(SHADES) + 1
    assert shown_masks(said, FRAME, Filter(off=frozenset({"cat"})), NAMED) == []


def test_neighbours_of_one_class_have_shades_of_its_colour() -> None:
    assert len(set(MASK_PALETTE)) == len(MASK_PALETTE) == len(PALETTE) * 3
    said = [Said("segmentation", TYPES["segmentation"].example, position=place) for place in range(4)]
    colours = [MASK_PALETTE[index] for _, index in shown_masks(said, FRAME, Filter(), NAMED)]
    assert len(set(colours)) == 3 and colours[3] == colours[0] == PALETTE[class_index("cat")]
