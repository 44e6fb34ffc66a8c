"""The filter `repeated`, and boxes made all at once: exactly what one by one gives."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import numpy as np
import pytest
from flask import Flask, render_template_string
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape

from app.annotations import TYPES
from app.geometry import Frame
from app.overlay import boxes_apart, draw, plan, rows_needed
from app.overlay.filters import Filter
from app.overlay.paths import Pen
from app.overlay.shapes import boxes_of, items_at
from app.overlay.window import whole
from app.web.repeated import BETWEEN, repeated
from tests.support.columns import snapshot


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


class Said(NamedTuple):
    id: UUID
    class_name: str | None
    confidence: float | None
    data: dict[str, Any]
    position: int = 0
    annotation_type: str = "bounding_box"


FRAME = Frame(640, 480)
sides = (  # as pipelines send them: up to three places
    st.floats(-700, 1400).map(lambda side: round(side, 3))
    | st.integers(-700, 1400)
    | st.sampled_from([0, 0.05, 0.25, 639.95, 640, 480, -0.0])
)
sure = st.none() | st.integers(0, 10_000).map(lambda parts: parts / 10_000)
OTHERS = [Said(uuid4(), "leaf", None, TYPES[kind].example, 0, kind) for kind in ("polygon", "keypoint")]


@st.composite
def boxes(draw: Any) -> Said:
    """In order, as they are stored; also without a width, on an edge, and outside."""
    x, y = sorted((draw(sides), draw(sides))), sorted((draw(sides), draw(sides)))
    corners = {"x_min": x[0], "y_min": y[0], "x_max": x[1], "y_max": y[1]}
    return Said(uuid4(), draw(st.sampled_from([None, "leaf", "moss"])), draw(sure), corners)


def placed(found: list[Said]) -> list[Said]:
    return [said._replace(position=position) for position, said in enumerate(found)]


@given(st.lists(boxes(), max_size=8), st.sampled_from([10, 100]))
def test_boxes_at_once_are_those_made_one_by_one(found: list[Any], per: int) -> None:
    pen, columns = Pen(per), snapshot(found, FRAME)
    inside = np.flatnonzero(columns.inside(FRAME))
    ids = columns.ids_of(inside)
    assert ids == [str(found[one].id) for one in inside]
    single = [item for _, item in items_at([found[one] for one in inside], FRAME, pen, columns.colours)]
    at_once = boxes_of(columns, inside, ids, FRAME, pen)
    assert repr(list(at_once.items)) == repr(single)  # a whole number stays one
    pattern, fields = Markup("%s %s %s %s %s %s %s;"), "annotation_id index title x y width height"
    assert repeated(pattern, at_once, fields).__html__() == repeated(pattern, single, fields).__html__()


@given(st.lists(boxes() | st.sampled_from(OTHERS), max_size=12).map(placed))
def test_a_drawing_has_all_there_is_in_its_order(found: list[Any]) -> None:
    columns, window = snapshot(found, FRAME), whole(FRAME, 1000, 750)
    wanted = plan(columns, Filter(), window, FRAME)
    boxes = boxes_apart(columns, wanted)
    rows = [found[one] for one in rows_needed(columns, wanted)]
    drawn = draw(columns, wanted, rows, window, FRAME, (boxes, columns.ids_of(boxes) or ()))
    single = items_at([found[one] for one in wanted.vector], FRAME, Pen(), columns.colours)
    assert repr(drawn.items) == repr(tuple(item for _, item in single))
    nameless = draw(columns, wanted, rows, window, FRAME)
    assert [one.title for one in nameless.items] == [one.title for one in drawn.items]
