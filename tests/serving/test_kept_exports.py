"""Kept exports in real processes: one is killed while it writes, another writes it anew; curl resumes a download."""

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from flask import Flask

from app import create_app
from app.dialect import clock
from app.extensions import db
from app.models import Export, Image
from app.models.columns import new_id
from app.models.turns import Turn
from tests.cast import PASSWORD, Person
from tests.conftest import ENVIRON, LiveServer, dispose
from tests.factories import World
from tests.support import database as databases
from tests.support import server as servers
from tests.support.crowds import crowd

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
PATIENCE = 120  # seconds
MANY = 40_000  # annotations: written for longer than a kill takes


@pytest.fixture
def live(database: databases.Database, instance: Path) -> Iterator[LiveServer]:
    """Its background loop does what it ships with."""
    environ = {**ENVIRON, "DATABASE_URL": database.url, "BACKGROUND_LOOP": "true"}
    app = create_app(environ, instance_path=str(instance))
    with servers.served(environ, instance) as gunicorn:
        yield LiveServer(gunicorn, World(app), environ, instance)
    dispose(app)


@pytest.fixture
def session(live: LiveServer, admin: Person) -> requests.Session:
    found = requests.Session()
    page = found.get(f"{live.url}/sign-in", timeout=30).text
    data = {"csrf_token": token_of(page), "email": admin.email, "password": PASSWORD}
    assert found.post(f"{live.url}/sign-in", data=data, timeout=30).status_code == 200
    return found


def token_of(page: str) -> str:
    return re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]


def ask(live: LiveServer, session: requests.Session, **fields: str) -> Any:
    export_id = new_id()
    token = token_of(session.get(f"{live.url}/admin/exports", timeout=30).text)
    data = {"csrf_token": token, "export_id": str(export_id), **fields}
    assert session.post(f"{live.url}/admin/exports/new", data=data, timeout=60).status_code == 200
    return export_id


def wait_for(app: Flask, export_id: Any, *states: str, written: int = 0) -> Export:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with app.app_context():
            export = db.session.get_one(Export, export_id)
            db.session.expunge(export)
        if export.state in states and export.bytes_written >= written:
            return export
        time.sleep(0.02)
    raise AssertionError(f"{export.state}, {export.bytes_written} bytes, {export.error}")


def holder(live: LiveServer) -> psutil.Process:
    """The process whose turn the background work is."""
    with live.world.app.app_context():
        name = db.session.get_one(Turn, "background").holder or ""
    return next(worker for worker in live.gunicorn.workers() if str(worker.pid) == name.split("-")[-2])


def run_out(app: Flask, export_id: Any) -> None:
    """As if the time of the lease and of the turn were over."""
    with app.app_context():
        before = clock() - timedelta(seconds=1)
        db.session.get_one(Export, export_id).lease_expires_at = before
        db.session.get_one(Turn, "background").expires_at = before
        db.session.commit()


@pytest.mark.soak
def test_killed_while_it_writes_it_is_written_anew(
    live: LiveServer, session: requests.Session, image: Image
) -> None:
    app = live.world.app
    crowd(live.world, image, MANY)
    export_id = ask(live, session)
    begun = wait_for(app, export_id, "running", "done")
    assert begun.state == "running", "it was quicker than this test"
    victim = holder(live)
    victim.kill()
    psutil.wait_procs([victim], timeout=PATIENCE)
    left = wait_for(app, export_id, "running")
    assert (left.attempt, left.storage_path) == (1, None)
    assert not list((live.instance / "storage").glob("exports/**/*")), "half a file is never seen"
    run_out(app, export_id)
    done = wait_for(app, export_id, "done")
    assert done.attempt == 2 and done.annotations_done == MANY
    file = session.get(f"{live.url}/admin/exports/{export_id}/file", timeout=60)
    assert hashlib.sha256(file.content).hexdigest() == done.sha256
    assert file.json()["annotation_count"] == MANY


@pytest.mark.soak
def test_curl_goes_on_where_a_download_ended(
    live: LiveServer, session: requests.Session, admin: Person, image: Image, tmp_path: Path
) -> None:
    """As the docs say it; a key alone leads to the sign-in page."""
    crowd(live.world, image, 3000)
    export_id = ask(live, session, format="csv")
    done = wait_for(live.world.app, export_id, "done")
    url = f"{live.url}/admin/exports/{export_id}/file"
    whole = session.get(url, timeout=60)
    assert hashlib.sha256(whole.content).hexdigest() == done.sha256 and len(whole.content) > 300_000
    by_key = requests.get(url, headers={"X-API-Key": admin.key}, timeout=60, allow_redirects=False)
    assert by_key.status_code == 303 and "/sign-in" in by_key.headers["Location"]
    part = tmp_path / "export"
    part.write_bytes(whole.content[:100_001])
    [example] = re.findall(r"```sh\n([^`]*curl [^`]*-C -[^`]*)```", OPERATIONS.read_text())
    environment = {"LOUPE": live.url, "FILE": url, "EMAIL": admin.email, "PASSWORD": PASSWORD}
    done_by_it = subprocess.run(
        ["sh", "-e", "-c", example],
        cwd=tmp_path,
        env=os.environ | environment,
        check=True,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
    )
    assert done_by_it.stdout.split()[0] == done.sha256
    assert part.read_bytes() == whole.content
