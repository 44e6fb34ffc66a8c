"""Attempts to prove a password: counted before the password is looked at, so that many at once get no further than few.

`begin` counts the attempt as a failure, and the caller commits. Then the password is checked, with no transaction
open. On success `succeed` takes the failures back, in the transaction of what the success was for.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address
from uuid import UUID

from sqlalchemy import delete, func, select

from app import dialect
from app.errors import RateLimited
from app.extensions import db
from app.models import Principal, SignInFailure, User
from app.models.columns import new_id
from app.services import accounts, audit, passwords
from app.services.passwords import Challenge

WINDOW = timedelta(minutes=15)
# failures in the window after which a subject is slowed down to one attempt in a pause
MOST_OF_ACCOUNT, MOST_OF_ADDRESS = 5, 50
PAUSE = timedelta(minutes=1)
SWEPT_AT_ONCE = 100
IPV6_NETWORK_BITS = 64


@dataclass(frozen=True)
class Attempt:
    """One that was counted; `challenge` is what its password must meet."""

    challenge: Challenge
    account: str
    failure_of_address: UUID


def begin(email: str, address: str, at: datetime) -> Attempt:
    """Counts an attempt on an account from an address, at the moment `at`.

    Raises RateLimited with Retry-After when either is slowed down; such an attempt is not counted.
    """
    account, network = subject_of_account(email), subject_of_address(address)
    dialect.hold(account, network)
    wait = max(_wait(account, MOST_OF_ACCOUNT, at), _wait(network, MOST_OF_ADDRESS, at))
    if wait > timedelta(0):
        seconds = math.ceil(wait.total_seconds())
        told = f"Too many attempts have failed. Try again in {seconds} second{'s' if seconds > 1 else ''}."
        raise RateLimited(told, headers={"Retry-After": str(seconds)})
    _sweep(at)
    failures = [SignInFailure(id=new_id(), subject=subject, at=at) for subject in (account, network)]
    db.session.add_all(failures)
    db.session.flush()
    return Attempt(passwords.challenge(accounts.find(email)), account, failures[1].id)


def succeed(attempt: Attempt) -> User | None:
    """The account whose password was right, locked; its failures are forgotten, and of the address this attempt only.

    None when there is no account after all, or it was disabled or got another password meanwhile: a failure like any.
    """
    dialect.hold(attempt.account)
    user = passwords.passed(attempt.challenge)
    if user is None:
        return None
    db.session.execute(delete(SignInFailure).where(SignInFailure.subject == attempt.account))
    db.session.execute(delete(SignInFailure).where(SignInFailure.id == attempt.failure_of_address))
    return user


def sign_in(attempt: Attempt, address: str, request_id: str) -> User | None:
    """`succeed`, written down as a sign-in."""
    user = succeed(attempt)
    if user is not None:
        by = Principal("user", user, request_id)
        audit.record(by, "user.signed_in", user, after={"address": address})
    return user


def failures(email: str, at: datetime) -> int:
    """How many attempts on the account failed in the window; from MOST_OF_ACCOUNT on it is slowed down."""
    recent = (SignInFailure.subject == subject_of_account(email), SignInFailure.at > at - WINDOW)
    return db.session.scalar(select(func.count()).select_from(SignInFailure).where(*recent)) or 0


def forgive(user: User, *, by: Principal) -> None:
    """Forgets the failures of the account, so that its person may try again at once."""
    subject = subject_of_account(user.email)
    dialect.hold(subject)
    db.session.execute(delete(SignInFailure).where(SignInFailure.subject == subject))
    audit.record(by, "user.let_in", user)


def subject_of_account(email: str) -> str:
    return _subject("account", accounts.normalised(email))


@lru_cache(1000)
def subject_of_address(address: str) -> str:
    """IPv6 by its network, of which one customer has at least one whole; what is no IP address is taken as it is.

    Some proxies write the port behind the address; it is another one for each connection, so it does not count. Whoever
    asks often is remembered: 10 us of each signed request.
    """
    try:
        parsed: IPv4Address | IPv6Address = ip_address(_without_port(address))
    except ValueError:
        return _subject("address", address)
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    if isinstance(parsed, IPv6Address):
        host_bits = parsed.max_prefixlen - IPV6_NETWORK_BITS
        network = IPv6Address(int(parsed) >> host_bits << host_bits)
        return _subject("address", f"{network}/{IPV6_NETWORK_BITS}")
    return _subject("address", str(parsed))


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _subject(kind: str, text: str) -> str:
    return sha256(f"{kind}:{text}".encode()).hexdigest()


def _wait(subject: str, most: int, at: datetime) -> timedelta:
    """How long until the next attempt; nothing or less while there are fewer than `most` failures in the window."""
    recent = select(SignInFailure.at).where(SignInFailure.subject == subject, SignInFailure.at > at - WINDOW)
    times = db.session.scalars(recent.order_by(SignInFailure.at.desc()).limit(most)).all()
    if len(times) < most:
        return timedelta(0)
    return min(times[0] + PAUSE, times[-1] + WINDOW) - at


def _sweep(at: datetime) -> None:
    """Deletes some of what is too old to count, of anyone; what another sweeps just now is left to it."""
    old = select(SignInFailure.id).where(SignInFailure.at <= at - WINDOW).limit(SWEPT_AT_ONCE)
    # a subquery may be asked again for every row, and would then give others; a WITH that locks is asked once
    some = old.with_for_update(skip_locked=True).cte("some")
    db.session.execute(
        delete(SignInFailure).where(SignInFailure.id.in_(select(some.c.id))),
        execution_options={"synchronize_session": False},
    )
