"""dialect/prepared.py, on PostgreSQL: reading keeps what was prepared, and can change nothing."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from flask import Flask, g
from sqlalchemy import Connection, bindparam, func, select, text
from sqlalchemy.exc import InternalError, ProgrammingError

from app.dialect import READING, Single
from app.dialect.prepared import PREPARED_AFTER
from app.extensions import db
from app.models import Analysis, User
from tests.factories import World

ALONE = {"isolation_level": "AUTOCOMMIT"}
ASKED = "SELECT count(*) AS {} FROM users WHERE email = :email"
KNOWN = text("SELECT statement FROM pg_prepared_statements")
WRITTEN = text("UPDATE ml_analyses SET priority = priority + 1")


@pytest.fixture
def in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def ask(name: str, **options: Any) -> int:
    """How many statements of this name the connection knows, after it was asked in transactions of their own."""
    with db.engine.connect().execution_options(**options) as connection:
        for _ in range(PREPARED_AFTER + 1):
            connection.execute(text(ASKED.format(name)), {"email": "nobody@example.org"})
            connection.rollback()
        return known(connection, name)


def known(connection: Connection, name: str) -> int:
    return sum(f"AS {name} " in one.replace("\n", " ") for one in connection.scalars(KNOWN))


@pytest.mark.usefixtures("in_app")
def test_reading_keeps_what_is_prepared_and_prepares_nothing() -> None:
    assert ask("kept", **ALONE) == 1
    assert ask("planned_each_time", **{READING: True}) == 0
    with db.engine.connect().execution_options(**ALONE) as connection:
        assert known(connection, "kept") == 1


@pytest.mark.usefixtures("in_app")
def test_what_is_alone_is_prepared_over_a_connection_that_has_read() -> None:
    wanted = select(func.count().label("alone")).where(User.email == bindparam("email"))
    assert ask("before", **{READING: True}) == 0
    for _ in range(PREPARED_AFTER + 1):
        with closing(Single()) as single:
            assert list(single.rows(wanted, {"email": "nobody@example.org"})) == [(0,)]
    with db.engine.connect().execution_options(**ALONE) as connection:
        assert known(connection, "alone") == 1


@pytest.mark.usefixtures("in_app")
def test_what_may_have_written_is_rolled_back(world: World, analysis: Analysis) -> None:
    assert ask("kept", **ALONE) == 1
    with db.engine.connect() as connection:
        assert connection.execute(WRITTEN).rowcount > 0
        connection.rollback()
    assert world.reload(analysis).priority == analysis.priority
    with db.engine.connect().execution_options(**ALONE) as connection:
        assert known(connection, "kept") == 0  # the driver forgets them, as ever


@pytest.mark.usefixtures("in_app")
def test_reading_can_change_nothing(world: World, analysis: Analysis) -> None:
    with (
        db.engine.connect().execution_options(**{READING: True}) as connection,
        pytest.raises(InternalError, match="read-only transaction"),
    ):
        connection.execute(WRITTEN)
    assert world.reload(analysis).priority == analysis.priority


@pytest.mark.usefixtures("in_app")
def test_after_an_error_nothing_is_kept() -> None:
    """What was prepared may be what failed: as after a migration that changed the type of a column."""
    assert ask("kept", **ALONE) == 1
    with db.engine.connect().execution_options(**{READING: True}) as connection:
        assert known(connection, "kept") == 1
        with pytest.raises(ProgrammingError):
            connection.execute(text("SELECT nothing FROM nowhere"))
        connection.rollback()
        assert known(connection, "kept") == 0


@pytest.mark.usefixtures("in_app")
def test_over_a_lost_connection_it_fails_as_ever() -> None:
    with db.engine.connect().execution_options(**{READING: True}) as connection:
        process = connection.scalar(text("SELECT pg_backend_pid()"))
        with db.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:process, 10000)"), {"process": process})
        driver: Any = connection.connection.driver_connection
        with pytest.raises(psycopg.OperationalError):
            driver.rollback()
        connection.invalidate()


@pytest.mark.usefixtures("in_app")
def test_the_next_transaction_may_write_again() -> None:
    with db.engine.connect().execution_options(**{READING: True}) as connection:
        driver = connection.connection.dbapi_connection
        connection.execute(text("SELECT 1"))
    with db.engine.begin() as connection:
        assert connection.connection.dbapi_connection is driver
        assert connection.execute(text("SHOW transaction_read_only")).scalar_one() == "off"


def test_a_request_reads_or_writes_as_its_method_says(app: Flask) -> None:
    for method, wanted in (
        ("GET", "on"),
        ("HEAD", "on"),
        ("OPTIONS", "on"),
        ("POST", "off"),
        ("DELETE", "off"),
    ):
        with app.test_request_context(method=method):
            assert db.session.execute(text("SHOW transaction_read_only")).scalar_one() == wanted, method
            db.session.rollback()
            g.writes = wanted == "on"  # it says otherwise
            assert db.session.execute(text("SHOW transaction_read_only")).scalar_one() != wanted, method
