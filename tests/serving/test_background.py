"""The background loop in real processes: one turn, taken over from a killed process, given back by one that ends."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis
from app.models.columns import now
from app.models.turns import Turn
from tests.conftest import ENVIRON
from tests.factories import World
from tests.support import database as databases
from tests.support import server as servers

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30
# looks and asks more often than the real one; tells on standard output whenever its task is done
PROCESS = """
import sys, time
from app import background, create_app
background.ASKED_EVERY, background.LOOKED_EVERY = 0.1, 0.05
def task(dry_run):
    print("done", flush=True)
    yield None
loop = background.Loop(create_app(instance_path=sys.argv[1]), {"task": background.Task(0, task)})
loop.start()
print(loop.holder, flush=True)
sys.stdin.read()
loop.stop()
"""


class Process:
    def __init__(self, environ: dict[str, str], instance: Path) -> None:
        command = [sys.executable, "-c", PROCESS, str(instance)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout
        self.said = self.process.stdout

    def line(self) -> str:
        """What it says next."""
        return self.said.readline().strip()

    def end(self) -> None:
        """Told to; what it has said by then is read."""
        self.process.communicate(timeout=PATIENCE)


@pytest.fixture
def environ(database: databases.Database) -> dict[str, str]:
    return {**ENVIRON, "DATABASE_URL": database.url}


@pytest.fixture
def two(environ: dict[str, str], instance: Path) -> Iterator[tuple[Process, Process]]:
    one, other = Process(environ, instance), Process(environ, instance)
    yield one, other
    for each in (one, other):
        each.process.kill()
        with contextlib.suppress(ValueError):  # it has been read to its end
            each.process.communicate()


def holder(app: Flask) -> str | None:
    with app.app_context():
        row = db.session.get(Turn, "background")
        return row.holder if row else None


def run_out(app: Flask) -> None:
    with app.app_context():
        db.session.get_one(Turn, "background").expires_at = now() - timedelta(seconds=1)
        db.session.commit()


@pytest.mark.soak
def test_of_two_processes_one_has_the_turn_and_it_passes_on(app: Flask, two: tuple[Process, Process]) -> None:
    """From one that is killed when its time is over, and from one that ends at once."""
    names = {process.line(): process for process in two}
    while (first := holder(app)) is None:
        time.sleep(0.02)
    (second,) = names.keys() - {first}
    for _ in range(5):
        assert names[first].line() == "done"
    assert holder(app) == first
    names[first].process.kill()
    names[first].process.wait(PATIENCE)
    assert holder(app) == first, "nobody gave it back"
    run_out(app)
    assert names[second].line() == "done"
    assert holder(app) == second
    names[second].end()
    assert holder(app) is None


def test_a_served_loupe_sweeps_by_itself(
    app: Flask, environ: dict[str, str], instance: Path, world: World, analysis: Analysis
) -> None:
    """With the settings it ships with, and as it is really started and ended."""
    with app.app_context():
        db.session.get_one(Analysis, analysis.id).deleted_at = now() - timedelta(days=31)
        db.session.commit()
    with servers.served({**environ, "BACKGROUND_LOOP": "true"}, instance) as gunicorn:
        deadline = time.monotonic() + PATIENCE
        while world.reload(analysis) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert world.reload(analysis) is None, gunicorn.log.read_text()
        assert (holder(app) or "").split("-")[-2] in {str(worker.pid) for worker in gunicorn.workers()}
        gunicorn.process.send_signal(signal.SIGTERM)
        assert gunicorn.process.wait(PATIENCE) == 0
        assert "swept (purge): analysis" in gunicorn.log.read_text()
    assert holder(app) is None, gunicorn.log.read_text()
