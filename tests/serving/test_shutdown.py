"""SIGTERM answers what is in flight, SIGHUP loses no request, and a killed process is replaced."""

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from app import create_app
from app.models import Analysis, Annotation, Image
from tests.cast import Person, encode, plain_signature
from tests.conftest import ENVIRON, LiveServer, dispose
from tests.factories import World, picture
from tests.serving.load import Ask, slow_get, under_load
from tests.steps import box
from tests.support import database as databases
from tests.support import server as servers

GRACE = 30  # graceful_timeout of deploy/gunicorn.conf.py
EXPORTED = 20_000
BULK = 5000


@pytest.fixture
def live(database: databases.Database, instance: Path) -> Iterator[LiveServer]:
    """A server of its own, which the test may end."""
    environ = {**ENVIRON, "DATABASE_URL": database.url}
    app = create_app(environ, instance_path=str(instance))
    with servers.served(environ, instance) as gunicorn:
        yield LiveServer(gunicorn, World(app), environ, instance)
    dispose(app)


@pytest.fixture
def person(live: LiveServer) -> Person:
    return live.world.person("editor@example.org")


@pytest.fixture
def analysis(live: LiveServer, person: Person) -> Analysis:
    world = live.world
    return world.analysis(world.image(world.project("Leaves", editor=person)), "processing")


def bulk_path(analysis: Analysis) -> str:
    return f"/api/analyses/{analysis.id}/annotations:bulk"


class Halfway:
    """A request of which half has been sent, so that it is in flight for as long as the test likes."""

    def __init__(self, port: int, path: str, body: bytes, headers: dict[str, str]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GRACE)
        self.connection.putrequest("POST", path)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        self.rest = body[len(body) // 2 :]
        self.connection.send(body[: len(body) // 2])

    def finish(self) -> tuple[int, Any]:
        with contextlib.closing(self.connection):
            self.connection.send(self.rest)
            answer = self.connection.getresponse()
            return answer.status, json.loads(answer.read())


def upload(live: LiveServer, person: Person, analysis: Analysis) -> Halfway:
    image = live.api(person, "GET", f"/api/images/{analysis.image_id}").json()
    prepared = requests.Request(
        "POST", "http://x/", files={"file": ("leaf.png", picture(900, 700))}
    ).prepare()
    headers = {"Content-Type": prepared.headers["Content-Type"], "X-API-Key": person.key}
    assert isinstance(prepared.body, bytes)
    path = f"/api/projects/{image['project_id']}/images"
    return Halfway(live.gunicorn.port, path, prepared.body, headers)


def bulk(live: LiveServer, analysis: Analysis) -> Halfway:
    body, moment = encode({"annotations": [box() for _ in range(BULK)]}), str(int(time.time()))
    headers = {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment)}
    return Halfway(live.gunicorn.port, bulk_path(analysis), body, headers)


def slow_export(live: LiveServer, person: Person, analysis: Analysis) -> http.client.HTTPResponse:
    """Its head has come; the rest waits until somebody reads on."""
    rows = {"annotations": [box() for _ in range(EXPORTED // 4)]}
    for batch in range(4):
        sent = live.pipeline.post(bulk_path(analysis), rows, headers={"Idempotency-Key": f"batch-{batch}"})
        assert sent.status_code == 200, sent.text
    path = f"/api/analyses/{analysis.id}/export?format=csv"
    return slow_get(live.gunicorn.port, path, {"X-API-Key": person.key})


def test_sigterm_answers_what_is_in_flight(live: LiveServer, person: Person, analysis: Analysis) -> None:
    (image_row,) = live.world.rows(Image, id=analysis.image_id)
    other = live.world.analysis(image_row, "processing")
    export = slow_export(live, person, analysis)
    assert export.status == 200
    first = export.read(1000)
    in_flight = [upload(live, person, analysis), bulk(live, other)]
    time.sleep(2)  # both processes have taken up what was sent
    live.gunicorn.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    time.sleep(1)  # whoever does not wait has ended by now
    assert live.gunicorn.process.poll() is None
    (uploaded, image), (stored, receipt) = [request.finish() for request in in_flight]
    with export:
        text = first + export.read()
    assert (uploaded, image["width"]) == (201, 900)
    assert (stored, receipt["inserted"]) == (200, BULK)
    assert text.count(b"\n") == EXPORTED + 1
    assert live.gunicorn.process.wait(GRACE) == 0
    assert time.monotonic() - started < GRACE
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", live.gunicorn.port), timeout=5)
    assert live.world.count(Annotation, analysis_id=other.id) == BULK
    lines = [json.loads(line) for line in live.gunicorn.log.read_text().splitlines() if line.startswith("{")]
    assert {line["status"] for line in lines if "status" in line} <= {200, 201}
    assert not [line for line in lines if line["level"] in ("ERROR", "CRITICAL")]


def clients(live: LiveServer, person: Person, analysis: Analysis) -> list[tuple[str, Ask]]:
    def read(session: requests.Session) -> requests.Response:
        path = f"{live.url}/api/analyses/{analysis.id}"
        return session.get(path, headers={"X-API-Key": person.key}, timeout=GRACE)

    def write(session: requests.Session) -> requests.Response:
        body, moment = encode({"annotations": [box() for _ in range(10)]}), str(int(time.time()))
        headers = {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment)}
        headers["Idempotency-Key"] = f"{threading.get_ident()}-{time.monotonic_ns()}"
        headers["Connection"] = "close"
        return session.post(live.url + bulk_path(analysis), data=body, headers=headers, timeout=GRACE)

    return [("read", read), ("write", write)] * 2


def wait_until(condition: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


@pytest.mark.soak
def test_sighup_replaces_the_processes_and_loses_no_request(
    live: LiveServer, person: Person, analysis: Analysis
) -> None:
    before = {worker.pid for worker in live.gunicorn.workers()}
    with under_load(clients(live, person, analysis)) as load:
        load.wait_for_success({"read", "write"}, time.monotonic(), 60)
        os.kill(live.gunicorn.process.pid, signal.SIGHUP)
        wait_until(lambda: not before & {worker.pid for worker in live.gunicorn.workers()})
        load.wait_for_success({"read", "write"}, time.monotonic(), 60)
    assert {answer.status for answer in load.answers} == {200}
    assert len(live.gunicorn.workers()) == len(before)
    assert live.world.count(Annotation, analysis_id=analysis.id) == 10 * len(load.of("write"))


def test_a_killed_process_is_replaced_and_its_peer_goes_on(live: LiveServer, person: Person) -> None:
    victim, peer = live.gunicorn.workers()
    victim.kill()
    wait_until(lambda: victim.pid not in {worker.pid for worker in live.gunicorn.workers()})
    assert requests.get(live.url + "/readyz", timeout=10).status_code == 200
    wait_until(lambda: len(live.gunicorn.workers()) == 2)
    assert peer.is_running()
    lines = [json.loads(line) for line in live.gunicorn.log.read_text().splitlines()]
    assert f"Worker (pid:{victim.pid}) was sent SIGKILL! Perhaps out of memory?" in {
        line["message"] for line in lines
    }
