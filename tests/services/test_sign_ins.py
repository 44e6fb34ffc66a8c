"""Counting attempts to sign in: who is slowed down, for how long, and what is forgotten."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.errors import RateLimited
from app.extensions import db
from app.models import SignInFailure, User
from app.services import sign_ins
from tests.cast import PASSWORD, Person
from tests.factories import World
from tests.fakes import FixedClock

EMAIL, ADDRESS = "owner@example.org", "203.0.113.7"
MINUTE = 60


@pytest.fixture
def context(app: Flask, owner: Person) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.rollback()


@pytest.fixture
def at(clock: FixedClock) -> Callable[[float], datetime]:
    """at(seconds): that many after the beginning."""
    start = clock()
    return lambda seconds: start + timedelta(seconds=seconds)


def fail(moment: datetime, email: str = EMAIL, address: str = ADDRESS) -> sign_ins.Attempt:
    attempt = sign_ins.begin(email, address, moment)
    db.session.commit()
    return attempt


def wait_told(moment: datetime, email: str = EMAIL, address: str = ADDRESS) -> int:
    with pytest.raises(RateLimited) as raised:
        fail(moment, email, address)
    db.session.rollback()
    seconds = int(raised.value.headers["Retry-After"])
    assert f"Try again in {seconds} second" in raised.value.detail
    return seconds


def failures(email: str = EMAIL) -> int:
    return db.session.query(SignInFailure).filter_by(subject=sign_ins.subject_of_account(email)).count()


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.org"])
def test_an_account_is_slowed_down_after_five(
    context: None, at: Callable[[float], datetime], email: str
) -> None:
    for second in range(5):
        fail(at(second), email)
    assert wait_told(at(5), email) == 59
    assert wait_told(at(63.5), email) == 1
    assert failures(email) == 5, "a refused attempt was counted"
    fail(at(64), email)
    assert wait_told(at(64), email) == MINUTE
    fail(at(124), email)


def test_it_is_the_failures_of_the_last_fifteen_minutes(
    context: None, at: Callable[[float], datetime]
) -> None:
    for second in (0, 890, 891, 892, 893):
        fail(at(second))
    assert wait_told(at(894)) == 6, "the first one ends to count before the pause is over"
    fail(at(900))
    assert wait_told(at(901)) == 59


def test_an_account_is_the_same_in_any_spelling(context: None, at: Callable[[float], datetime]) -> None:
    for spelling in (EMAIL, EMAIL.upper(), f" {EMAIL} ", EMAIL, EMAIL):
        fail(at(0), spelling)
    assert wait_told(at(0)) == MINUTE
    fail(at(0), "another@example.org")


def test_an_address_is_slowed_down_after_fifty(context: None, at: Callable[[float], datetime]) -> None:
    for number in range(sign_ins.MOST_OF_ADDRESS):
        fail(at(0), f"person{number}@example.org")
    assert wait_told(at(1), "somebody@example.org") == 59
    fail(at(1), "somebody@example.org", "203.0.113.8")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:DB8:1:2:0:0:0:1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("203.0.113.7:5001", "203.0.113.7", True),
        ("203.0.113.7:5001", "203.0.113.7:5002", True),
        ("[2001:db8:1:2::1]:5001", "2001:db8:1:2::9", True),
        ("", "unix:", False),
    ],
)
def test_addresses(one: str, other: str, same: bool) -> None:
    assert (sign_ins.subject_of_address(one) == sign_ins.subject_of_address(other)) is same


def test_nothing_that_was_typed_is_kept(context: None, at: Callable[[float], datetime]) -> None:
    fail(at(0), "my password by mistake")
    subjects = [row.subject for row in db.session.query(SignInFailure)]
    assert len(subjects) == 2
    assert all(len(subject) == 64 and int(subject, 16) for subject in subjects)


def test_success_forgets_the_account_and_takes_one_back_from_the_address(
    context: None, at: Callable[[float], datetime]
) -> None:
    for second in range(4):
        fail(at(second))
    fail(at(4), "another@example.org")
    attempt = fail(at(5))
    assert attempt.challenge.is_met_by(PASSWORD)
    user = sign_ins.succeed(attempt)
    db.session.commit()
    assert user is not None and user.email == EMAIL
    assert failures() == 0
    address = sign_ins.subject_of_address(ADDRESS)
    assert db.session.query(SignInFailure).filter_by(subject=address).count() == 5
    for second in range(5):
        fail(at(6 + second))


def test_a_disabled_account_stays_counted(context: None, at: Callable[[float], datetime]) -> None:
    db.session.query(User).filter_by(email=EMAIL).update({"disabled_at": at(0)})
    db.session.commit()
    attempt = fail(at(0))
    assert attempt.challenge.is_met_by(PASSWORD)
    assert sign_ins.succeed(attempt) is None
    assert failures() == 1


def test_what_is_old_is_swept_away_a_part_at_a_time(context: None, at: Callable[[float], datetime]) -> None:
    old = [SignInFailure(subject="0" * 64, at=at(second)) for second in range(130)]
    db.session.add_all(old)
    db.session.commit()
    fail(at(129 + 15 * MINUTE))
    assert db.session.query(SignInFailure).filter_by(subject="0" * 64).count() == 30
    fail(at(129 + 15 * MINUTE))
    assert db.session.query(SignInFailure).filter_by(subject="0" * 64).count() == 0


def test_many_at_once_get_no_further_than_five(app: Flask, owner: Person, at: Any, at_once: Any) -> None:
    def attempt(number: int) -> bool:
        with app.app_context():
            try:
                fail(at(0), EMAIL, f"203.0.113.{number}")
            except RateLimited:
                db.session.rollback()
                return False
            return True

    let_through = at_once([lambda number=number: attempt(number) for number in range(40)])
    assert let_through.count(True) == sign_ins.MOST_OF_ACCOUNT
    assert World(app).count(SignInFailure, subject=sign_ins.subject_of_account(EMAIL)) == 5


def test_one_of_many_gets_through_after_the_pause(app: Flask, owner: Person, at: Any, at_once: Any) -> None:
    with app.app_context():
        for _ in range(5):
            fail(at(0))

    def attempt() -> bool:
        with app.app_context():
            try:
                fail(at(MINUTE))
            except RateLimited:
                db.session.rollback()
                return False
            return True

    assert at_once([attempt] * 12).count(True) == 1
