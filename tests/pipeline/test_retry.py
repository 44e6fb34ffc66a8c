"""dialect.RetryingFlask: a transaction that the database undid for another's sake is run again, and nothing else is.

On PostgreSQL the server itself raises the errors; on SQLite, which has none of that kind, nothing is run twice.
"""

import sqlite3
from pathlib import Path
from uuid import uuid4

import pytest
from flask import request
from sqlalchemy import text

from app import create_app
from app.extensions import db
from app.models import Project
from tests.factories import World
from tests.support.database import KIND


@pytest.fixture
def fresh_app(database, instance):
    """Has served nothing yet, so that a test can give it a view."""
    app = create_app({"SECRET_KEY": "x" * 32, "DATABASE_URL": database.url}, instance_path=str(instance))
    yield app
    with app.app_context():
        db.engine.dispose()


def raise_sqlstate(code):
    db.session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'made up' USING ERRCODE = '{code}'; END $$"))


def divide_by_zero(_code):
    raise ZeroDivisionError


# what is raised, how often, how often the view then runs, the status
CASES = {
    "postgresql": [
        (raise_sqlstate, "40P01", 2, 3, 200),  # deadlock_detected
        (raise_sqlstate, "40001", 2, 3, 200),  # serialization_failure
        (raise_sqlstate, "40P01", 1, 2, 200),
        (raise_sqlstate, "40P01", 9, 3, 503),
        (raise_sqlstate, "55P03", 9, 1, 503),  # lock_not_available: waited long enough
        (raise_sqlstate, "57014", 9, 1, 503),  # query_canceled: ran too long
        (raise_sqlstate, "P0001", 9, 1, 500),
        (raise_sqlstate, "23505", 9, 1, 500),
        (divide_by_zero, "", 9, 1, 500),
    ],
    "sqlite": [(divide_by_zero, "", 9, 1, 500)],
}[KIND]


@pytest.mark.parametrize(("fail", "code", "failures", "runs", "status"), CASES)
def test_retry(fresh_app, fail, code, failures, runs, status):
    """Each run begins with nothing of the one before: the project it adds is there once, or not at all."""
    ran, seen = [], []

    @fresh_app.post("/api/retry")
    def view():
        ran.append(request.get_data())
        seen.append(db.session.scalar(text("SELECT count(*) FROM projects")))
        db.session.add(Project(name=f"run {len(ran)}"))
        db.session.flush()
        if len(ran) <= failures:
            fail(code)
        db.session.commit()
        return "done"

    answer = fresh_app.test_client().post("/api/retry", data=b"the body")
    assert (answer.status_code, len(ran)) == (status, runs)
    assert ran == [b"the body"] * runs
    assert seen == [0] * runs
    names = [project.name for project in World(fresh_app).rows(Project)]
    assert names == ([f"run {runs}"] if status == 200 else [])
    if status != 200:
        assert answer.mimetype == "application/problem+json"
        assert answer.json["code"] == {503: "database-unavailable", 500: "internal-error"}[status]


@pytest.mark.parametrize("hook", ["before", "after"])
def test_what_stands_around_the_view_runs_once(fresh_app, hook):
    around, ran = [], []

    @fresh_app.before_request
    def before():
        around.append("before")

    @fresh_app.after_request
    def after(response):
        around.append("after")
        return response

    @fresh_app.get("/api/retry")
    def view():
        ran.append(1)
        if KIND == "postgresql" and len(ran) < 3:
            raise_sqlstate("40P01")
        return "done"

    assert fresh_app.test_client().get("/api/retry").status_code == 200
    assert around.count(hook) == 1
    assert len(ran) == (3 if KIND == "postgresql" else 1)


def lock_on_sqlite(database):
    """Another process writes, and does not end."""
    connection = sqlite3.connect(Path(database.url.removeprefix("sqlite:///")), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return connection.close


def lock_on_postgresql(database):
    connection = database.engine.connect()
    connection.execute(text("LOCK TABLE projects IN EXCLUSIVE MODE"))
    return connection.close


IMPATIENT = {"sqlite": "PRAGMA busy_timeout = 50", "postgresql": "SET lock_timeout = '50ms'"}[KIND]


def test_a_lock_that_is_held_too_long(fresh_app, database):
    """Waited for once, as long as is set, and then said to be 503."""
    ran = []

    @fresh_app.get("/api/retry")
    def view():
        ran.append(1)
        db.session.execute(text(IMPATIENT))
        db.session.add(Project(id=uuid4(), name="never"))
        db.session.commit()
        return "done"

    release = (lock_on_sqlite if KIND == "sqlite" else lock_on_postgresql)(database)
    try:
        answer = fresh_app.test_client().get("/api/retry")
    finally:
        release()
    assert (answer.status_code, answer.json["code"]) == (503, "database-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert len(ran) == 1
