"""Questions to all annotations of an analysis at once, against the same asked of each by itself."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.geometry import Frame
from app.overlay.colours import class_index
from app.overlay.filters import Filter
from app.overlay.plan import plan
from app.overlay.snapshot import Snapshot
from app.overlay.tiles import SIDE, paint
from app.overlay.window import Tile, Window, tile_at, tiles_over, whole
from tests.support.columns import snapshot

FRAME = Frame(640, 480)
NAMES = st.sampled_from([None, "", "car", "Bus", "truck"])


@dataclass
class Said:
    data: dict[str, Any]
    class_name: str | None = None
    confidence: float | None = None
    annotation_type: str = field(default="bounding_box")


@st.composite
def boxes(draw: st.DrawFn) -> Said:
    x, y = draw(st.floats(-100, 700)), draw(st.floats(-100, 500))
    width, height = draw(st.floats(0.5, 300)), draw(st.floats(0.5, 300))
    confidence = draw(st.none() | st.sampled_from([0.0, 0.1, 0.5, 0.9999]))
    sides = {"x_min": x, "y_min": y, "x_max": x + width, "y_max": y + height}
    return Said(sides, draw(NAMES), confidence)


FILTERS = st.builds(
    Filter,
    st.frozensets(st.sampled_from(["", "car", "Bus"])),
    st.none() | st.sampled_from(["", "car"]),
    st.sampled_from(["", "U", "zzz"]),
    st.sampled_from([0.0, 0.1, 0.5]),
)
WINDOWS = st.builds(
    Window, st.floats(-50, 600), st.floats(-50, 400), st.floats(1, 900), st.floats(1, 900), st.just(1.0)
)


@settings(max_examples=80, deadline=None)
@given(st.lists(boxes(), max_size=30), FILTERS, WINDOWS)
def test_received_are_the_drawn_the_hidden_and_the_undrawn(
    said: list[Said], chosen: Filter, window: Window
) -> None:
    columns = snapshot(said, FRAME)
    wanted = plan(columns, chosen, window, FRAME)
    assert wanted.received == wanted.drawn + sum(wanted.hidden.values()) + sum(wanted.undrawn.values())
    passing = [chosen.why_hidden(one.class_name, one.confidence) is None for one in said]
    assert wanted.shown.tolist() == passing


@settings(max_examples=40, deadline=None)
@given(st.lists(boxes(), max_size=20), st.integers(-2, 2), st.integers(0, 1), st.integers(0, 1))
def test_a_tile_is_what_a_loop_over_the_boxes_would_paint(
    said: list[Said], level: int, column: int, row: int
) -> None:
    columns, tile = snapshot(said, FRAME), tile_at(FRAME, level, column, row, SIDE)
    if tile.rect.width <= 0 or tile.rect.height <= 0:
        return
    painted = paint(columns, np.ones(len(said), dtype=np.bool_), tile)
    assert np.array_equal(painted, looped(columns, tile))


def looped(columns: Snapshot, tile: Tile) -> Any:
    scale = 2.0**-tile.level
    height = int(np.ceil((tile.rect.y_max - tile.rect.y_min) * scale))
    width = int(np.ceil((tile.rect.x_max - tile.rect.x_min) * scale))
    counts = np.zeros((10, height, width), dtype=int)
    for i in range(len(columns)):
        colour = class_index(columns.names[columns.classes[i]])
        x0, x1 = (
            int(np.floor((side[i] - tile.rect.x_min) * scale)) for side in (columns.x_min, columns.x_max)
        )
        y0, y1 = (
            int(np.floor((side[i] - tile.rect.y_min) * scale)) for side in (columns.y_min, columns.y_max)
        )
        for y in (y0, y1):
            if 0 <= y < height:
                counts[colour, y, max(x0, 0) : max(x1 + 1, 0)] += 1
        for x in (x0, x1):
            if 0 <= x < width:
                counts[colour, max(y0, 0) : max(y1 + 1, 0), x] += 1
    return np.where(counts.max(axis=0) > 0, counts.argmax(axis=0) + 1, 0)


def test_the_order_puts_what_is_not_known_last() -> None:
    sides = {"x_min": 0, "y_min": 0, "x_max": 2, "y_max": 2}
    said = [
        Said({**sides, "x_max": 1 + i}, name, confidence)
        for i, (name, confidence) in enumerate([("b", 0.5), (None, None), ("a", 0.9), ("B", None)])
    ]
    columns, everything = snapshot(said, FRAME), np.arange(4)
    assert columns.ordered(everything, "-confidence").tolist() == [2, 0, 1, 3]
    assert columns.ordered(everything, "confidence").tolist() == [0, 2, 1, 3]
    assert columns.ordered(everything, "class").tolist() == [3, 2, 0, 1]
    assert columns.ordered(everything, "-area").tolist() == [3, 2, 1, 0]
    assert columns.ordered(everything, "-order").tolist() == [3, 2, 1, 0]


def test_the_smallest_at_a_point_comes_first() -> None:
    said = [Said({"x_min": 0, "y_min": 0, "x_max": size, "y_max": size}) for size in (100, 20, 50, 5)]
    columns = snapshot(said, FRAME)
    everything = np.ones(4, dtype=np.bool_)
    assert columns.at(10, 10, 0, everything, 10).tolist() == [1, 2, 0]
    assert columns.at(22, 10, 3, everything, 10).tolist() == [1, 2, 0]
    assert columns.at(10, 10, 0, everything, 2).tolist() == [1, 2]


def test_the_surest_and_of_equally_sure_ones_the_largest_are_the_most_important() -> None:
    said = [
        Said({"x_min": 0, "y_min": 0, "x_max": side, "y_max": side}, confidence=confidence)
        for side, confidence in ((10, 0.5), (30, 0.5), (20, None), (5, 0.9), (40, None), (20, 0.5))
    ]
    columns, everything = snapshot(said, FRAME), np.arange(6)
    order = [3, 1, 5, 0, 4, 2]
    for most in range(1, 7):
        chosen = columns.by_importance(everything, most).tolist()
        assert chosen[:1] == order[:1] and len(chosen) == most
        # which of several that are equally sure are left out, is not said
        assert [columns.confidence[one] for one in chosen] == [
            columns.confidence[one] for one in order[:most]
        ]
    assert columns.by_importance(everything, 6).tolist() == order
    alike = snapshot([Said(one.data) for one in said], FRAME)
    assert alike.by_importance(everything, 3).tolist() == [4, 1, 2]


def test_tiles_cover_what_they_are_asked_for_once() -> None:
    window = whole(FRAME, 1000, 750)
    assert window.level == -1 and window.coarse_level == 0
    tiles = list(tiles_over(window.rect, FRAME, 0, 256))
    assert sum(tile.rect.width * tile.rect.height for tile in tiles) == FRAME.width * FRAME.height
    assert len({(tile.column, tile.row) for tile in tiles}) == len(tiles) == 6
