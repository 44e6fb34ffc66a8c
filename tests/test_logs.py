"""The log: one line of JSON for each request, and nothing from outside that could forge or break a line."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import requests
from flask import Flask

from app import logs
from app.models import Analysis, Image, Principal
from app.storage import LocalStorage
from tests.cast import Person, Pipeline
from tests.conftest import ENVIRON, LiveServer
from tests.html import LintClient
from tests.steps import box, store
from tests.support.server import ROOT

HOSTILE = [
    'a\n{"level": "INFO", "message": "forged"}',
    "a\r\nb",
    "a\u2028b\u2029c\x85d",
    "\x1b[2J\x1b[31mred\x9b0m",
    "\x00\x07\x08\x0b\x0c\x7f",
    "\ud800 alone \udfff",
    '"}\\',
    "\U0001f600 ü \u202e",
    b"\xff\n\x00bytes",
    float("nan"),
    {"a\nb": "c\nd"},
    [1, "\n"],
]


class Unprintable:
    def __str__(self) -> str:
        raise ValueError("no text")


def line_of(message: object, *args: object, **more: Any) -> dict[str, Any]:
    """What the formatter makes of it, after checking that it is one line of printable ASCII."""
    record = logging.LogRecord("app", logging.INFO, __file__, 1, message, args, more.pop("exc_info", None))
    record.__dict__.update(more)
    text = logs.JsonLines().format(record)
    assert re.fullmatch(r"[\x20-\x7e]+", text), text
    parsed: dict[str, Any] = json.loads(text)
    json.dumps(parsed).encode("ascii")
    assert not re.search(r"[\ud800-\udfff]", str(parsed)), "a lone surrogate"
    return parsed


@pytest.mark.parametrize("value", [*HOSTILE, Unprintable(), None, 10**400])
def test_no_value_can_break_a_line(value: object) -> None:
    assert line_of(value)["level"] == "INFO"
    assert line_of("said %s", value)["message"].startswith("said ")
    assert "x" in line_of("fields", fields={"x": value})
    try:
        raise RuntimeError(value)
    except RuntimeError:
        exception = line_of("failed", exc_info=sys.exc_info())["exception"]
    assert exception["type"] == "RuntimeError"
    assert exception["traceback"].startswith("Traceback") or len(exception["traceback"]) == logs.LONGEST


def test_plain_lines_are_written_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What orjson wrote reads like what our own way writes, whatever stands in it."""
    texts = [
        "plain",
        "",
        'a "quoted\\ one"',
        "two\nlines\x00\x1f",
        "\x7f",
        "ü\U0001f600",
        "\ud800",
        "x" * 9000,
    ]
    others = [True, None, 0, -1.5, 1e300, 2**63, 2**64, float("inf"), float("nan"), [1], {"a": "b"}, b"x"]
    for value in [*texts, *others]:
        quick = line_of("said", fields={"x": value})
        with monkeypatch.context() as patched:
            patched.setattr(logs, "PLAIN", frozenset())
            assert line_of("said", fields={"x": value}) == {**quick, "time": ANY}, repr(value)


def test_a_line_has_its_time_in_utc_and_a_bound() -> None:
    line = line_of("x" * 1_000_000)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert len(line["message"]) == logs.LONGEST


def test_arguments_that_do_not_fit_do_not_lose_the_line() -> None:
    assert line_of("%s and %s", "one")["message"] == "%s and %s"


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the lines of the requests say so far. A line is written when the answer is closed, as every server does."""
    caplog.set_level(logging.INFO, "app.requests")
    yield lambda: [record.fields for record in caplog.records if record.name == "app.requests"]  # type: ignore[attr-defined]


def test_a_request_is_one_line_without_anything_the_caller_wrote(
    lines: Callable[[], list[dict[str, Any]]], client: LintClient
) -> None:
    client.get(
        "/sign-in?next=/x&secret=1", headers={"X-Request-ID": "mine-1", "User-Agent": "a\x1b[2Jb"}
    ).close()
    (line,) = lines()
    assert line.pop("duration_ms") > 0
    assert line.pop("bytes") > 1000
    assert line == {
        "request_id": "mine-1",
        "actor": "anonymous",
        "method": "GET",
        "route": "/sign-in",
        "status": 200,
        "remote": "127.0.0.1",
    }


def test_the_route_is_the_rule_and_null_where_there_is_none(
    lines: Callable[[], list[dict[str, Any]]], editor: Person, image: Image
) -> None:
    editor.api("GET", f"/api/images/{image.id}").close()
    editor.api("GET", "/api/no\nwhere").close()
    editor.api("PUT", f"/api/images/{image.id}").close()
    found = [(line["route"], line["status"], line["actor"]) for line in lines()]
    assert found == [
        ("/api/images/<uuid:image_id>", 200, f"user:{editor.id}"),
        (None, 404, "anonymous"),
        (None, 405, "anonymous"),
    ]


def test_the_pipeline_is_named_and_whoever_lent_it_a_key(
    lines: Callable[[], list[dict[str, Any]]], pipeline: Pipeline, analysis: Analysis, editor: Person
) -> None:
    path = f"/api/analyses/{analysis.id}/status"
    pipeline.patch(path, {"status": "processing"}).close()
    pipeline.patch(path, {"status": "processing"}, headers={"X-API-Key": editor.key}).close()
    pipeline.patch(path, {"status": "processing"}, secret="wrong").close()
    assert [line["actor"] for line in lines()] == ["pipeline", f"pipeline+user:{editor.id}", "anonymous"]
    assert Principal("system").actor == "system"


def test_static_files_and_probes_have_no_line(
    lines: Callable[[], list[dict[str, Any]]], client: LintClient
) -> None:
    for path in ("/static/style.css", "/healthz", "/readyz"):
        with client.get(path) as answer:
            assert answer.status_code == 200
    assert lines() == []
    client.get("/static/nothing.css").close()
    client.post("/healthz").close()
    assert [line["status"] for line in lines()] == [404, 405]


def test_an_export_is_counted_whole(
    lines: Callable[[], list[dict[str, Any]]], pipeline: Pipeline, analysis: Analysis, viewer: Person
) -> None:
    store(pipeline, analysis, [box() for _ in range(2500)])
    answer = viewer.api("GET", f"/api/analyses/{analysis.id}/export?format=csv")
    length = len(answer.data)
    answer.close()
    line = lines()[-1]
    assert (line["bytes"], line["status"]) == (length, 200)
    assert line["route"] == "/api/analyses/<uuid:analysis_id>/export"
    assert "cut_off" not in line


def test_an_answer_nobody_waited_for_is_marked(
    lines: Callable[[], list[dict[str, Any]]],
    caplog: pytest.LogCaptureFixture,
    pipeline: Pipeline,
    analysis: Analysis,
    viewer: Person,
) -> None:
    store(pipeline, analysis, [box() for _ in range(2500)])
    path = f"/api/analyses/{analysis.id}/export?format=csv"
    client = viewer.app.test_client(use_cookies=False)
    answer = client.get(path, headers={"X-API-Key": viewer.key}, buffered=False)
    next(iter(answer.response))
    answer.close()
    assert lines()[-1]["cut_off"] is True
    assert [record.levelname for record in caplog.records if record.name == "app.requests"][-1] == "INFO"


def test_a_stream_that_fails_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Its status was sent as 200 long before."""
    caplog.set_level(logging.INFO, "app.requests")

    def failing(_environ: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [])
        yield b"half"
        raise OSError("the rest is gone")

    environ = {"REQUEST_METHOD": "GET", "REMOTE_ADDR": "192.0.2.7"}
    answer: Any = logs.RequestLog(failing)(environ, lambda *_: lambda _: None)
    assert next(answer) == b"half"
    with pytest.raises(OSError, match="the rest is gone"):
        next(answer)
    answer.close()
    (record,) = caplog.records
    fields = record.fields  # type: ignore[attr-defined]
    assert (record.levelname, fields["cut_off"], fields["status"]) == ("ERROR", True, 200)


def test_an_exception_is_one_line_with_the_id_of_its_request(app: Flask, caplog: Any, tmp_path: Path) -> None:
    app.extensions["storage"] = Mistaken(tmp_path, "secret")
    answer = app.test_client().get("/readyz", headers={"X-Request-ID": "mine-2"})
    assert answer.status_code == 500
    (record,) = [record for record in caplog.records if record.exc_info]
    with app.test_request_context("/", headers={"X-Request-ID": "mine-2"}):
        app.preprocess_request()
        line = json.loads(logs.JsonLines().format(record))
    assert line["request_id"] == "mine-2"
    assert (line["exception"]["type"], line["exception"]["message"]) == ("ValueError", "two\nlines")
    assert "in show_readiness" in line["exception"]["traceback"]


class Mistaken(LocalStorage):
    def check(self) -> None:
        raise ValueError("two\nlines")


def lines_of(server: LiveServer) -> list[dict[str, Any]]:
    """Every line of the file is JSON, whoever wrote it."""
    return [json.loads(line) for line in server.gunicorn.log.read_text().split("\n") if line]


def test_gunicorn_writes_the_same_lines(live_server: LiveServer) -> None:
    before = len(lines_of(live_server))
    marked = {"X-Request-ID": "mine-3", "User-Agent": "x\u00ff", "Referer": "http://x/?key=secret-in-referer"}
    for _ in range(3):
        requests.get(live_server.url + "/sign-in?signature=secret-in-query", headers=marked, timeout=10)
    requests.get(live_server.url + "/sign-in", headers={"X-API-Key": "secret\x01key"}, timeout=10)
    requests.request("GET", live_server.url + "/%0a%7b%22level%22/" + "x" * 5000, timeout=10)
    deadline = time.monotonic() + 10  # a line is written a moment after its answer has come
    while live_server.gunicorn.log.read_text().count("mine-3") < 3:
        assert time.monotonic() < deadline, "the lines did not come"
        time.sleep(0.05)
    said = lines_of(live_server)
    assert "Listening at: " + live_server.url in " ".join(line["message"] for line in said)
    found = said[before:]
    mine = [line for line in found if line.get("request_id") == "mine-3"]
    assert [(line["logger"], line["status"]) for line in mine] == [("app.requests", 200)] * 3
    refused = [line["message"] for line in found if line["level"] == "WARNING"]
    assert refused == [
        "Invalid request from ip=127.0.0.1: InvalidHeader",
        "Invalid request from ip=127.0.0.1: LimitRequestLine",
    ]
    text = live_server.gunicorn.log.read_text()
    assert "secret" not in text
    assert text.isascii()


def test_what_python_itself_would_print_is_a_line_too() -> None:
    """In a process of its own: pytest has its own hooks in these places."""
    code = """
import threading, warnings
from app import logs

class Broken:
    def __del__(self):
        raise ValueError("while going")

logs.take_over()
Broken()
warnings.warn("old")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["logger"] for line in lines] == ["python", "py.warnings", "python"]
    assert [line.get("exception", {}).get("type") for line in lines] == [
        "ValueError",
        None,
        "ZeroDivisionError",
    ]


def test_a_command_speaks_to_people_and_warns_in_a_line(tmp_path: Path) -> None:
    environment = {**ENVIRON, "PATH": os.environ["PATH"], "DATABASE_URL": f"sqlite:///{tmp_path}/x.sqlite"}
    environment |= {"SECRET_KEY": "short", "FLASK_SKIP_DOTENV": "1"}
    command = [sys.executable, "-W", "error", "-m", "flask", "--app", "wsgi", "routes"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert "web.list_projects" in ended.stdout
    (line,) = [json.loads(line) for line in ended.stderr.splitlines()]
    assert (line["level"], line["logger"]) == ("WARNING", "app")
    assert "SECRET_KEY has fewer than" in line["message"]
