"""The filter `repeated`, and boxes made all at once: exactly what one by one gives."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from flask import Flask, render_template_string
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from app.annotations import TYPES
from app.geometry import Frame
from app.overlay.colours import Colours
from app.overlay.parts import items_of
from app.overlay.paths import Pen
from app.overlay.shapes import _boxes, _drawing, _item, runs
from app.web.repeated import BETWEEN, repeated


class Row(NamedTuple):
    name: str
    count: float


texts = st.text() | st.sampled_from(["<b>", '"', "'", "&amp;", "%s", "%", "{{ x }}", BETWEEN, ""])
rows = st.lists(st.builds(Row, texts, st.integers() | st.floats()), max_size=6)


@given(rows)
def test_it_writes_what_a_loop_writes(found: Sequence[Row]) -> None:
    pattern = Markup('<p title="%s">%s %s</p>')
    one_by_one = "".join(f'<p title="{escape(n)}">{escape(c)} {escape(n)}</p>' for n, c in found)
    assert repeated(pattern, found, "name count name").__html__() == one_by_one


def test_only_markup_of_a_template_is_repeated(app: Flask) -> None:
    with pytest.raises(TypeError):
        repeated("<p>%s</p>", [Row("a", 1)], "name")  # type: ignore[arg-type]
    with app.test_request_context():
        text = "{% set one %}<p>%s</p>{% endset %}{{ one|repeated(rows, 'name') }}"
        assert render_template_string(text, rows=[Row("<i>", 1)] * 2) == "<p>&lt;i&gt;</p>" * 2


def test_what_is_made_of_a_value_stays_markup_and_text_becomes_none() -> None:
    made: Any = {"a": Markup("<i>a</i>"), "b": "<b>"}
    found = repeated(Markup("<p>%s %s</p>"), [Row("a", 1), Row("b", 2)], "name count", name=made)
    assert found.__html__() == "<p><i>a</i> 1</p><p>&lt;b&gt; 2</p>"


class Box(NamedTuple):
    id: UUID
    class_name: str | None
    confidence: float | None
    data: dict[str, Any]
    x_min: float
    y_min: float
    x_max: float
    y_max: float
    annotation_type: str = "bounding_box"


FRAME = Frame(640, 480)
sides = (
    st.floats(-700, 1400) | st.integers(-700, 1400) | st.sampled_from([0, 0.05, 0.25, 639.95, 640, 480, -0.0])
)


OTHERS = [
    Box(uuid4(), "leaf", None, TYPES[kind].example, 0, 0, 0, 0, kind) for kind in ("polygon", "keypoint")
]


@st.composite
def boxes(draw: Any) -> Box:
    """In order, as they are stored; also without a width, on an edge, and outside."""
    x, y = sorted((draw(sides), draw(sides))), sorted((draw(sides), draw(sides)))
    corners = {"x_min": x[0], "y_min": y[0], "x_max": x[1], "y_max": y[1]}
    name, sure = draw(st.sampled_from([None, "leaf", "moss"])), draw(st.none() | st.floats(0, 1))
    return Box(uuid4(), name, sure, corners, **corners)


@given(st.lists(boxes(), max_size=8), st.sampled_from([10, 100]))
def test_boxes_at_once_are_those_made_one_by_one(found: list[Any], per: int) -> None:
    pen, colours = Pen(per), Colours(["leaf", "moss", None])
    single = [_item(_drawing(row, FRAME, colours), pen) for row in found]
    at_once, are_there = _boxes(found, FRAME, pen, colours)
    assert are_there == [item is not None for item in single]
    whole = [item for item in single if item is not None]
    assert repr(list(at_once.items)) == repr(whole)  # a whole number stays one
    pattern, fields = Markup("%s %s %s %s %s %s %s;"), "annotation_id index title x y width height"
    assert repeated(pattern, at_once, fields).__html__() == repeated(pattern, whole, fields).__html__()


@given(st.lists(boxes() | st.sampled_from(OTHERS), max_size=12))
def test_runs_have_all_there_is_in_its_order(found: list[Any]) -> None:
    pen, colours = Pen(), Colours(["leaf", "moss", None])
    single = [item for row in found if (item := _item(_drawing(row, FRAME, colours), pen))]
    assert repr(items_of(runs(found, FRAME, pen, colours))) == repr(tuple(single))
