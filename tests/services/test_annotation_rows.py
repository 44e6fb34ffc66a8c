"""Annotations as the driver has them become, to the byte, what a row of the ORM becomes in the plainest way."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from flask import Flask
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from app.annotations import TYPES
from app.errors import InvalidPayload
from app.exports import PAGE
from app.extensions import db
from app.models import Analysis, Annotation, Image
from app.models.columns import new_id
from app.services import annotations
from tests.cast import Person
from tests.factories import World
from tests.importers.anything import annotation
from tests.importers.reading import load
from tests.support.plans import check_walks, plan_of

MOMENTS = [
    datetime(2026, 3, 4, 5, 6, 7, 80_000, UTC),
    datetime(2026, 3, 4, tzinfo=UTC),
    datetime(999, 1, 1, 1, microsecond=1, tzinfo=UTC),
]
# what a database may spell otherwise than it was sent, and what may end a text too early
NUMBERS = {
    "numbers": [1e22, 1e300, 5e-324, 1e-7, 0.1 + 0.2, -0.0, 1.0, 100, 2**63 - 1, -(2**63), 123456.7890125]
}
HOSTILE = {
    "annotation_type": "custom",
    "class_name": '=a"\\,\t\r\n\x01\x7f\u2028葉\U0001f343',
    "confidence": 0.3,
    "data": {"a, b": '": ", {}[]\\"', "\\": ["\\n", "\x1f", "é葉\U0001f343"], "0": {}, "": NUMBERS},
    "client_id": "-1",
}
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def plain(row: Annotation) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "analysis_id": str(row.analysis_id),
        "annotation_type": row.annotation_type,
        "class_name": row.class_name,
        # of SQLite's rows 0 and 1 come as whole numbers; on the wire they are what they are on PostgreSQL
        "confidence": None if row.confidence is None else float(row.confidence),
        "data": row.data,
        "storage_path": row.storage_path,
        "ordering": row.ordering,
        "created_at": row.created_at.isoformat(),
        "client_id": row.client_id,
    }


def put(analysis: Analysis, values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Straight into the table, with gaps between them; as they are to be answered."""
    more = {"analysis_id": analysis.id, "content_hash": "0" * 64}
    columns = {"class_name": None, "confidence": None, "storage_path": None, "ordering": None}
    columns |= dict.fromkeys(("x_min", "y_min", "x_max", "y_max"))
    rows = [
        {"client_id": f"c{n}", **columns, **one, **more, "id": new_id(), "position": 3 * n}
        | {"created_at": MOMENTS[n % len(MOMENTS)] + timedelta(seconds=n // 5)}
        for n, one in enumerate(values)
    ]
    if rows:
        db.session.execute(db.insert(Annotation), rows)
    db.session.get_one(Analysis, analysis.id).annotation_count = len(rows)
    db.session.commit()
    found = db.session.scalars(
        db.select(Annotation).where(Annotation.analysis_id == analysis.id).order_by(Annotation.position)
    )
    return [plain(row) for row in found]


def check(app: Flask, viewer: Person, analysis: Analysis, values: list[dict[str, Any]]) -> None:
    with app.app_context():
        wanted = put(analysis, values)
    text, path = orjson.dumps(wanted), f"/api/analyses/{analysis.id}"
    shown = viewer.api("GET", path).data
    assert shown.endswith(b',"annotations":' + text + b"}")
    page = viewer.api("GET", f"{path}/annotations").data
    assert page == b'{"annotations":' + text + b',"total":%d,"next_cursor":null}' % len(wanted)
    exported = viewer.api("GET", f"{path}/export?format=json", buffered=True).data
    assert exported.endswith(b',"annotations":' + text + b"}\n")
    lines = viewer.api("GET", f"{path}/export?format=ndjson", buffered=True).data.splitlines()
    assert lines[1:-1] == [orjson.dumps({"kind": "annotation", **one}) for one in wanted]


@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
@given(made=st.lists(annotation(), max_size=6))
@example(made=[])
def test_every_type_is_answered_and_exported_as_it_is(
    made: list[dict[str, Any]], app: Flask, world: World, image: Image, viewer: Person
) -> None:
    try:
        items = load({"annotations": made}, "json", skips=True).items if made else ()
    except InvalidPayload:  # not one of them is valid
        assume(False)
    named = [dict(item.values) | {"client_id": item.client_id} for item in items]
    check(app, viewer, world.analysis(image), named)


def test_hostile_texts_and_numbers(app: Flask, world: World, image: Image, viewer: Person) -> None:
    examples = [{"annotation_type": name, "data": one.example} for name, one in TYPES.items()]
    check(app, viewer, world.analysis(image), [HOSTILE, *examples, HOSTILE | {"client_id": "-2"}])


def test_parts_and_pages_make_a_whole(app: Flask, world: World, image: Image, viewer: Person) -> None:
    """More than are read at once."""
    number = max(PAGE, annotations.PART) + 5
    one = {"annotation_type": "bounding_box", "data": {"x_min": 1, "y_min": 2.5, "x_max": 3, "y_max": 1e-7}}
    analysis = world.analysis(image)
    with app.app_context():
        wanted = put(analysis, [one] * number)
    path = f"/api/analyses/{analysis.id}"
    assert viewer.api("GET", path).json["annotations"] == json.loads(json.dumps(wanted))
    exported = viewer.api("GET", f"{path}/export?format=json", buffered=True)
    assert exported.json["annotations"] == wanted


@pytest.mark.parametrize("after", [None, [30, 30]])
def test_a_page_goes_along_the_index(app: Flask, world: World, image: Image, after: Any) -> None:
    """And all of an analysis, in a table that nobody has counted since it came; neither sorts."""
    analysis = world.analysis(image)
    with app.app_context():
        put(analysis, [HOSTILE | {"client_id": f"c{n}"} for n in range(2000)])

    def read() -> Any:
        return annotations.page(analysis, annotations.Wanted(), skip=0, limit=100, after=after)

    for reading in (read, lambda: next(annotations.of_analysis(analysis))):
        check_walks(plan_of(app, reading), "ml_annotations", "idx_ml_annotations_analysis_id")


def test_all_of_them_are_not_counted(app: Flask, world: World, image: Image) -> None:
    """The analysis knows how many it has; where they are narrowed, another statement counts."""
    analysis = world.analysis(image)
    asked: list[str] = []
    with app.app_context():
        put(analysis, [HOSTILE])
        analysis = db.session.get_one(Analysis, analysis.id)
        event.listen(db.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
        for type_, total in ((None, 1), ("custom", 1), ("polygon", 0)):
            assert annotations.page(analysis, annotations.Wanted(type=type_), skip=0, limit=5)[1] == total
    assert sum("count(" in statement for statement in asked) == 2
