"""Workers against each other over real HTTP, and one that is stopped in the middle of its work."""

import json
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Barrier

import pytest
import requests

from app.extensions import db
from app.models import Analysis, Annotation, Artifact, AuditEvent
from app.models.columns import now
from app.services import leases
from tests.support import database as databases
from tests.support.server import ROOT
from tests.support.worker import WRITES


@pytest.fixture
def world(live_server):
    return live_server.world


@pytest.fixture
def image(world):
    return world.image(world.project("Leaves"))


@pytest.fixture
def pipeline(live_server):
    return live_server.pipeline


def test_one_winner(live_server, image):
    check_one_winner(live_server, image, workers=16, rounds=3)


@pytest.mark.soak
def test_one_winner_of_64(serve):
    """On SQLite against sixteen processes, which take turns at its one writer, and so fewer rounds."""
    on_sqlite = databases.KIND == "sqlite"
    server = serve(WEB_CONCURRENCY="16" if on_sqlite else "2")
    image = server.world.image(server.world.project("Leaves"))
    check_one_winner(server, image, workers=64, rounds=200 if on_sqlite else 1000)


def connected(server):
    """A pipeline with a connection of its own, which it keeps."""
    session = requests.Session()

    def send(method, path, body, headers):
        return session.request(method, server.url + path, data=body, headers=dict(headers), timeout=60)

    return replace(server.pipeline, send=send)


def check_one_winner(server, image, workers, rounds):
    world, start = server.world, Barrier(workers)

    def claim(path, number, pipeline):
        start.wait(10)
        return pipeline.post(f"{path}/claim", {"worker_id": f"worker-{number}"})

    with ThreadPoolExecutor(workers) as pool:
        pipelines = [connected(server) for _ in range(workers)]
        for turn in range(rounds):
            analysis = world.analysis(image)
            path = f"/api/analyses/{analysis.id}"
            answers = list(pool.map(partial(claim, path), range(workers), pipelines))
            assert Counter(answer.status_code for answer in answers) == {200: 1, 409: workers - 1}
            assert {answer.json()["code"] for answer in answers if not answer.ok} == {"already-claimed"}
            (won,) = (answer.json() for answer in answers if answer.ok)
            stored = world.reload(analysis)
            assert (stored.lease_epoch, stored.revision) == (1, 2), turn
            token = {"X-ML-Lease-Token": won["lease_token"]}
            assert pipelines[0].post(f"{path}/heartbeat", {}, headers=token).status_code == 200
    assert world.count(AuditEvent, action="analysis.claimed") == rounds


def test_what_is_next_is_given_out_once(at_once, pipeline, world, image):
    jobs = [str(world.analysis(image).id) for _ in range(12)]

    def claim(number):
        return lambda: pipeline.post("/api/analyses:claim", {"worker_id": f"worker-{number}"})

    answers = at_once([claim(number) for number in range(16)])
    assert {answer.status_code for answer in answers} == {200}
    got = [row["id"] for answer in answers for row in answer.json()["analyses"]]
    assert sorted(got) == sorted(jobs)


def test_one_request_again_and_again(at_once, pipeline, world, image):
    for _ in range(8):
        world.analysis(image)
    key, body = {"Idempotency-Key": "night-1"}, {"worker_id": "gpu-1", "max": 2}
    answers = at_once([lambda: pipeline.post("/api/analyses:claim", body, headers=key)] * 8)
    tokens = [{row["lease_token"] for row in answer.json()["analyses"]} for answer in answers]
    assert len(tokens[0]) == 2 and tokens == tokens[:1] * 8
    assert world.count(Analysis, status="processing") == 2


# --- a worker that was stopped -----------------------------------------------------------------------------------


@pytest.fixture
def worker(live_server, world, image):
    """A worker that holds the one analysis there is, in a process of its own."""
    world.analysis(image)
    command = [sys.executable, "-m", "tests.support.worker", live_server.url]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_a_worker_that_was_stopped_past_its_lease_writes_nothing(world, pipeline, worker):
    analysis_id = json.loads(worker.stdout.readline())
    worker.send_signal(signal.SIGSTOP)
    (stopped,) = world.rows(Analysis)
    assert (str(stopped.id), stopped.status, stopped.lease_owner) == (analysis_id, "processing", "stopped")
    with world.app.app_context():  # the time passes, and the sweeper comes
        db.session.get_one(Analysis, stopped.id).lease_expires_at = now() - timedelta(seconds=1)
        db.session.commit()
        assert list(leases.expired()) == [stopped.id]
        assert leases.expire(stopped.id, retries=1)
        db.session.commit()
    (again,) = pipeline.post("/api/analyses:claim", {"worker_id": "successor"}).json()["analyses"]
    assert (again["attempt"], again["retry_of_id"]) == (2, analysis_id)
    events = world.count(AuditEvent)
    worker.send_signal(signal.SIGCONT)
    answers, _ = worker.communicate("write\n", timeout=30)
    assert json.loads(answers) == [[409, "lease-lost"]] * len(WRITES)
    assert (world.count(Annotation), world.count(Artifact), world.count(AuditEvent)) == (0, 0, events)
    first, second = world.rows(Analysis)
    assert (first.status, first.error_message) == ("failed", "lease_expired")
    assert second.status == "processing"
    token = {"X-ML-Lease-Token": again["lease_token"]}
    done = pipeline.post(f"/api/analyses/{again['id']}/finalize", {"status": "completed"}, headers=token)
    assert done.status_code == 200
