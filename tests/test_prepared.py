"""dialect/prepared.py, on PostgreSQL: reading keeps what was prepared, and can change nothing."""

from collections.abc import Iterator

import pytest
from flask import Flask, g
from sqlalchemy import Connection, text
from sqlalchemy.exc import InternalError, OperationalError, ProgrammingError

from app.dialect import READING
from app.extensions import db
from app.models import Analysis
from tests.factories import World

PREPARED_AFTER = 5  # executions, see psycopg's prepare_threshold
ASKED = text("SELECT count(*) FROM users WHERE email = :email")
OF_THE_CONNECTION = text("SELECT statement FROM pg_prepared_statements")
WRITTEN = text("UPDATE ml_analyses SET priority = priority + 1")


@pytest.fixture
def in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def prepared(*, reading: bool) -> int:
    """How many of these statements the connection knows, after it was asked in transactions of their own."""
    with db.engine.connect().execution_options(**{READING: reading}) as connection:
        for _ in range(PREPARED_AFTER + 1):
            connection.execute(ASKED, {"email": "nobody@example.org"})
            connection.rollback()
        return known(connection)


def known(connection: Connection) -> int:
    return sum("users WHERE email" in one for one in connection.scalars(OF_THE_CONNECTION))


@pytest.mark.usefixtures("in_app")
def test_reading_keeps_prepared_statements() -> None:
    assert prepared(reading=True) == 1


@pytest.mark.usefixtures("in_app")
def test_what_may_have_written_is_rolled_back(world: World, analysis: Analysis) -> None:
    with db.engine.connect() as connection:
        assert connection.execute(WRITTEN).rowcount > 0
        connection.rollback()
    assert world.reload(analysis).priority == analysis.priority
    assert prepared(reading=False) == 0  # the driver forgets them, as ever


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
    assert prepared(reading=True) == 1
    with db.engine.connect().execution_options(**{READING: True}) as connection:
        with pytest.raises(ProgrammingError):
            connection.execute(text("SELECT nothing FROM nowhere"))
        connection.rollback()
        assert known(connection) == 0


@pytest.mark.usefixtures("in_app")
def test_over_a_lost_connection_it_fails_as_ever() -> None:
    with db.engine.connect().execution_options(**{READING: True}) as connection:
        with pytest.raises(OperationalError):
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        connection.rollback()
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


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
