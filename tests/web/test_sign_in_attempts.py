"""Attempts to sign in are counted: five failures slow an account down, fifty an address."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import pytest
import requests
from flask import Flask
from werkzeug.security import check_password_hash, generate_password_hash
from werkzeug.test import TestResponse

from app.extensions import db
from app.models import AuditEvent, SignInFailure, User
from app.services import passwords, sign_ins
from tests.cast import PASSWORD, Person
from tests.conftest import LiveServer
from tests.factories import World
from tests.fakes import FixedClock
from tests.html import LintClient

UNKNOWN = "nobody@example.org"


@pytest.fixture
def attempt(app: Flask, clock: FixedClock) -> Callable[..., TestResponse]:
    """attempt(email, password, address): from a browser of its own."""

    def attempt(email: str, password: str = "wrong", address: str = "203.0.113.7") -> TestResponse:
        client = LintClient(app, app.response_class)
        sent = {"email": email, "password": password}
        return client.submit("/sign-in", "/sign-in", sent, environ_base={"REMOTE_ADDR": address})

    return attempt


def statuses(answers: list[Any]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


@pytest.mark.parametrize("email", ["owner@example.org", UNKNOWN])
def test_the_sixth_is_told_when_to_come_again(attempt: Any, owner: Person, clock: Any, email: str) -> None:
    assert statuses([attempt(email) for _ in range(5)]) == [401] * 5
    clock.advance(20)
    answer = attempt(email, PASSWORD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "40")
    assert "Too many attempts have failed. Try again in 40 seconds." in answer.text
    assert f'value="{email}"' in answer.text and PASSWORD not in answer.text
    assert "Set-Cookie" not in answer.headers or "user_id" not in answer.headers["Set-Cookie"]


def test_it_is_no_lock_out(attempt: Any, owner: Person, clock: FixedClock, world: World) -> None:
    for _ in range(5):
        attempt(owner.email)
    clock.advance(60)
    assert attempt(owner.email).status_code == 401
    assert attempt(owner.email).status_code == 429
    clock.advance(60)
    assert attempt(owner.email, PASSWORD).status_code == 303
    assert statuses([attempt(owner.email) for _ in range(5)]) == [401] * 5, "success has cleared the account"


@pytest.fixture
def begun(app: Flask, clock: FixedClock) -> Callable[[list[str]], None]:
    """begun(addresses): an attempt from each that went no further, as counted as one with a wrong password."""

    def begin(addresses: list[str]) -> None:
        with app.app_context():
            for number, address in enumerate(addresses):
                sign_ins.begin(f"person{number}@example.org", address, clock())
            db.session.commit()

    return begin


def test_fifty_failures_slow_an_address_down(attempt: Any, begun: Any, owner: Person, editor: Person) -> None:
    begun(["203.0.113.7"] * 48)
    assert statuses([attempt(f"another{number}@example.org") for number in range(2)]) == [401] * 2
    assert attempt(owner.email, PASSWORD).status_code == 429
    assert attempt(owner.email, PASSWORD, "203.0.113.8").status_code == 303


def test_ipv6_counts_by_its_network(attempt: Any, begun: Any, owner: Person) -> None:
    begun([f"2001:db8::{number:x}" for number in range(50)])
    assert attempt(owner.email, PASSWORD, "2001:db8::ffff:1").status_code == 429
    assert attempt(owner.email, PASSWORD, "2001:db8:0:1::1").status_code == 303


def test_success_takes_back_only_itself_from_the_address(attempt: Any, owner: Person, world: World) -> None:
    for number in range(3):
        attempt(f"person{number}@example.org")
    assert attempt(owner.email, PASSWORD).status_code == 303
    address = sign_ins.subject_of_address("203.0.113.7")
    assert world.count(SignInFailure, subject=address) == 3
    assert world.count(SignInFailure, subject=sign_ins.subject_of_account(owner.email)) == 0


def test_a_sign_in_is_written_down_with_its_address(attempt: Any, owner: Person, world: World) -> None:
    attempt(owner.email)
    assert world.count(AuditEvent, action="user.signed_in") == 0
    answer = attempt(owner.email, PASSWORD, "2001:db8::7")
    (row,) = world.rows(AuditEvent, action="user.signed_in")
    assert (row.actor_kind, row.actor_id, row.actor_label) == ("user", owner.id, owner.email)
    assert (row.subject_id, row.after) == (str(owner.id), {"address": "2001:db8::7"})
    assert row.request_id == answer.headers["X-Request-ID"]


def test_behind_a_proxy_the_address_is_the_visitors(make_app: Any, owner: Person, world: World) -> None:
    behind = make_app(TRUSTED_PROXIES="1")
    client = LintClient(behind, behind.response_class)
    sent = {"email": owner.email, "password": PASSWORD}
    client.submit("/sign-in", "/sign-in", sent, headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.9"})
    (row,) = world.rows(AuditEvent, action="user.signed_in")
    assert row.after == {"address": "198.51.100.9"}


def test_a_disabled_account_answers_like_a_wrong_password(attempt: Any, app: Flask, owner: Person) -> None:
    with app.app_context():
        db.session.get_one(User, owner.id).disabled_at = app.extensions["clock"]()
        db.session.commit()
    known, unknown = attempt(owner.email, PASSWORD), attempt(UNKNOWN, PASSWORD)
    assert known.status_code == unknown.status_code == 401
    assert statuses([attempt(owner.email, PASSWORD) for _ in range(5)]) == [401] * 4 + [429]


def test_no_transaction_is_open_while_a_password_is_checked(
    attempt: Any, owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_ones = []

    def check(stored: str, password: str) -> bool:
        open_ones.append(db.session().in_transaction())
        return check_password_hash(stored, password)

    monkeypatch.setattr(passwords, "check_password_hash", check)
    for email, password in ((owner.email, PASSWORD), (owner.email, "wrong"), (UNKNOWN, "wrong")):
        attempt(email, password)
    assert open_ones == [False, False, False], "checked once each, with nothing held"
    for _ in range(5):
        attempt(UNKNOWN)
    assert len(open_ones) == 7, "a refused attempt checked the password"


def test_an_unknown_account_costs_the_same_time(
    attempt: Any, app: Flask, owner: Person, clock: FixedClock
) -> None:
    with app.app_context():
        db.session.get_one(User, owner.id).password_hash = generate_password_hash(PASSWORD)
        db.session.commit()

    def took(email: str) -> float:
        clock.advance(minutes=16)
        started = perf_counter()
        assert attempt(email).status_code == 401
        return perf_counter() - started

    times = [(took(owner.email), took(UNKNOWN)) for _ in range(5)]
    known, unknown = (median(each) for each in zip(*times, strict=True))
    assert 0.4 < known / unknown < 2.5, times


def test_forty_wrong_ones_at_once_get_no_further_than_five(live_server: LiveServer, at_once: Any) -> None:
    """Over real HTTP to two processes, all in the first moment."""
    person = live_server.world.person("owner@example.org")
    session = requests.Session()
    page = session.get(f"{live_server.url}/sign-in", timeout=60).text
    form = {"csrf_token": page.split('name="csrf_token" value="')[1].split('"')[0], "email": person.email}
    cookies = session.cookies.get_dict()

    def send() -> requests.Response:
        sent = {**form, "password": "wrong"}
        return requests.post(f"{live_server.url}/sign-in", data=sent, cookies=cookies, timeout=60)

    answers = at_once([send] * 40)
    assert statuses(answers) == [401] * 5 + [429] * 35
    subject = sign_ins.subject_of_account(person.email)
    assert live_server.world.count(SignInFailure, subject=subject) == 5
