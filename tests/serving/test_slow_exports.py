"""Clients that read an export slowly, or go away in the middle: nothing is held for them in the database."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from app.exports import FORMATS
from app.extensions import db
from app.models import Annotation
from app.models.columns import new_id
from tests.serving.load import slow_get
from tests.steps import BOX, box

NUMBER = 15_000
MIB = 1024 * 1024
GONE = 12


@pytest.fixture
def path(live_server: Any) -> tuple[str, dict[str, str], Any]:
    """The address of an analysis that still runs, the key that may read it, and the analysis."""
    world = live_server.world
    image = world.image(world.project("Leaves"))
    analysis = world.analysis(image, "processing", annotation_count=NUMBER, next_position=NUMBER)
    rows = [
        {
            "id": new_id(),
            "analysis_id": analysis.id,
            "annotation_type": "bounding_box",
            "class_name": "x" * 200,
            "data": BOX,
            "content_hash": "0" * 64,
            **BOX,
            "position": n,
            "client_id": f"c{n}",
        }
        for n in range(NUMBER)
    ]
    with world.app.app_context():
        db.session.execute(db.insert(Annotation), rows)
        db.session.commit()
    admin = world.person("admin@example.org", role="admin")
    return f"/api/analyses/{analysis.id}/export", {"X-API-Key": admin.key}, analysis


def held(live_server: Any) -> Callable[[], int]:
    """How many transactions are open on PostgreSQL; on SQLite whether somebody reads an old state of the file."""
    engine = create_engine(live_server.environ["DATABASE_URL"])
    if engine.dialect.name == "sqlite":
        question = "PRAGMA wal_checkpoint(TRUNCATE)"
    else:
        question = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
        )

    def ask() -> int:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            found: int = connection.execute(text(question)).scalar_one()
        engine.dispose()
        return found

    return ask


def nobody(ask: Callable[[], int]) -> bool:
    """Whether nothing is held at some moment of the next ten seconds: other requests come and go."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if ask() == 0:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("form", ["json", "coco"])
def test_a_slow_client_holds_nothing(live_server: Any, path: Any, form: str) -> None:
    """10 kB at a time, and in between the database is asked and written to. What was begun stays what it was."""
    address, headers, analysis = path
    ask, url = held(live_server), f"/api/analyses/{analysis.id}/annotations:bulk"
    with slow_get(live_server.gunicorn.port, f"{address}?format={form}", headers) as answer:
        assert answer.status == 200
        pieces = [answer.read(10_000)]
        before = live_server.gunicorn.memory()
        for n in range(5):
            assert nobody(ask), "a transaction waits for the client"
            items = [box(client_id=f"new{n}")]
            assert live_server.pipeline.post(url, {"annotations": items}).status_code == 200
            pieces.append(answer.read(10_000))
        assert live_server.gunicorn.memory() - before < 30 * MIB
        pieces.append(answer.read())
    assert len(json.loads(b"".join(pieces))["annotations"]) == NUMBER


def test_clients_that_go_away_leave_nothing_behind(live_server: Any, path: Any) -> None:
    address, headers, _ = path
    before = live_server.gunicorn.memory()
    forms = list(FORMATS)
    for n in range(GONE):
        answer = slow_get(live_server.gunicorn.port, f"{address}?format={forms[n % len(forms)]}", headers)
        assert answer.status == 200 and answer.read(1000 if n % 2 else 1)
        answer.close()
    assert nobody(held(live_server)), "a transaction is left open"
    person = live_server.world.person("other@example.org", role="admin")
    whole = live_server.api(person, "GET", address).json()
    assert whole["annotation_count"] == len(whole["annotations"]) == NUMBER
    assert live_server.gunicorn.memory() - before < 60 * MIB
