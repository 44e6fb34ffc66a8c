"""PostgreSQL ends connections while they lie in the pool: who takes one next notices nothing of it."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from app.dialect import connections
from app.extensions import db
from tests.support import database as databases


@pytest.fixture
def engine(app: Flask) -> Iterator[Engine]:
    with app.app_context():
        made = create_engine(db.engine.url, pool_size=2)
    connections.prepare(made)
    yield made
    made.dispose()


def process_of(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT pg_backend_pid()")))


def end(engine: Engine, process: int) -> None:
    """Returns when the process of the database is gone."""
    with create_engine(engine.url, poolclass=NullPool).connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:process, 10000)"), {"process": process})


if databases.KIND == "postgresql":  # nobody ends a connection of SQLite

    def test_a_living_connection_is_taken_again(engine: Engine) -> None:
        assert process_of(engine) == process_of(engine)

    def test_one_that_was_ended_is_replaced(engine: Engine) -> None:
        before = process_of(engine)
        end(engine, before)
        assert process_of(engine) not in (0, before)

    def test_all_of_the_age_of_one_that_was_ended_are_replaced(engine: Engine) -> None:
        with engine.connect() as one, engine.connect() as other:
            processes = [connection.scalar(text("SELECT pg_backend_pid()")) for connection in (one, other)]
        end(engine, processes[1])  # which was put back first, and so is taken first
        with engine.connect() as one, engine.connect() as other:
            now = [connection.scalar(text("SELECT pg_backend_pid()")) for connection in (one, other)]
        assert not set(now) & set(processes)

    def test_one_that_lay_for_long_is_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        before = process_of(engine)
        monkeypatch.setattr(connections, "ASKED_AFTER_SECONDS", 0.0)
        asked = []
        ping = engine.dialect.do_ping
        monkeypatch.setattr(engine.dialect, "do_ping", lambda connection: asked.append(1) or ping(connection))
        assert process_of(engine) == before
        assert asked == [1]

    def test_one_that_does_not_answer_is_replaced(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        before = process_of(engine)
        monkeypatch.setattr(connections, "ASKED_AFTER_SECONDS", 0.0)

        def lost(_connection: object) -> None:
            raise engine.dialect.loaded_dbapi.OperationalError("the network is gone")

        monkeypatch.setattr(engine.dialect, "do_ping", lost)
        assert process_of(engine) != before
