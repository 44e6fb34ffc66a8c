"""dialect.insert_rows on PostgreSQL is one COPY, and fails as INSERT fails. And finding rows again.

The server itself raises the errors, in the middle of the rows: a trigger waits for one of them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from app.dialect import found_by_key, prefer_indexes
from app.extensions import db
from app.models import Analysis, Annotation
from tests.cast import Pipeline
from tests.factories import World
from tests.steps import box
from tests.support.database import Database
from tests.support.rows import rows_of, send

SENT = {"annotations": [box(client_id=f"n{n}", class_name="secret") for n in range(1000)]}
Trigger = Callable[[str], None]


@pytest.fixture
def trigger(database: Database) -> Iterator[Trigger]:
    """trigger(statements): PL/pgSQL that runs before row 700 of an analysis is inserted; `tries` counts how often."""

    def execute(statements: str) -> None:
        with database.engine.begin() as connection:
            connection.exec_driver_sql(statements)

    def make(statements: str) -> None:
        execute(
            "CREATE SEQUENCE tries; CREATE TABLE seen (query text);"
            "CREATE FUNCTION stand_in_the_way() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {statements} RETURN NEW; END $$;"
            "CREATE TRIGGER stands_in_the_way BEFORE INSERT ON ml_annotations FOR EACH ROW"
            " WHEN (NEW.position = 700) EXECUTE FUNCTION stand_in_the_way()"
        )

    yield make
    execute("DROP FUNCTION stand_in_the_way CASCADE; DROP SEQUENCE tries; DROP TABLE seen")


@pytest.fixture
def post(pipeline: Pipeline, analysis: Analysis) -> Callable[[], Any]:
    """Sends a thousand boxes."""
    return lambda: pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", SENT)


def test_a_bulk_request_is_one_copy(trigger: Trigger, post: Callable[[], Any], database: Database) -> None:
    trigger("INSERT INTO seen SELECT current_query();")
    assert post().status_code == 200
    with database.engine.connect() as connection:
        (query,) = connection.scalars(text("SELECT query FROM seen"))
    assert query.startswith("COPY ml_annotations (")


# --- it fails alike ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "failures", "tries", "status"),
    [
        ("40P01", 2, 3, 200),  # deadlock_detected
        ("40001", 1, 2, 200),  # serialization_failure
        ("40P01", 9, 3, 503),
        ("55P03", 9, 1, 503),  # lock_not_available: waited long enough
        ("57014", 9, 1, 503),  # query_canceled: ran too long
        ("P0001", 9, 1, 500),
    ],
)
def test_an_error_among_the_rows(
    trigger: Trigger,
    post: Callable[[], Any],
    world: World,
    database: Database,
    caplog: pytest.LogCaptureFixture,
    code: str,
    failures: int,
    tries: int,
    status: int,
) -> None:
    """Tried again where that helps, and all is there; or answered, and nothing is. The log quotes no row."""
    trigger(
        f"IF nextval('tries') <= {failures} THEN RAISE EXCEPTION 'made up' USING ERRCODE = '{code}'; END IF;"
    )
    assert post().status_code == status
    assert world.count(Annotation) == (1000 if status == 200 else 0)
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT last_value FROM tries")) == tries
    assert ("made up" in caplog.text) == (status != 200)
    assert "secret" not in caplog.text


def test_a_real_deadlock(
    trigger: Trigger, post: Callable[[], Any], world: World, database: Database, analysis: Analysis
) -> None:
    """Each waits for what the other holds; the copying one looks for deadlocks first, gives way and tries again."""
    trigger("PERFORM nextval('tries'), pg_advisory_xact_lock(7);")
    answers: list[Any] = []
    request = threading.Thread(target=lambda: answers.append(post()))
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with database.engine.begin() as other:
        other.execute(text("SET LOCAL deadlock_timeout = '1min'"))
        other.execute(text("SELECT pg_advisory_xact_lock(7)"))
        request.start()
        deadline = time.monotonic() + 10
        while not other.scalar(waiting):
            assert time.monotonic() < deadline, "the request does not wait"
        touch = text("UPDATE ml_analyses SET model_name = 'other' WHERE id = :id").bindparams(id=analysis.id)
        other.execute(touch)
    request.join()
    assert answers[0].status_code == 200
    assert world.count(Annotation) == 1000
    assert world.reload(analysis).model_name == "other"
    with database.engine.connect() as connection:
        assert connection.scalar(text("SELECT last_value FROM tries")) == 2


def test_the_connection_ends_among_the_rows(
    app: Flask, trigger: Trigger, post: Callable[[], Any], world: World, analysis: Analysis
) -> None:
    """503, and the connection does not come back into the pool."""
    trigger("IF nextval('tries') <= 2 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;")
    refused = post()
    assert (refused.status_code, refused.json["code"]) == (503, "database-unavailable")
    with app.app_context():
        with pytest.raises(OperationalError) as raised:
            send(rows_of(analysis))
        assert raised.value.connection_invalidated
        db.session.rollback()
    assert world.count(Annotation) == 0
    assert post().status_code == 200
    assert world.count(Annotation) == 1000


def failure(app: Flask, rows: Sequence[dict[str, Any]], *before: str) -> DBAPIError:
    """What inserting raises; the connection can be used again."""
    with app.app_context():
        for statement in before:
            db.session.execute(text(statement))
        with pytest.raises(DBAPIError) as raised:
            send(rows)
        assert not raised.value.connection_invalidated
        db.session.rollback()
        assert db.session.scalar(text("SELECT count(*) FROM ml_annotations")) == 0
    return raised.value


def test_a_client_id_twice(app: Flask, analysis: Analysis) -> None:
    error = failure(app, rows_of(analysis, client_id="twice"))
    assert isinstance(error, IntegrityError)
    assert error.orig.sqlstate == "23505"  # type: ignore[union-attr]
    assert error.orig.diag.constraint_name == "uq_ml_annotations_analysis_id_client_id"  # type: ignore[union-attr]


def test_it_takes_too_long(app: Flask, analysis: Analysis, trigger: Trigger) -> None:
    trigger("PERFORM pg_sleep(60);")
    error = failure(app, rows_of(analysis), "SET LOCAL statement_timeout = '50ms'")
    assert isinstance(error, OperationalError)
    assert error.orig.sqlstate == "57014"  # type: ignore[union-attr]


def test_a_lock_is_held_too_long(app: Flask, analysis: Analysis, database: Database) -> None:
    with database.engine.begin() as other:
        other.execute(text("LOCK TABLE ml_annotations IN EXCLUSIVE MODE"))
        error = failure(app, rows_of(analysis), "SET LOCAL lock_timeout = '50ms'")
    assert isinstance(error, OperationalError)
    assert error.orig.sqlstate == "55P03"  # type: ignore[union-attr]


def test_a_value_the_driver_cannot_send(app: Flask, analysis: Analysis) -> None:
    """What was begun is given up, and says why."""
    error = failure(app, rows_of(analysis, class_name=object()))
    assert "cannot adapt type 'object'" in str(error)


@pytest.mark.parametrize(("others", "each"), [(1200, 1), (4, 2500), (0, 0)])
def test_rows_are_found_by_their_key_in_an_analysis_that_has_just_grown(
    app: Flask, database: Database, pipeline: Pipeline, analysis: Analysis, others: int, each: int
) -> None:
    """The table was counted while its analyses were small, or a few large ones were all there was: the planner takes
    this one for a single row, and would read all of it."""
    with app.app_context():
        made = [
            Analysis(image_id=analysis.image_id, model_name="a", model_version="1") for _ in range(others)
        ]
        db.session.add_all(made)
        db.session.flush()
        for one in made:
            send(rows_of(one, each))
        db.session.commit()
    with database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
            "VACUUM (ANALYZE) ml_annotations"
        )
    for batch in range(5):
        sent = {"annotations": [box(client_id=f"{batch}-{n}") for n in range(1000)]}
        assert pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", sent).status_code == 200
    columns = (Annotation.client_id, Annotation.id)
    ids = [f"3-{n}" for n in range(500)] + ["nobody"]
    with app.app_context():
        among = Annotation.analysis_id == analysis.id
        statement = found_by_key(columns, among, Annotation.client_id.expression, ids)
        assert {row.client_id for row in db.session.execute(statement)} == set(ids) - {"nobody"}
        prefer_indexes(db.session.connection())
        compiled = statement.compile(db.engine)
        sent = {
            name: orjson.dumps(value).decode() if isinstance(value, list) else value
            for name, value in compiled.construct_params().items()
        }
        plan = db.session.connection().exec_driver_sql(f"EXPLAIN {compiled}", sent)
        lines = [line for (line,) in plan]
    conditions = [line for line in lines if "Index Cond" in line]
    assert conditions and all("client_id" in line and "analysis_id" in line for line in conditions), lines
    assert not [line for line in lines if "Seq Scan on ml_annotations" in line], lines
