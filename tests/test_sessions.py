"""The signature of a session's cookie is checked once; what it holds and how old it is, at each request."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner

from app import sessions


@pytest.fixture
def opened(app: Flask) -> Callable[[str], dict[str, Any]]:
    """What a request with this cookie finds in its session."""

    def found(cookie: str) -> dict[str, Any]:
        with app.test_request_context("/", headers={"Cookie": f"loupe={cookie}"}) as context:
            return dict(context.session)

    return found


@pytest.fixture
def sign(app: Flask) -> Callable[[dict[str, Any]], str]:
    serializer = SecureCookieSessionInterface().get_signing_serializer(app)
    assert serializer is not None
    return serializer.dumps


def test_a_right_cookie_is_opened_and_any_other_is_empty(
    opened: Callable[[str], dict[str, Any]], sign: Callable[[dict[str, Any]], str]
) -> None:
    cookie = sign({"user_id": "one"})
    payload, moment, mac = cookie.split(".")
    other = sign({"user_id": "two"}).split(".")[0]
    for _ in range(2):
        assert opened(cookie) == {"user_id": "one"}
        for wrong in (
            f"{other}.{moment}.{mac}",
            f"{payload}.{moment}.{mac[:-2]}AA",
            f"{payload}.{moment}",
            "x",
        ):
            assert opened(wrong) == {}, wrong


def test_nobody_changes_what_the_next_finds(app: Flask, sign: Callable[[dict[str, Any]], str]) -> None:
    cookie = {"Cookie": "loupe=" + sign({"_flashes": [["message", "one"]]})}
    with app.test_request_context("/", headers=cookie) as context:
        context.session["_flashes"].append(["message", "two"])
    with app.test_request_context("/", headers=cookie) as context:
        assert context.session["_flashes"] == [["message", "one"]]


def test_it_ends_though_it_was_right_before(
    opened: Callable[[str], dict[str, Any]],
    sign: Callable[[dict[str, Any]], str],
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cookie = sign({"user_id": "one"})
    assert opened(cookie)
    begun, lifetime = (
        TimestampSigner("x").get_timestamp(),
        int(app.permanent_session_lifetime.total_seconds()),
    )
    for seconds, holds in ((lifetime - 60, True), (lifetime + 60, False), (-60, False)):
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _, at=begun + seconds: at)
        assert bool(opened(cookie)) is holds, seconds


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "Cookie"),
        ("Cookie", "Cookie"),
        ("HX-Request", "HX-Request, Cookie"),
        ("cookie, X", "cookie, X"),
    ],
)
def test_cookies_are_named_once(before: str | None, after: str) -> None:
    response = Response(headers={"Vary": before} if before else None)
    sessions.part_people(response)
    assert response.headers.getlist("Vary") == [after]
