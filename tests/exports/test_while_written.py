"""An analysis that is written to while it is exported: the file has what stood there when the export began."""

import csv
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.exports import PAGE
from app.extensions import db
from app.models import Analysis, Image, Project
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.steps import box, finalize, store

NUMBER = 2 * PAGE + 5
ROUNDS = 12


def read_json(text: bytes) -> tuple[int, list[dict[str, Any]]]:
    whole = json.loads(text)
    return whole["annotation_count"], whole["annotations"]


def read_ndjson(text: bytes) -> tuple[int, list[dict[str, Any]]]:
    head, *lines, end = map(json.loads, text.splitlines())
    assert end["annotation_count"] == len(lines)
    return head["annotation_count"], lines


def read_csv(text: bytes) -> tuple[int, list[dict[str, Any]]]:
    rows: list[Any] = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    return len(rows), rows


READERS: dict[str, Callable[[bytes], tuple[int, list[dict[str, Any]]]]] = {
    "json": read_json,
    "ndjson": read_ndjson,
    "csv": read_csv,
}


def export(person: Person, path: str) -> Any:
    return person.api("GET", path)


def bulk(pipeline: Pipeline, analysis: Analysis, mode: str, items: list[dict[str, Any]]) -> None:
    answer = pipeline.post(
        f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": items, "mode": mode}
    )
    assert answer.status_code == 200, answer.text


CHANGES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "append": lambda: [box(client_id=f"new{n}") for n in range(50)],
    "upsert": lambda: [box(client_id=f"c{n}", class_name="other") for n in range(NUMBER - 50, NUMBER)],
    # the last ones become the first, and most are gone
    "replace": lambda: [box(client_id=f"c{n}") for n in range(NUMBER - 1, NUMBER - 50, -1)],
}


@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize("mode", CHANGES)
def test_what_is_changed_after_the_first_bytes(
    analysis: Analysis, viewer: Person, pipeline: Pipeline, form: str, mode: str
) -> None:
    store(pipeline, analysis, [box(client_id=f"c{n}", class_name="leaf") for n in range(NUMBER)])
    answer = export(viewer, f"/api/analyses/{analysis.id}/export?format={form}")
    pieces = iter(answer.iter_encoded())
    begun = next(pieces)
    bulk(pipeline, analysis, mode, CHANGES[mode]())
    finalize(pipeline, analysis)
    count, rows = READERS[form](begun + b"".join(pieces))
    assert count == len(rows) == NUMBER
    assert [row["client_id"] for row in rows] == [f"c{n}" for n in range(NUMBER)]
    assert {row["class_name"] for row in rows} == {"leaf"}


def test_of_many_each_is_as_it_was_at_one_moment(
    world: World, project: Project, image: Image, viewer: Person, pipeline: Pipeline
) -> None:
    made = [world.analysis(image, "processing") for _ in range(2)]
    for one in made:
        store(pipeline, one, [box(client_id=f"c{n}", class_name="leaf") for n in range(PAGE + 5)])
    answer = export(viewer, f"/api/projects/{project.id}/export")
    pieces = iter(answer.iter_encoded())
    begun = next(pieces)
    for one in made:
        bulk(pipeline, one, "replace", [box(client_id="c1", class_name="other")])
    first, second = json.loads(begun + b"".join(pieces))["analyses"]
    assert first["annotation_count"] == len(first["annotations"]) == PAGE + 5
    for one in (first, second):
        assert one["annotation_count"] == len(one["annotations"])
        assert len({said["class_name"] for said in one["annotations"]}) == 1


def test_with_a_writer_at_work(
    app: Flask, database: Any, world: World, image: Image, viewer: Person, pipeline: Pipeline
) -> None:
    """It replaces everything, again and again, by another number of another class: no file mixes two of these."""
    analysis = world.analysis(image, "processing")
    store(pipeline, analysis, [box(client_id=f"c{n}", class_name="0") for n in range(300)])
    over, broken = threading.Event(), list[BaseException]()

    def write() -> None:
        number = 0
        try:
            while not over.is_set():
                number += 1
                names = [f"c{n}" for n in range(300 + number % 7)]
                bulk(
                    pipeline,
                    analysis,
                    "replace",
                    [box(client_id=name, class_name=str(number)) for name in names],
                )
        except BaseException as error:
            broken.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    try:
        for _ in range(500):
            whole = export(viewer, f"/api/analyses/{analysis.id}/export").json
            [name] = {said["class_name"] for said in whole["annotations"]}
            assert whole["annotation_count"] == len(whole["annotations"]) == 300 + int(name) % 7
            seen.add(name)
            if len(seen) >= ROUNDS or broken:
                break
    finally:
        over.set()
        writer.join(60)
    assert not broken
    assert len(seen) > 1, "the writer wrote nothing meanwhile"


def test_no_transaction_is_open_while_it_is_prepared(
    app: Flask, project: Project, analysis: Analysis, viewer: Person
) -> None:
    """That of the request is over before the storage is asked and before anything is counted."""
    seen: dict[str, list[bool]] = {"storage": [], "database": []}
    real = app.extensions["storage"]

    class Asked:
        def check(self) -> None:
            seen["storage"].append(db.session.registry().in_transaction())
            real.check()

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "count(" in statement:
            seen["database"].append(db.session.registry().in_transaction())

    with app.app_context():
        engine = db.engine
    app.extensions["storage"] = Asked()
    event.listen(engine, "before_cursor_execute", count)
    try:
        assert export(viewer, f"/api/projects/{project.id}/export?format=coco").status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", count)
        app.extensions["storage"] = real
    assert seen == {"storage": [False], "database": [False, False]}
