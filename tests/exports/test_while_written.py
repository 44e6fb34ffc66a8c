"""An analysis that is written to while it is exported: the file has what stood there when the export began."""

import csv
import io
import itertools
import json
import re
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app import exports
from app.annotations import TYPES
from app.exports import FORMATS, PAGE
from app.exports.formats import ZIP
from app.exports.many import entries
from app.extensions import db
from app.models import Analysis, Annotation, Image, Project
from app.models.columns import new_id
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.steps import BOX, box, finalize, store

NUMBER = 2 * PAGE + 5
ROUNDS = 12


Found = tuple[int, list[str | None], list[str]]  # how many it says there are, their client ids, their classes


def of_items(count: int, items: list[dict[str, Any]]) -> Found:
    return count, [item["client_id"] for item in items], [item["class_name"] for item in items]


def read_json(text: bytes) -> Found:
    whole = json.loads(text)
    whole = whole if "annotations" in whole else whole["analyses"][0]
    return of_items(whole["annotation_count"], whole["annotations"])


def read_ndjson(text: bytes) -> Found:
    *head, analysis, end = (
        line for line in map(json.loads, text.splitlines()) if line["kind"] != "annotation"
    )
    assert analysis["annotation_count"] == end["annotation_count"] and len(head) <= 1
    lines = [line for line in map(json.loads, text.splitlines()) if line["kind"] == "annotation"]
    return of_items(end["annotation_count"], lines)


def read_csv(text: bytes) -> Found:
    rows: list[Any] = list(csv.DictReader(io.StringIO(text.decode(), newline="")))
    return of_items(len(rows), rows)


def read_coco(text: bytes) -> Found:
    whole = json.loads(text)
    names = {one["id"]: one["name"] for one in whole["categories"]}
    items = [one | {"class_name": names[one["category_id"]]} for one in whole["annotations"]]
    return of_items(whole["analyses"][0]["annotation_count"], items)


def read_yolo(text: bytes) -> Found:
    """Its lines name nothing but a class."""
    with zipfile.ZipFile(io.BytesIO(text)) as archive:
        [labels] = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".txt"))
        [names] = (archive.read(name).decode() for name in archive.namelist() if name.endswith(".yaml"))
    known = dict(re.findall(r'^  (\d+): "(.*)"$', names, re.MULTILINE))
    classes = [known[line.split()[0]] for line in labels.splitlines()]
    return len(classes), [None] * len(classes), classes


READERS: dict[str, Callable[[bytes], Found]] = {
    "json": read_json,
    "ndjson": read_ndjson,
    "csv": read_csv,
    "coco": read_coco,
    "yolo": read_yolo,
}
SCOPES = ("analysis", "project")


def address(scope: str, analysis: Analysis, project: Project, form: str) -> str:
    whose = f"analyses/{analysis.id}" if scope == "analysis" else f"projects/{project.id}"
    return f"/api/{whose}/export?format={form}"


def export(person: Person, path: str) -> Any:
    return person.api("GET", path)


def fill(analysis: Analysis, item: dict[str, Any]) -> None:
    """Straight into the table."""
    rows = [
        {
            "id": new_id(),
            "analysis_id": analysis.id,
            "position": n,
            "client_id": f"c{n}",
            "content_hash": "0" * 64,
            **item,
        }
        for n in range(NUMBER)
    ]
    db.session.execute(db.insert(Annotation), rows)
    db.session.commit()


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


@pytest.mark.soak
@pytest.mark.parametrize("form", READERS)
@pytest.mark.parametrize(
    ("scope", "mode"), [*(("analysis", mode) for mode in CHANGES), ("project", "replace")]
)
def test_what_is_changed_after_the_first_bytes(
    monkeypatch: pytest.MonkeyPatch,
    project: Project,
    analysis: Analysis,
    viewer: Person,
    pipeline: Pipeline,
    form: str,
    scope: str,
    mode: str,
) -> None:
    """These are how the file begins, and then the first of what was set aside."""
    monkeypatch.setattr(exports, "WAIT", 600.0)
    items = [box(client_id=f"c{n}", class_name="leaf") for n in range(NUMBER)]
    store(pipeline, analysis, items)
    pieces = iter(export(viewer, address(scope, analysis, project, form)).iter_encoded())
    begun = b"".join(itertools.islice(pieces, 2))
    bulk(pipeline, analysis, mode, CHANGES[mode]())
    finalize(pipeline, analysis)
    count, ids, classes = READERS[form](begun + b"".join(pieces))
    assert count == len(ids) == NUMBER
    assert form == "yolo" or ids == [f"c{n}" for n in range(NUMBER)]
    assert set(classes) == {"leaf"}


@pytest.mark.soak
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("state", ["completed", "processing"])
def test_no_connection_is_held_between_two_pieces(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    project: Project,
    image: Image,
    viewer: Person,
    form: str,
    scope: str,
    state: str,
) -> None:
    """Neither while a client reads, nor when it goes away after the first piece, in the middle or at the end."""
    monkeypatch.setattr(exports, "WAIT", 0.0)
    analysis = world.analysis(image, state, annotation_count=NUMBER, next_position=NUMBER)
    with app.app_context():
        fill(analysis, {"annotation_type": "bounding_box", "data": BOX, **BOX})
        pool: Any = db.engine.pool
    for read in (1, 4, None):
        answer = export(viewer, address(scope, analysis, project, form))
        for _ in itertools.islice(answer.iter_encoded(), read):
            assert pool.checkedout() == 0
        answer.close()
        assert pool.checkedout() == 0


def test_of_many_each_is_as_it_was_at_one_moment(
    world: World, project: Project, image: Image, viewer: Person, pipeline: Pipeline
) -> None:
    made = [world.analysis(image, "processing") for _ in range(2)]
    for one in made:
        store(pipeline, one, [box(client_id=f"c{n}", class_name="leaf") for n in range(PAGE + 5)])
    answer = export(viewer, f"/api/projects/{project.id}/export")
    pieces = iter(answer.iter_encoded())
    begun = next(pieces) + next(pieces)  # how it begins, and of the first analysis
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
    app: Flask, project: Project, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    """That of the request is over before the storage is asked and before anything is counted."""
    store(pipeline, analysis, [box()])
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


@pytest.mark.parametrize("form", [name for name, format in FORMATS.items() if format.drops])
@pytest.mark.parametrize("alone", [True, False])
def test_no_silence_though_nothing_is_kept(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    project: Project,
    image: Image,
    form: str,
    alone: bool,
) -> None:
    """Nothing is written of a classification. The first byte leaves before one is read, and more after each page: what
    stands between server and client takes a long silence for a broken connection."""
    monkeypatch.setattr(exports, "WAIT", 0.0)
    pages, analysis = [], world.analysis(image, "completed", annotation_count=NUMBER)
    with app.app_context():
        fill(analysis, {"annotation_type": "classification", "data": TYPES["classification"].example})
        files = app.extensions["storage"]
        if alone:
            found = exports.of_analysis(db.session.get_one(Analysis, analysis.id), form, files)
        else:
            selection = exports.Selection(project_id=project.id)
            found = exports.of_selection(selection, "P", form, files, datetime.now(UTC))

        def page(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            pages.append("FROM ml_annotations" in statement and "LIMIT" in statement)

        event.listen(db.engine, "before_cursor_execute", page)
        try:
            said = [(sum(pages), chunk) for chunk in found.chunks]
        finally:
            event.remove(db.engine, "before_cursor_execute", page)
    assert all(chunk for _, chunk in said)
    assert {read for read, _ in said} == {0, 1, 2, 3}
    content = b"".join(chunk for _, chunk in said)
    if FORMATS[form].content_type == ZIP:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            content = archive.read("manifest.json")
    assert form == "coco-results" or f'"count":{NUMBER}' in content.decode().replace(" ", "")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("form", FORMATS)
def test_how_it_begins_is_sent_before_it_is_set_aside(
    app: Flask,
    project: Project,
    image: Image,
    world: World,
    viewer: Person,
    count_queries: Any,
    form: str,
    scope: str,
) -> None:
    """Of one that runs all is set aside as it is at one moment, which takes the longer the more there is."""
    analysis = world.analysis(image, "processing", annotation_count=NUMBER, next_position=NUMBER)
    with app.app_context():
        fill(analysis, {"annotation_type": "bounding_box", "data": BOX, **BOX})
    with count_queries() as statements:
        pieces = iter(export(viewer, address(scope, analysis, project, form)).iter_encoded())
        begun = next(pieces)
        assert begun and not any("annotations.data" in one for one in statements)
        rest = b"".join(pieces)
        assert any("annotations.data" in one for one in statements)
    assert form not in READERS or READERS[form](begun + rest)[0] == NUMBER


@pytest.mark.parametrize("state", ["completed", "processing"])
@pytest.mark.parametrize("annotations", [True, False])
def test_what_is_deleted_while_others_are_written_stays_out(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    project: Project,
    image: Image,
    state: str,
    annotations: bool,
) -> None:
    """They are read fifty at a time; whether each still lives is asked when it is its turn."""
    monkeypatch.setattr("app.exports.many.FRESH", 0.0, raising=False)
    other = world.image(project)
    first, second, third = (world.analysis(one, state) for one in (image, image, other))
    last = world.analysis(image, state)
    with app.app_context():
        selection = exports.Selection(project_id=project.id, annotations=annotations)
        found = entries(selection, datetime.now(UTC), None)
        assert next(found).row.id == first.id
        for table, gone in ((Analysis, second), (Image, other)):
            change = db.update(table).where(table.id == gone.id)
            db.session.execute(change.values(deleted_at=datetime.now(UTC)))
        db.session.commit()
        assert [entry.row.id for entry in found] == [last.id] and third.image_id == other.id
