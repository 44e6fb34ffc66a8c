"""/healthz and /readyz."""

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.storage import LocalStorage
from tests.cast import Pipeline
from tests.html import LintClient
from tests.steps import check_problem
from tests.support.s3 import Bucket


def test_both_say_ok_to_anyone(client: LintClient) -> None:
    for path in ("/healthz", "/readyz"):
        answer = client.get(path)
        assert (answer.status_code, answer.json) == (200, {"status": "ok"})
        assert answer.headers["Cache-Control"] == "no-store"
        assert client.head(path).status_code == 200
        assert client.post(path).status_code == 405


def test_without_a_database_it_lives_but_is_not_ready(make_app: Callable[..., Flask], caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL)
    lost = make_app(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none").test_client()
    assert lost.get("/healthz").status_code == 200
    answer = lost.get("/readyz")
    check_problem(answer, 503, "database-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in answer.text


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of something that takes connections and never says a word, as behind a broken network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_it_says_so_soon_when_the_database_says_nothing(
    make_app: Callable[..., Flask], silent: int, caplog: Any
) -> None:
    lost = make_app(DATABASE_URL=f"postgresql://nobody@127.0.0.1:{silent}/none").test_client()
    started = time.monotonic()
    check_problem(lost.get("/readyz"), 503, "database-unavailable")
    assert time.monotonic() - started < 6
    assert lost.get("/healthz").status_code == 200


def test_it_says_so_soon_when_the_store_says_nothing(
    make_app: Callable[..., Flask], s3: Bucket, silent: int
) -> None:
    lost = make_app(**s3.environ | {"S3_ENDPOINT": f"http://127.0.0.1:{silent}"}).test_client()
    started = time.monotonic()
    check_problem(lost.get("/readyz"), 503, "storage-unavailable")
    assert time.monotonic() - started < 6


def test_when_every_connection_is_taken_it_is_ready_and_too_busy(app: Flask, owner: Any) -> None:
    """A request waits a few seconds for one and is then told to come back; readiness asks over its own."""
    with app.app_context():
        engine = db.engine
    with contextlib.ExitStack() as stack:
        for _ in range(15):
            stack.enter_context(engine.connect())
        started = time.monotonic()
        answer = owner.api("GET", "/api/projects")
        assert 4 < time.monotonic() - started < 12
        check_problem(answer, 503, "database-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert app.test_client().get("/readyz").status_code == 200
    assert owner.api("GET", "/api/projects").status_code == 200


def test_without_a_disk_it_is_not_ready(app: Flask, tmp_path: Path) -> None:
    blocked = tmp_path / "storage"
    blocked.write_text("a file where the directory should be")
    app.extensions["storage"] = LocalStorage(blocked, "secret")
    client = app.test_client()
    assert client.get("/healthz").status_code == 200
    check_problem(client.get("/readyz"), 503, "storage-unavailable")


def test_with_a_bucket_it_is_ready_and_without_it_is_not(make_app: Callable[..., Flask], s3: Bucket) -> None:
    assert make_app(**s3.environ).test_client().get("/readyz").status_code == 200
    missing = make_app(**s3.environ | {"S3_BUCKET": "there-is-none"})
    check_problem(missing.test_client().get("/readyz"), 503, "storage-unavailable")


def test_nothing_of_a_request_matters(client: LintClient, pipeline: Pipeline) -> None:
    headers = {"X-API-Key": "wrong", "X-ML-Timestamp": "x", "Cookie": "loupe=x"}
    for path in ("/healthz", "/readyz"):
        assert client.get(path, headers=headers).status_code == 200
