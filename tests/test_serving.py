"""What only the real server shows: large bodies over a socket, many callers, the shape of its answers."""

import contextlib
import gc
import http.client
import json
import runpy
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import requests

from tests.cast import plain_signature
from tests.conftest import LiveServer

ROOT = Path(__file__).resolve().parent.parent
MIB = 1024 * 1024
SIZE = 100 * MIB
BULK = "/api/analyses/01900000-0000-7000-8000-000000000000/annotations:bulk"


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("big") / "body"
    file.write_bytes(b"x" * SIZE)
    return file


def by_requests(url: str, big: Path) -> int:
    with big.open("rb") as body:
        return requests.post(url, data=body, timeout=60).status_code


def by_requests_closing(url: str, big: Path) -> int:
    with big.open("rb") as body:
        return requests.post(url, data=body, headers={"Connection": "close"}, timeout=60).status_code


def by_urllib(url: str, big: Path) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, big.read_bytes(), method="POST"), timeout=60):
            return 200
    except urllib.error.HTTPError as answer:
        with contextlib.closing(answer):
            return answer.code


def by_http_client(url: str, big: Path) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", parts.path, big.read_bytes())
        return connection.getresponse().status


def by_curl(url: str, big: Path) -> int:
    """Asks first: Expect: 100-continue."""
    if not shutil.which("curl"):
        pytest.skip("no curl here")
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "--data-binary", f"@{big}", url]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


CLIENTS = [
    by_requests,
    *(pytest.param(by, marks=pytest.mark.soak) for by in (by_requests_closing, by_urllib, by_http_client)),
    by_curl,
]


@pytest.mark.parametrize("send", CLIENTS)
@pytest.mark.parametrize(
    ("path", "status"),
    [(BULK, 413), ("/files/ml_outputs/x/y", 405), ("/sign-in", 413), ("/api/nowhere", 404)],
)
def test_every_client_can_read_why_its_100_mb_were_refused(
    live_server: LiveServer, big: Path, send: Callable[[str, Path], int], path: str, status: int
) -> None:
    assert send(live_server.url + path, big) == status


def test_too_large_is_said_before_the_body_is_sent(live_server: LiveServer) -> None:
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", live_server.gunicorn.port), timeout=10) as client:
        client.sendall(f"POST {BULK} HTTP/1.1\r\nHost: loupe\r\nContent-Length: {SIZE}\r\n\r\n".encode())
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() - started < 8  # the body never comes


def test_memory_does_not_grow_with_what_is_refused(live_server: LiveServer, big: Path) -> None:
    url, body = live_server.url + BULK, big.read_bytes()
    moment = str(int(time.time()))
    signed = {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment)}
    requests.post(url, data=body[:MIB], timeout=60)
    before = live_server.gunicorn.memory()
    for headers in ({}, signed) * 4:
        assert requests.post(url, data=body, headers=headers, timeout=60).status_code == 413
    assert live_server.gunicorn.memory() - before < 30 * MIB


def test_a_body_without_a_length_is_cut_off_at_the_limit(live_server: LiveServer) -> None:
    def pieces() -> object:
        for _ in range(40):
            yield b" " * MIB

    moment = str(int(time.time()))
    headers = {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(b"", moment)}
    answer = requests.post(live_server.url + BULK, data=pieces(), headers=headers, timeout=60)  # type: ignore[arg-type]
    assert answer.status_code == 413
    assert json.loads(answer.text)["code"] == "payload-too-large"


def test_the_next_request_on_a_kept_connection_is_served(live_server: LiveServer, big: Path) -> None:
    with requests.Session() as session:
        refused = session.post(live_server.url + BULK, data=big.read_bytes(), timeout=60)
        served = session.get(live_server.url + "/healthz", timeout=60)
    assert (refused.status_code, served.status_code) == (413, 200)


@pytest.mark.parametrize("path", ["/projects/{}/images", "/projects", "/sign-in"])
def test_nobody_can_fill_the_disk_through_a_form(live_server, path):
    """A body of files is not even taken in from somebody who is not signed in, and a form of ours is small."""
    page = live_server.url + path.format("01900000-0000-7000-8000-000000000000")
    before = written(live_server)
    answer = requests.post(
        page, files={"file": ("a.png", b"x" * 30_000_000)}, timeout=60, allow_redirects=False
    )
    assert answer.status_code in ((303, 413) if "images" in path else (413,))
    assert written(live_server) - before < 1_000_000


def written(live_server):
    """Bytes that the workers handed to write calls."""
    return sum(worker.io_counters().write_chars for worker in live_server.gunicorn.workers())


def test_a_new_process_keeps_the_program_out_of_the_garbage_collection() -> None:
    settings = runpy.run_path(str(ROOT / "deploy" / "gunicorn.conf.py"))
    try:
        settings["post_worker_init"](SimpleNamespace(wsgi=SimpleNamespace(config={"BACKGROUND_LOOP": False})))
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()
