"""Serving processes are killed in the middle of bulks: what was acknowledged is there once, and no batch in part."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import requests

from app import create_app
from app.extensions import db
from app.models import Analysis, Annotation
from tests.cast import encode
from tests.conftest import ENVIRON, LiveServer, dispose
from tests.factories import World
from tests.steps import box
from tests.support import database as databases
from tests.support import server as servers

BATCH = 500  # annotations: long enough under way to be met by a kill
SENDERS = 4
PATIENCE = 120  # seconds


@pytest.fixture
def live(database: databases.Database, instance: Path) -> Iterator[LiveServer]:
    environ = {**ENVIRON, "DATABASE_URL": database.url}
    app = create_app(environ, instance_path=str(instance))
    with servers.served(environ, instance) as gunicorn:
        yield LiveServer(gunicorn, World(app), environ, instance)
    dispose(app)


class Sender(threading.Thread):
    """Sends one batch after the other, each until it is acknowledged, as a pipeline should."""

    def __init__(self, live: LiveServer, analysis_id: UUID, name: str, stop: threading.Event) -> None:
        super().__init__()
        self.live, self.path = live, f"/api/analyses/{analysis_id}/annotations:bulk"
        self.batch, self.stop, self.acknowledged, self.cut_off = name, stop, 0, 0

    def run(self) -> None:
        while not self.stop.is_set():
            name = f"{self.batch}.{self.acknowledged}"
            items = [box(client_id=f"{name}.{n}", class_name=name) for n in range(BATCH)]
            self.send(encode({"annotations": items}))
            self.acknowledged += 1

    def send(self, body: bytes) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                answer = self.live.pipeline.post(self.path, raw=body)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                self.cut_off += 1
                continue
            if answer.status_code == 200:
                return
            assert answer.status_code == 503, answer.text
        raise AssertionError("a batch was never acknowledged")


def held(world: World) -> dict[str, int]:
    """How many annotations there are of each batch."""
    with world.app.app_context():
        statement = db.select(Annotation.class_name, db.func.count()).group_by(Annotation.class_name)
        return {str(name): count for name, count in db.session.execute(statement)}


def kill_one(live: LiveServer) -> None:
    """SIGKILL, as by a machine that has no memory left; gunicorn puts another in its place."""
    deadline = time.monotonic() + PATIENCE
    while not (workers := live.gunicorn.workers()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim = random.choice(workers)
    victim.kill()
    psutil.wait_procs([victim], timeout=PATIENCE)


def wait_for_work(senders: list[Sender]) -> None:
    """Until as many more batches were acknowledged as there are senders."""
    sent = sum(sender.acknowledged for sender in senders)
    deadline = time.monotonic() + PATIENCE
    while sum(sender.acknowledged for sender in senders) < sent + len(senders):
        assert time.monotonic() < deadline and all(sender.is_alive() for sender in senders)
        time.sleep(0.005)


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.soak)])
def test_what_was_acknowledged_is_there_once(live: LiveServer, kills: int) -> None:
    world, stop = live.world, threading.Event()
    analysis = world.analysis(world.image(world.project("Leaves")), "processing")
    senders = [Sender(live, analysis.id, f"sender-{n}", stop) for n in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        met, deadline = 0, time.monotonic() + PATIENCE * kills
        while met < kills:  # a kill may also meet a worker that only starts, or waits: it does not count
            assert time.monotonic() < deadline, f"{met} kills met a request"
            wait_for_work(senders)
            cut_off = sum(sender.cut_off for sender in senders)
            kill_one(live)
            assert set(held(world).values()) <= {BATCH}
            met += sum(sender.cut_off for sender in senders) > cut_off
    finally:
        stop.set()
        for sender in senders:
            sender.join(PATIENCE)
    wanted = {f"{sender.batch}.{n}": BATCH for sender in senders for n in range(sender.acknowledged)}
    assert held(world) == wanted
    stored: Analysis = world.reload(analysis)
    assert stored.annotation_count == sum(wanted.values())
