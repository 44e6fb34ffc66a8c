"""dialect/single.py, on PostgreSQL: what SQLAlchemy would give, raise and tell, and nothing of it left in the pool."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import (
    Integer,
    Select,
    String,
    bindparam,
    cast,
    column,
    event,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import DataError, OperationalError, ProgrammingError

from app.dialect import Single
from app.extensions import db
from app.models import Analysis
from app.models.columns import Json, UtcDateTime, now
from tests.factories import World

QUOTIENT = select(func.div(10, cast(bindparam("by"), Integer), type_=Integer))
PROCESS = select(func.pg_backend_pid())
ENDED = select(func.pg_terminate_backend(func.pg_backend_pid()))


@pytest.fixture
def single(app: Flask) -> Iterator[Single]:
    with app.app_context():
        made = Single()
        yield made
        made.close()


def process(single: Single) -> int:
    return int(single.rows(PROCESS, {})[0][0])


def driver_of(single: Single) -> Any:
    return single._pooled.driver_connection


@pytest.mark.parametrize("wanted", [select(Analysis.__table__), select(Analysis.created_at, Analysis.id)])
def test_rows_are_those_of_sqlalchemy(single: Single, analysis: Analysis, wanted: Select[Any]) -> None:
    statement = wanted.where(Analysis.id == bindparam("id"), Analysis.created_at <= bindparam("until"))
    values = {"id": analysis.id, "until": now()}
    with db.engine.connect() as connection:
        expected = connection.execute(statement, values).all()
    found = single.rows(statement, values)
    assert list(found) == [tuple(row) for row in expected] and len(found) == 1
    assert [type(value) for value in found[0]] == [type(value) for value in expected[0]]


def test_values_go_through_their_types(single: Single) -> None:
    sent = {"json": {"a": [1, None, "ü%s"]}, "none": None, "time": now()}
    kinds = {"json": Json, "none": Json, "time": UtcDateTime()}
    statement = select(*(bindparam(name, type_=kind) for name, kind in kinds.items()), literal("%"))
    [found] = single.rows(statement, sent)
    assert found == (*sent.values(), "%")
    with pytest.raises(ValueError, match="zone"):
        single.rows(statement, {**sent, "time": now().replace(tzinfo=None)})


def test_what_was_written_is_there_at_once(single: Single, world: World, analysis: Analysis) -> None:
    changed = (
        update(Analysis).where(Analysis.id == bindparam("key")).values(priority=3).returning(Analysis.id)
    )
    seen = select(func.count()).select_from(changed.cte("changed"))
    assert single.rows(seen, {"key": analysis.id}) == [(1,)]
    assert world.reload(analysis).priority == 3


def test_who_listens_for_statements_is_told(single: Single) -> None:
    told: list[Any] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        told.append((statement, parameters))

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        single.rows(QUOTIENT, {"by": 5})
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    [(statement, parameters)] = told
    assert statement.startswith("SELECT") and parameters["by"] == 5


def test_what_the_database_refuses(single: Single) -> None:
    """It is SQLAlchemy's error, and the connection is as good as before."""
    before = process(single)
    with pytest.raises(DataError, match="division by zero") as refused:
        single.rows(QUOTIENT, {"by": 0})
    assert not refused.value.connection_invalidated
    assert "hidden" in str(refused.value), "what people send must not come into the log"
    assert single.rows(QUOTIENT, {"by": 5}) == [(2,)] and process(single) == before


def test_a_connection_that_is_lost_does_not_come_back(app: Flask, single: Single) -> None:
    before = process(single)
    with pytest.raises(OperationalError) as lost:
        single.rows(ENDED, {})
    assert lost.value.connection_invalidated
    single.close()
    with app.app_context():
        other = Single()
        assert process(other) != before
        other.close()


def test_others_of_its_age_are_replaced(app: Flask, single: Single) -> None:
    """A machine that vanished is waited for once."""
    with app.app_context(), db.engine.connect() as other:
        before = other.scalar(PROCESS)
    with pytest.raises(OperationalError):
        single.rows(ENDED, {})
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(db.engine.connect()) for _ in range(2)]
        assert before not in [one.scalar(PROCESS) for one in every]


def test_nothing_is_asked_over_one_that_is_gone(single: Single) -> None:
    with pytest.raises(OperationalError):
        single.rows(ENDED, {})
    with pytest.raises(OperationalError, match="closed") as again:
        single.rows(PROCESS, {})
    assert again.value.connection_invalidated
    single.close()
    with pytest.raises(AttributeError):
        single.rows(PROCESS, {})
    single.close()


def test_what_cannot_be_sent_is_refused_before(single: Single) -> None:
    before = process(single)
    with pytest.raises(ProgrammingError, match="missing: by"):
        single.rows(QUOTIENT, {"bye": 5})
    with pytest.raises(UnicodeEncodeError):
        single.rows(select(bindparam("text", type_=String)), {"text": "\ud800"})
    several = select(Analysis.id).where(Analysis.priority.in_(bindparam("some", expanding=True)))
    with pytest.raises(TypeError, match="several"):
        single.rows(several, {"some": [1]})
    assert process(single) == before


def test_one_that_was_left_in_the_middle_does_not_come_back(
    single: Single, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What PostgreSQL is about to answer would be taken for the answer to the next question."""
    driver = driver_of(single)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("psycopg.Cursor.fetchall", stop)
        with pytest.raises(KeyboardInterrupt):
            single.rows(QUOTIENT, {"by": 1})
    assert driver.closed
    single.close()
    with db.engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1


def test_no_connection_to_be_had(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise db.engine.dialect.loaded_dbapi.OperationalError("connection refused")

    with app.app_context():
        monkeypatch.setattr(db.engine.pool, "connect", refuse)
        with pytest.raises(OperationalError, match="connection refused"):
            Single()


def test_a_connection_that_is_lost_while_it_is_made_ready(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is answered as one that cannot be had, and does not come back."""
    with app.app_context():
        lost = db.engine.dialect.loaded_dbapi.OperationalError("the connection is lost")

        def fail(*_: Any) -> None:
            raise lost

        with monkeypatch.context() as patched:
            patched.setattr("psycopg.Connection.autocommit", property(lambda _: False, fail))
            with pytest.raises(OperationalError, match="is lost"):
                Single()
        again = Single()
        assert process(again)
        again.close()


def test_it_is_laid_down_as_it_was(single: Single) -> None:
    driver = driver_of(single)
    assert driver.autocommit
    single.close()
    assert not driver.autocommit and not driver.closed


def test_it_is_laid_down_as_it_was_by_whoever_forgot_it(app: Flask) -> None:
    with app.app_context():
        forgotten = Single()
        driver = driver_of(forgotten)
        del forgotten
        assert not driver.autocommit and not driver.closed


def test_a_transaction_over_the_same_connection_is_one(
    single: Single, world: World, analysis: Analysis
) -> None:
    driver = driver_of(single)
    single.close()
    with contextlib.ExitStack() as stack:
        every = [stack.enter_context(db.engine.connect()) for _ in range(db.engine.pool.checkedin())]
        [connection] = [one for one in every if one.connection.driver_connection is driver]
        connection.execute(update(Analysis).values(priority=9))
        connection.rollback()
    assert world.reload(analysis).priority == 0


def test_a_statement_of_columns_by_hand(single: Single) -> None:
    numbers = func.generate_series(1, bindparam("last", type_=Integer)).table_valued("n").render_derived()
    assert list(single.rows(select(column("n")).select_from(numbers), {"last": 3})) == [(1,), (2,), (3,)]
