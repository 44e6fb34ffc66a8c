"""Holding at once, and writing what was changed past the unit of work: the same as the longer ways."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, inspect
from sqlalchemy.exc import IntegrityError

from app import access
from app.errors import Deleted, NotFound
from app.extensions import db
from app.models import SYSTEM, Analysis, Image, Status
from app.models.columns import now
from app.services.locking import clock_under_lock, hold_at_once, lock, write
from tests.factories import World, some_id
from tests.support import database as databases


@pytest.fixture
def statements(app: Flask) -> Iterator[list[str]]:
    """What is sent to the database, by its first word."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement.split()[0])

    with app.app_context():
        engine = db.engine
        event.listen(engine, "before_cursor_execute", note)
        yield seen
        db.session.rollback()
        event.remove(engine, "before_cursor_execute", note)


def columns_of(analysis: Analysis) -> dict[str, Any]:
    return {column.key: getattr(analysis, column.key) for column in Analysis.__table__.columns}


def test_it_is_what_reading_and_locking_give(statements: list[str], analysis: Analysis) -> None:
    held = hold_at_once(analysis.id)
    assert held is not None
    seen, project_id = columns_of(held), held.image.project_id
    db.session.rollback()
    read = lock(access.analysis_for(SYSTEM, analysis.id))
    assert (columns_of(read), read.image.project_id) == (seen, project_id)


def test_what_is_held_is_locked_with_no_further_statement(statements: list[str], analysis: Analysis) -> None:
    held = access.analysis_for(SYSTEM, analysis.id, hold=True)
    statements.clear()
    assert lock(held) is held
    assert held.image.deleted_at is None
    moment = clock_under_lock(held)
    assert statements == [] and abs(moment - now()) < timedelta(minutes=1)


def test_it_is_held_to_the_end_of_the_transaction_only(statements: list[str], analysis: Analysis) -> None:
    held = access.analysis_for(SYSTEM, analysis.id, hold=True)
    db.session.rollback()
    statements.clear()
    lock(held)
    assert statements.count("SELECT") == 2  # the row, and whether its image was deleted


def test_what_is_not_there_or_was_deleted(statements: list[str], world: World, image: Image) -> None:
    deleted, row = world.analysis(image, deleted_at=now()), world.analysis(image)
    with pytest.raises(NotFound):
        access.analysis_for(SYSTEM, some_id(), hold=True)
    with pytest.raises(Deleted):
        access.analysis_for(SYSTEM, deleted.id, hold=True)
    db.session.get_one(Image, image.id).deleted_at = now()
    db.session.commit()
    with pytest.raises(Deleted):
        access.analysis_for(SYSTEM, row.id, hold=True)


@pytest.mark.parametrize(
    "columns", [{"status": Status.PROCESSING.value, "started_at": now(), "revision": 7}, {}]
)
def test_what_is_written_is_what_a_flush_writes(
    statements: list[str], world: World, image: Image, columns: dict[str, Any]
) -> None:
    changed: dict[Callable[..., None], dict[str, Any]] = {}
    rows = [world.analysis(image), world.analysis(image)]
    for way, made in zip((write, lambda _row: db.session.flush()), rows, strict=True):
        row = access.analysis_for(SYSTEM, made.id, hold=True)
        before = columns_of(row)
        for name, value in columns.items():
            setattr(row, name, value)
        statements.clear()
        way(row)
        assert not db.session.dirty
        db.session.commit()
        assert statements.count("UPDATE") == bool(columns)  # and none at the commit
        after = columns_of(row)  # read anew
        db.session.rollback()
        changed[way] = {name: value for name, value in after.items() if value != before[name]}
    assert list(changed.values()) == [columns, columns]


def test_what_is_written_is_sent_once_and_what_comes_after_too(
    statements: list[str], analysis: Analysis
) -> None:
    row = access.analysis_for(SYSTEM, analysis.id, hold=True)
    before, row.lease_owner = row.revision, "w1"
    row.touch()
    write(row)
    statements.clear()
    db.session.flush()
    write(row)
    row.revision = before + 1  # as it is
    write(row)
    assert statements == []
    row.lease_owner = "w2"
    db.session.commit()
    assert statements == ["UPDATE"]
    assert (row.revision, row.lease_owner) == (before + 1, "w2")


@pytest.mark.parametrize("after", [lambda row: None, lambda row: setattr(row, "lease_owner", "w2")])
def test_what_is_written_is_undone_with_its_transaction(
    statements: list[str], analysis: Analysis, after: Callable[[Analysis], None]
) -> None:
    row = access.analysis_for(SYSTEM, analysis.id, hold=True)
    before = row.revision
    row.touch()
    write(row)
    after(row)
    db.session.rollback()
    assert row in db.session and inspect(row).expired
    assert (row.revision, row.lease_owner) == (before, None)


def test_what_is_written_is_undone_with_its_savepoint(statements: list[str], analysis: Analysis) -> None:
    row = access.analysis_for(SYSTEM, analysis.id, hold=True)
    before = row.revision
    row.lease_owner = "w1"
    write(row)
    with pytest.raises(RuntimeError), db.session.begin_nested():
        row.touch()
        write(row)
        raise RuntimeError
    assert (row.revision, row.lease_owner) == (before, "w1")
    db.session.commit()
    assert (row.revision, row.lease_owner) == (before, "w1")


def test_what_the_database_refuses_is_undone(statements: list[str], analysis: Analysis) -> None:
    row = access.analysis_for(SYSTEM, analysis.id, hold=True)
    row.model_name = None  # type: ignore[assignment]
    with pytest.raises(IntegrityError):
        write(row)
    db.session.rollback()
    assert row.model_name == analysis.model_name


if databases.KIND == "postgresql":  # SQLite has one writer, who holds everything

    def test_it_waits_for_nobody_and_then_for_the_lock(
        app: Flask, statements: list[str], analysis: Analysis, image: Image
    ) -> None:
        """Somebody holds the row, deletes the image meanwhile, and lets go: what waited sees it."""
        holds, read = threading.Event(), threading.Event()

        def hold_and_delete() -> None:
            with app.app_context():
                lock(db.session.get_one(Analysis, analysis.id))
                holds.set()
                assert read.wait(10)
                db.session.get_one(Image, image.id).deleted_at = now()
                db.session.commit()

        other = threading.Thread(target=hold_and_delete)
        other.start()
        assert holds.wait(10)
        assert hold_at_once(analysis.id) is None
        found = access.analysis_for(SYSTEM, analysis.id, hold=True)
        read.set()
        with pytest.raises(Deleted):
            lock(found)
        other.join()
