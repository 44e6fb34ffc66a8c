"""Clients that read an export slowly, or go away in the middle: nothing is held for them in the database."""

import io
import itertools
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from app.exports import FORMATS
from app.extensions import db
from app.models import Annotation
from app.models.columns import new_id
from tests.serving.load import slow_get
from tests.steps import box

NUMBER = 15_000
MIB = 1024 * 1024


def corners(n: int) -> dict[str, float]:
    """No two alike, so that a zip of them is not too small to be read slowly."""
    return {
        "x_min": n * 37 % 601 / 10,
        "y_min": n * 53 % 401 / 10,
        "x_max": 61 + n % 7 / 8,
        "y_max": 41 + n % 11 / 16,
    }


@pytest.fixture
def paths(live_server: Any) -> tuple[dict[str, str], dict[str, str], Any]:
    """The addresses of an analysis that still runs and of its project, the key that may read them, and the analysis."""
    world = live_server.world
    project = world.project("Leaves")
    analysis = world.analysis(
        world.image(project), "processing", annotation_count=NUMBER, next_position=NUMBER
    )
    rows = [
        {
            "id": new_id(),
            "analysis_id": analysis.id,
            "annotation_type": "bounding_box",
            "class_name": "x" * 200,
            "data": corners(n),
            "content_hash": "0" * 64,
            **corners(n),
            "position": n,
            "client_id": f"c{n}",
        }
        for n in range(NUMBER)
    ]
    with world.app.app_context():
        db.session.execute(db.insert(Annotation), rows)
        db.session.commit()
    admin = world.person("admin@example.org", role="admin")
    found = {
        "analysis": f"/api/analyses/{analysis.id}/export",
        "project": f"/api/projects/{project.id}/export",
    }
    return found, {"X-API-Key": admin.key}, analysis


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


def number_in(form: str, content: bytes) -> int:
    """The annotations of a file that is whole."""
    if form == "csv":
        return content.count(b"\r\n") - 1
    if form == "yolo":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert archive.testzip() is None
            return sum(
                archive.read(name).count(b"\n") for name in archive.namelist() if name.endswith(".txt")
            )
    whole = json.loads(content)
    return len((whole if "annotations" in whole else whole["analyses"][0])["annotations"])


QUICK = {("json", "analysis"), ("yolo", "project")}


@pytest.mark.parametrize(
    ("form", "scope"),
    [
        pytest.param(form, scope, marks=[] if (form, scope) in QUICK else pytest.mark.soak)
        for form in ("json", "csv", "coco", "yolo")
        for scope in ("analysis", "project")
    ],
)
def test_a_slow_client_holds_nothing(live_server: Any, paths: Any, form: str, scope: str) -> None:
    """10 kB at a time, and in between the database is asked and written to. What was begun stays what it was."""
    addresses, headers, analysis = paths
    ask, url = held(live_server), f"/api/analyses/{analysis.id}/annotations:bulk"
    with slow_get(live_server.gunicorn.port, f"{addresses[scope]}?format={form}", headers) as answer:
        assert answer.status == 200
        pieces = [answer.read(10_000)]
        before = live_server.gunicorn.memory()
        for n in range(5):
            assert nobody(ask), "a transaction waits for the client"
            items = [box(client_id=f"new{n}")]
            assert live_server.pipeline.post(url, {"annotations": items}).status_code == 200
            pieces.append(answer.read(10_000))
        assert pieces[-1], "it was over before it was read slowly"
        assert live_server.gunicorn.memory() - before < 30 * MIB
        pieces.append(answer.read())
    assert number_in(form, b"".join(pieces)) == NUMBER


@pytest.mark.parametrize("clients", [12, pytest.param(50, marks=pytest.mark.soak)])
def test_clients_that_go_away_leave_nothing_behind(live_server: Any, paths: Any, clients: int) -> None:
    """In every format, of the analysis and of the project by turns; fifty are more than the pool has connections."""
    addresses, headers, _ = paths
    before = live_server.gunicorn.memory()
    asked = itertools.cycle([f"{path}?format={form}" for form in FORMATS for path in addresses.values()])
    for n, path in enumerate(itertools.islice(asked, clients)):
        answer = slow_get(live_server.gunicorn.port, path, headers)
        assert answer.status == 200 and answer.read(1000 if n % 2 else 1)
        answer.close()
    assert nobody(held(live_server)), "a transaction is left open"
    person = live_server.world.person("other@example.org", role="admin")
    whole = live_server.api(person, "GET", addresses["analysis"]).json()
    assert whole["annotation_count"] == len(whole["annotations"]) == NUMBER
    assert live_server.gunicorn.memory() - before < 60 * MIB
