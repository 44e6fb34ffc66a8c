"""The poll that is answered before Flask begins: as Flask would, and only where it would say that nothing changed."""

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask, request
from sqlalchemy.exc import OperationalError

from app.models import Analysis
from app.web import polls
from tests.cast import Person
from tests.fakes import FixedClock
from tests.web.test_show_panel import HTMX, poll_address

Asked = list[str]


@pytest.fixture
def poll(analysis: Analysis, viewer: Person) -> str:
    return poll_address(viewer.client.get(f"/images/{analysis.image_id}").text)


@pytest.fixture
def flask_asked(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The methods of the requests that Flask met."""
    asked: Asked = []
    usual = app.full_dispatch_request

    def noting() -> Any:
        asked.append(request.method)
        return usual()

    monkeypatch.setattr(app, "full_dispatch_request", noting)
    return asked


@pytest.mark.parametrize("identifier", ["same", None, "not sane\u00fc", "x" * 65])
def test_it_answers_and_logs_as_flask_does(
    poll: str,
    viewer: Person,
    flask_asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    identifier: str | None,
) -> None:
    sent = HTMX | ({"X-Request-ID": identifier} if identifier else {})
    caplog.set_level(logging.INFO, "app.requests")
    quick = viewer.client.get(poll, headers=sent)
    assert flask_asked == []
    monkeypatch.setattr(polls, "PANEL", re.compile("none"))
    slow = viewer.client.get(poll, headers=sent)
    assert flask_asked == ["GET"]
    for answer in (quick, slow):
        assert (answer.status_code, answer.data) == (204, b"")
        made = answer.headers.pop("X-Request-ID")
        assert made == "same" if identifier == "same" else re.fullmatch("[0-9a-f]{32}", made)
        answer.close()
    assert sorted(quick.headers) == sorted(slow.headers)
    lines = [record.fields for record in caplog.records if record.name == "app.requests"][-2:]  # type: ignore[attr-defined]
    for line in lines:
        assert line.pop("request_id") and line.pop("duration_ms")
    assert lines[0] == lines[1]
    assert (lines[0]["actor"], lines[0]["route"]) == (f"user:{viewer.id}", polls.ROUTE)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"HX-Request": "false"}, 200),
        ({"HX-History-Restore-Request": "true"}, 200),
        ({"X-User-Email": "owner@example.org"}, 204),
        ({"Upgrade": "h2c"}, 204),
        ({"Transfer-Encoding": "chunked"}, 204),
        ({"Cookie": "loupe=nobody"}, 401),
    ],
)
def test_what_is_unusual_goes_the_long_way(
    poll: str, viewer: Person, flask_asked: Asked, sent: dict[str, str], status: int
) -> None:
    client = viewer.app.test_client(use_cookies=False) if "Cookie" in sent else viewer.client
    assert client.get(poll, headers=HTMX | sent).status_code == status
    assert flask_asked == ["GET"]


@pytest.mark.parametrize(("length", "status"), [("1", 204), ("x", 204), (str(2**40), 413)])
def test_what_has_a_body_goes_the_long_way(
    poll: str, viewer: Person, flask_asked: Asked, length: str, status: int
) -> None:
    sent = {"CONTENT_LENGTH": length}
    assert viewer.client.get(poll, headers=HTMX, environ_overrides=sent).status_code == status
    assert flask_asked == ["GET"]


def test_other_methods_and_addresses_go_the_long_way(
    app: Flask, poll: str, viewer: Person, analysis: Analysis, flask_asked: Asked
) -> None:
    assert viewer.client.head(poll, headers=HTMX).status_code == 204
    assert viewer.client.post(poll, headers=HTMX).status_code == 405
    assert viewer.client.get(poll.replace("/panel", "/panel/"), headers=HTMX).status_code == 404
    wanted = str(analysis.image_id)
    assert viewer.client.get(poll.replace(wanted, wanted.upper()), headers=HTMX).status_code == 204
    app.config["ML_ANALYSIS_ENABLED"] = False
    assert viewer.client.get(poll, headers=HTMX).status_code == 404
    assert flask_asked == ["HEAD", "POST", "GET", "GET", "GET"]


def test_who_may_not_look_is_told_so_by_the_guard(
    poll: str, viewer: Person, stranger: Person, analysis: Analysis, flask_asked: Asked
) -> None:
    assert stranger.client.get("/").status_code == 200  # signed in
    flask_asked.clear()
    assert stranger.client.get(poll, headers=HTMX).status_code == 403
    none = poll.replace(str(analysis.image_id), "0" * 8 + "-0000-0000-0000-" + "0" * 12)
    assert viewer.client.get(none, headers=HTMX).status_code == 404
    assert flask_asked == ["GET", "GET"]


def test_the_first_of_a_day_renews_the_cookie(
    app: Flask, poll: str, viewer: Person, flask_asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FixedClock(datetime.now(UTC) + timedelta(days=1))
    monkeypatch.setitem(app.extensions, "clock", clock)
    answers = [viewer.client.get(poll, headers=HTMX) for _ in range(2)]
    assert ["Set-Cookie" in answer.headers for answer in answers] == [True, False]
    assert flask_asked == ["GET"]


def test_what_changed_is_looked_at_once(
    poll: str, viewer: Person, count_queries: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = re.sub(r"version=[^&]*", "version=q0-000000", poll)
    counts = []
    for panel in (polls.PANEL, re.compile("none")):
        monkeypatch.setattr(polls, "PANEL", panel)
        with count_queries() as statements:
            assert viewer.client.get(changed, headers=HTMX).status_code == 200
        counts.append(len(statements))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OperationalError("SELECT", {}, Exception("gone")), 503),
        (KeyError("a status of a later release"), 500),
    ],
)
def test_what_fails_is_asked_once_and_answered_as_anywhere(
    app: Flask,
    poll: str,
    viewer: Person,
    monkeypatch: pytest.MonkeyPatch,
    count_queries: Callable[[], Any],
    error: Exception,
    status: int,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(app.config, "PROPAGATE_EXCEPTIONS", False)
    monkeypatch.setattr(polls, "look", fail)
    with count_queries() as statements:
        answer = viewer.client.get(poll, headers=HTMX)
    assert answer.status_code == status and answer.headers["X-Request-ID"]
    assert len(statements) == 0
