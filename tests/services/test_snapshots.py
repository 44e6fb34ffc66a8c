"""Snapshots: every column as the rows have it, on both databases; made once for a revision."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from flask import Flask
from sqlalchemy import event

from app import storage
from app.dialect import columns
from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, Annotation, Image
from app.overlay.snapshot import COLUMNS, KINDS, NOWHERE, OVERHEAD, UNSURE, WITH_IDS
from app.services import annotations, snapshots
from tests.factories import World
from tests.fakes import BrokenStorage
from tests.support import database as databases
from tests.support.hostile import STRINGS

EVERY_TYPE = [
    {"annotation_type": "bounding_box", "data": {"x_min": 1.25, "y_min": 2, "x_max": 3, "y_max": 4}},
    {"annotation_type": "polygon", "data": {"points": [[1, 1], [9, 1], [9, 9]]}},
    {"annotation_type": "keypoint", "data": {"keypoints": [{"x": 5, "y": 6}]}},
    {"annotation_type": "segmentation", "data": {"format": "polygon", "polygons": [[1, 1, 9, 1, 9, 9]]}},
    {
        "annotation_type": "segmentation",
        "data": {"format": "rle", "counts": [0, 4, 63996], "size": [200, 320]},
    },
    {"annotation_type": "segmentation", "data": {"format": "png"}},
    {"annotation_type": "heatmap", "data": {"width": 4, "height": 4}},
    {"annotation_type": "classification", "data": {"topk": [{"class": "x", "confidence": 1}]}},
    {"annotation_type": "custom", "data": {"anything": 1}},
]


def store(app: Flask, analysis: Analysis, rows: list[dict[str, object]]) -> None:
    """Straight into the table: what a pipeline may send is tested elsewhere."""
    with app.app_context():
        for i, row in enumerate(rows):
            columns = {"annotation_type": "bounding_box", "data": {}, **row}
            one = Annotation(
                analysis_id=analysis.id, client_id=str(i), content_hash="0" * 64, position=i, **columns
            )
            db.session.add(one)
        held = db.session.get_one(Analysis, analysis.id)
        held.annotation_count, held.next_position = len(rows), len(rows)
        db.session.commit()


@pytest.fixture
def analysis(world: World) -> Analysis:
    return world.analysis(world.image(world.project()), "completed")


@pytest.mark.parametrize("many", [False, True])
def test_every_column_is_as_the_rows_have_it(app: Flask, analysis: Analysis, many: bool) -> None:
    places = [{"x_min": 1.25, "y_min": 2.0, "x_max": 3.0, "y_max": 4.5}, {}]
    said = [{"class_name": "leaf", "confidence": 0.1234}, {"class_name": None, "confidence": None}]
    store(app, analysis, [{**row, **places[i % 2], **said[i // 2 % 2]} for i, row in enumerate(EVERY_TYPE)])
    with app.app_context():
        snapshot = snapshots.read(analysis.id, many=many)
        ids = [str(row.id) for row in annotations.at(analysis.id, snapshot.positions.tolist())]
    assert snapshot.positions.tolist() == list(range(len(EVERY_TYPE)))
    assert snapshot.ids_of(np.arange(len(snapshot))) == (None if many else ids)
    assert [KINDS[kind] for kind in snapshot.kinds] == list(KINDS)
    assert [snapshot.names[place] for place in snapshot.classes[:4]] == ["leaf", "leaf", None, None]
    assert snapshot.confidence[:3].tolist() == pytest.approx([0.1234, 0.1234, UNSURE])
    assert (snapshot.x_min[0], snapshot.y_max[0]) == (1.25, 4.5)
    assert snapshot.x_min[1] == np.float32(NOWHERE)


if databases.KIND == "postgresql":  # SQLite's rows go into the array one by one, without the network between

    def test_the_columns_come_as_one_value_each(
        app: Flask, analysis: Analysis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(columns, "ROWS_AT_ONCE", 200)  # of very many
        monkeypatch.setattr(columns, "_packed", columns._packed.__wrapped__)
        store(app, analysis, [{"x_min": float(n)} for n in range(300)])
        read_part, values = columns._read_part, list[int]()

        def note(part: Any, *more: Any) -> Any:
            values.append(len(part))
            return read_part(part, *more)

        monkeypatch.setattr(columns, "_read_part", note)
        with app.app_context():
            few = snapshots.read(analysis.id)
            assert len(values) == len(WITH_IDS) and values[0] == 300 * 4
            values.clear()
            many = snapshots.read(analysis.id, many=True)
            assert len(values) == len(COLUMNS) * 2 and sum(values[:: len(COLUMNS)]) == 300 * 4
        read = [few, many]
        for snapshot in read:
            assert snapshot.x_min.tolist() == list(range(300))
            assert snapshot.names[snapshot.classes[0]] is None


@pytest.mark.parametrize("in_parts_of", [1, 7, columns.ROWS_AT_ONCE])
def test_many_are_read_in_parts(
    app: Flask, analysis: Analysis, monkeypatch: pytest.MonkeyPatch, in_parts_of: int
) -> None:
    names = [None, "", "a", "b"]
    store(app, analysis, [{"x_min": float(n), "class_name": names[n % 3 + n // 25]} for n in range(30)])
    monkeypatch.setattr(columns, "ROWS_AT_ONCE", in_parts_of)
    monkeypatch.setattr(columns, "_packed", columns._packed.__wrapped__)
    with app.app_context():
        few, many = snapshots.read(analysis.id), snapshots.read(analysis.id, many=True)
    assert many.ids is None
    for name in snapshots.FILE_COLUMNS:
        if name != "classes":
            assert np.array_equal(getattr(many, name), getattr(few, name)), name
    assert [many.names[n] for n in many.classes] == [few.names[n] for n in few.classes]


def test_ids_are_those_of_their_rows_in_whatever_order_these_come(app: Flask, analysis: Analysis) -> None:
    store(app, analysis, [{"x_min": float(n)} for n in range(20)])
    with app.app_context():
        for position, other in ((0, 1000), (1, 0), (1000, 1)):
            of_it = db.update(Annotation).where(Annotation.position == position)
            db.session.execute(of_it.values(position=other))
        db.session.commit()
        rows = db.session.scalars(db.select(Annotation).order_by(Annotation.position)).all()
        snapshot = snapshots.read(analysis.id)
        assert snapshot.ids is not None
        assert [bytes(one) for one in snapshot.ids] == [row.id.bytes for row in rows]
        assert snapshot.x_min.tolist() == [row.x_min for row in rows]


def test_what_a_snapshot_takes_counts_its_ids(app: Flask, analysis: Analysis) -> None:
    store(app, analysis, [{"class_name": "car"}] * 50)
    with app.app_context():
        few, many = snapshots.read(analysis.id), snapshots.read(analysis.id, many=True)
    assert few.size_bytes - many.size_bytes == 50 * 16
    assert many.size_bytes > OVERHEAD + 50 * (7 * 4 + 1)


def test_classes_of_any_text_are_told_apart(app: Flask, analysis: Analysis) -> None:
    names = [*dict.fromkeys(text[:255] for text in STRINGS if "\x00" not in text), "", "'; --", "%s :x \\"]
    names = list(dict.fromkeys(names))
    store(app, analysis, [{"class_name": name} for name in names])
    with app.app_context():
        snapshot = snapshots.read(analysis.id)
    assert [snapshot.names[place] for place in snapshot.classes] == names


def test_an_analysis_without_annotations_is_an_empty_snapshot(app: Flask, analysis: Analysis) -> None:
    with app.app_context():
        snapshot = snapshots.read(analysis.id)
    assert (
        len(snapshot) == 0
        and snapshot.ids_of(np.arange(0)) == []
        and snapshot.class_counts == []
        and snapshot.kind_counts == {}
    )


def test_a_batch_that_arrives_meanwhile_is_there_whole_or_not_at_all(app: Flask, analysis: Analysis) -> None:
    store(app, analysis, [{"class_name": "car"}])
    arrived: list[None] = []

    def arrive(*_: Any) -> None:
        """Between the statements of a reading; with SQLite, which has only one, before its rows are fetched."""
        if not arrived:
            arrived.append(None)
            with app.app_context():
                late = {"client_id": "late", "content_hash": "0" * 64, "position": 1, "data": {}}
                kind = {"annotation_type": "bounding_box", "class_name": "bus"}
                db.session.add(Annotation(analysis_id=analysis.id, **late, **kind))
                db.session.commit()

    with app.app_context():
        event.listen(db.engine, "after_cursor_execute", arrive)
        try:
            snapshot = snapshots.read(analysis.id)
        finally:
            event.remove(db.engine, "after_cursor_execute", arrive)
    assert arrived
    assert snapshot.class_counts == [("car", 1)]


def test_a_revision_is_read_once_whoever_asks(app: Flask, analysis: Analysis) -> None:
    store(app, analysis, [{"x_min": 1, "y_min": 1, "x_max": 2, "y_max": 2}])
    begin = Barrier(4)

    def read() -> snapshots.Snapshot:
        with app.test_request_context():  # a reader: on SQLite it does not wait for the others
            held = db.session.get_one(Analysis, analysis.id)
            begin.wait(10)
            return snapshots.of(held, storage.current())

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: read(), range(4)))
    assert all(one is found[0] for one in found)
    with app.app_context():
        held = db.session.get_one(Analysis, analysis.id)
        held.touch()
        db.session.commit()
    assert read_alone(app, analysis) is not found[0]


def read_alone(app: Flask, analysis: Analysis) -> snapshots.Snapshot:
    with app.app_context():
        return snapshots.of(db.session.get_one(Analysis, analysis.id), storage.current())


def test_many_small_ones_do_not_take_the_place_of_a_large_one(
    app: Flask, world: World, analysis: Analysis, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for one small one here, of which the older goes."""
    monkeypatch.setattr(snapshots, "SMALL", 1)
    monkeypatch.setattr(snapshots._small, "most_bytes", OVERHEAD + 1000)
    place = {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}
    older, newer = (world.analysis(image, "completed") for _ in range(2))
    for one, count in ((analysis, 2), (older, 1), (newer, 1)):
        store(app, one, [place] * count)
    first = [read_alone(app, one) for one in (analysis, older, newer)]
    again = [read_alone(app, one) for one in (newer, older, analysis)]
    assert [one is other for one, other in zip(first, reversed(again), strict=True)] == [True, False, True]


@pytest.fixture
def large(app: Flask, analysis: Analysis, monkeypatch: pytest.MonkeyPatch) -> Analysis:
    """Worth keeping in the storage; no process has read it yet."""
    monkeypatch.setattr(snapshots, "STORED_ABOVE", 1)
    place = {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}
    store(app, analysis, [{"class_name": name, **place} for name in ("a", None)])
    return analysis


def stored(app: Flask) -> Path:
    """The file of the only snapshot in the storage."""
    (file,) = (Path(app.instance_path) / "storage" / "renders").rglob("snapshot-*.npz")
    return file


def test_a_large_one_that_has_ended_is_read_from_the_storage(
    app: Flask, large: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_alone(app, large)
    snapshots.forget()
    monkeypatch.setattr(snapshots, "read", None)  # the database is not asked
    again = read_alone(app, large)
    assert again is not first and again.names == first.names
    for name in snapshots.FILE_COLUMNS:
        assert np.array_equal(getattr(again, name), getattr(first, name)), name


def test_without_the_storage_the_database_is_read(
    app: Flask, large: Analysis, caplog: pytest.LogCaptureFixture
) -> None:
    app.extensions["storage"] = BrokenStorage(StorageUnavailable("down"))
    assert set(read_alone(app, large).names) == {"a", None}
    told = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert told == ["a stored snapshot cannot be read", "a snapshot cannot be stored"]


@pytest.mark.parametrize("content", [b"", b"PK broken", b"no archive at all"])
def test_a_file_that_is_broken_is_told_and_replaced(
    app: Flask, large: Analysis, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    first = read_alone(app, large)
    whole = stored(app).read_bytes()
    key = stored(app).relative_to(Path(app.instance_path) / "storage").as_posix()
    app.extensions["storage"].put(key, content, "application/octet-stream")
    snapshots.forget()
    assert read_alone(app, large).names == first.names
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert stored(app).read_bytes() == whole


def test_a_file_of_another_form_is_left_alone(
    app: Flask, large: Analysis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read_alone(app, large)
    stored(app).write_bytes(b"of another version of Loupe")
    snapshots.forget()
    monkeypatch.setattr(snapshots, "FORM", "another")
    assert set(read_alone(app, large).names) == {"a", None}
    assert not caplog.records
