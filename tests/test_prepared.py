"""dialect/prepared.py, on PostgreSQL: reading keeps what was prepared, and can change nothing."""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import InternalError, ProgrammingError

from app.dialect import READING
from app.extensions import db
from app.models import Analysis
from tests.factories import World

PREPARED_AFTER = 5  # executions, see psycopg's prepare_threshold
ASKED = text("SELECT count(*) FROM users WHERE email = :email")
OF_THE_CONNECTION = text(
    "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%users WHERE email%'"
)
WRITTEN = text("UPDATE ml_analyses SET priority = priority + 1")


@pytest.fixture
def in_app(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield


def prepared(*, reading: bool, then: str = "rollback") -> int:
    """How many of these statements the connection knows, after it was asked in transactions of their own."""
    with db.engine.connect().execution_options(**{READING: reading}) as connection:
        for _ in range(PREPARED_AFTER + 1):
            connection.execute(ASKED, {"email": "nobody@example.org"})
            getattr(connection, then)()
        return int(connection.execute(OF_THE_CONNECTION).scalar_one())


@pytest.mark.usefixtures("in_app")
def test_reading_keeps_prepared_statements() -> None:
    assert prepared(reading=True) == 1
    assert prepared(reading=False, then="commit") == 1


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
def test_after_an_error_a_reading_connection_goes_on() -> None:
    with db.engine.connect().execution_options(**{READING: True}) as connection:
        with pytest.raises(ProgrammingError):
            connection.execute(text("SELECT nothing FROM nowhere"))
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
    for method, wanted in (("GET", "on"), ("HEAD", "on"), ("POST", "off"), ("DELETE", "off")):
        with app.test_request_context(method=method):
            assert db.session.execute(text("SHOW transaction_read_only")).scalar_one() == wanted, method
            db.session.rollback()
