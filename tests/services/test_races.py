"""Claim, cancel, sweep, finalize and delete against each other: what is there equals what was written down.

In threads, each with a connection of its own; over HTTP and against many processes in pipeline/test_claim_races.py.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from itertools import combinations_with_replacement
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app import access, signing
from app.dialect import LostRace
from app.errors import LoupeError
from app.extensions import db
from app.models import Analysis, AuditEvent, Image, Principal, Status
from app.models.columns import now
from app.services import analyses, deletions, leases, overdue, swapping
from tests.factories import World
from tests.support.database import KIND

# threads of one process take turns at SQLite's one writer anyway
MANY = 1000 if KIND == "postgresql" else 100
PIPELINE = Principal("pipeline")
PERSON = Principal("user")
SETTINGS = {
    "ML_PIPELINE_PULL_ENABLED": True,
    "ML_LEASE_RETRY_ATTEMPTS": 1,
    "ML_STALE_QUEUED_SECONDS": 60,
    "ML_STALE_PROCESSING_SECONDS": 60,
}
# what a round begins with: columns of the analysis
STARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "queued": lambda: {"status": "queued", "created_at": now() - timedelta(hours=1)},
    "processing": lambda: {"status": "processing", "updated_at": now() - timedelta(hours=1)},
    "leased": lambda: _lease(60),
    "run out": lambda: _lease(-60),
}


def _lease(seconds: int) -> dict[str, Any]:
    ends = now() + timedelta(seconds=seconds)
    return {
        "status": "processing",
        "lease_epoch": 1,
        "lease_owner": "w",
        "lease_seconds": 60,
        "lease_expires_at": ends,
    }


@pytest.fixture
def acts(app: Flask) -> dict[str, Callable[[UUID], Any]]:
    """What may happen to an analysis, by name: each acts in the session of its thread, and raises what it may not.

    To add one: its line here. All pairs are raced, from every start.
    """
    secret = app.config["SECRET_KEY"]

    def of(analysis_id: UUID) -> Analysis:
        return db.session.get_one(Analysis, analysis_id)

    def finalize(analysis_id: UUID) -> None:
        analysis = of(analysis_id)
        token = signing.lease_token(secret, analysis_id, 1) if analysis.lease_epoch else None
        proof = leases.Proof(token, secret)
        analyses.finalize(analysis, Status.COMPLETED, None, None, {}, by=PIPELINE, proof=proof)

    def swap(analysis_id: UUID) -> None:
        """Ends it without a lock, as the view does it; who loses the race takes one."""
        try:
            analysis = access.analysis_for(PIPELINE, analysis_id, swap=True)
            token = signing.lease_token(secret, analysis_id, 1) if analysis.lease_epoch else None
            proof = leases.Proof(token, secret)
            analyses.finalize(analysis, Status.COMPLETED, None, None, None, by=PIPELINE, proof=proof)
            swapping.end()
        except LostRace:
            db.session.rollback()
            finalize(analysis_id)

    def sweep(analysis_id: UUID) -> None:
        for kind in overdue.kinds(SETTINGS):
            kind.end(analysis_id)

    return {
        "claim": lambda one: leases.claim(of(one), leases.Claim(PIPELINE, "w", 60)),
        "cancel": lambda one: analyses.cancel(of(one), by=PERSON),
        "sweep": sweep,
        "finalize": finalize,
        "swap": swap,
        "delete": lambda one: deletions.delete(of(one), at=now(), by=PERSON),
    }


@pytest.fixture
def race(app: Flask, at_once: Callable[..., list[Any]]) -> Callable[..., list[str]]:
    """race([act, …]): each in a thread and a transaction of its own, at once; "ok" or the code of what was raised."""

    def run(calls: Sequence[Callable[[], Any]]) -> list[str]:
        def transaction(call: Callable[[], Any]) -> str:
            with app.app_context():
                try:
                    call()
                    db.session.commit()
                except LoupeError as error:
                    db.session.rollback()
                    return error.code
                return "ok"

        return at_once([lambda call=call: transaction(call) for call in calls])

    return run


def check(world: World, analysis: Analysis, began_as: str) -> str:
    """The rows of the trail lead from the beginning to the state that is there, a step each; which state that is."""
    stored = world.reload(analysis)
    states = [f"analysis.{status}" for status in Status]
    steps = [event for event in world.rows(AuditEvent, subject_id=str(analysis.id)) if event.action in states]
    state = began_as
    for step in steps:
        assert step.before == {"status": state}
        state = step.after["status"]
        assert step.action == f"analysis.{state}"
    assert stored.status == state
    assert stored.revision == 1 + len(steps)
    deletions = world.rows(AuditEvent, subject_id=str(analysis.id), action="analysis.deleted")
    assert len(deletions) == (stored.deleted_at is not None)
    attempts = world.rows(Analysis, retry_of_id=analysis.id)
    assert len(attempts) == (stored.error_message == leases.EXPIRED)
    assert world.count(AuditEvent, action="analysis.lease_expired") == len(attempts)
    return state


@pytest.fixture
def forget(app: Flask) -> Callable[[], None]:
    """Takes the analyses of a round and its trail away."""

    def run() -> None:
        with app.app_context():
            for table in (Analysis, AuditEvent):
                db.session.execute(db.delete(table))
            db.session.commit()

    return run


PAIRS = list(combinations_with_replacement(("claim", "cancel", "sweep", "finalize", "swap", "delete"), 2))


@pytest.mark.parametrize("rounds", [1, pytest.param(125, marks=pytest.mark.soak)])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_all_pairs(
    world: World,
    image: Image,
    acts: dict[str, Callable[[UUID], Any]],
    race: Callable[..., list[str]],
    forget: Callable[[], None],
    pair: tuple[str, str],
    rounds: int,
) -> None:
    """So many rounds from each of the four starts."""
    ends: Counter[str] = Counter()
    for turn in range(rounds * len(STARTS)):
        start = list(STARTS)[turn % len(STARTS)]
        columns = STARTS[start]()
        began_as = columns.pop("status")
        analysis = world.analysis(image, began_as, **columns)
        order = pair if turn // len(STARTS) % 2 else pair[::-1]
        answers = race([partial(acts[name], analysis.id) for name in order])
        assert set(answers) <= {"ok", "already-claimed", "illegal-transition", "lease-lost", "deleted"}
        ends[f"{start} → {check(world, analysis, began_as)}"] += 1
        forget()
    print(pair, dict(ends))


@pytest.mark.parametrize(("workers", "rounds"), [(16, 3), pytest.param(64, MANY, marks=pytest.mark.soak)])
def test_one_winner(
    world: World, image: Image, race: Callable[..., list[str]], workers: int, rounds: int
) -> None:
    def claim(analysis: Analysis, worker: int) -> Callable[[], Any]:
        wanted = leases.Claim(PIPELINE, f"worker-{worker}", 60)
        return lambda: leases.claim(db.session.get_one(Analysis, analysis.id), wanted)

    for _ in range(rounds):
        analysis = world.analysis(image)
        answers = race([claim(analysis, worker) for worker in range(workers)])
        assert Counter(answers) == {"ok": 1, "already-claimed": workers - 1}
        stored = world.reload(analysis)
        assert (stored.status, stored.lease_epoch, stored.revision) == ("processing", 1, 2)
    assert world.count(AuditEvent, action="analysis.claimed") == rounds


@pytest.mark.parametrize(("workers", "rounds"), [(8, 3), pytest.param(32, 200, marks=pytest.mark.soak)])
def test_every_job_once(
    world: World, image: Image, race: Callable[..., list[str]], workers: int, rounds: int
) -> None:
    """Workers that ask for what is next get different ones, and all of them are given out."""
    for turn in range(rounds):
        jobs = [world.analysis(image).id for _ in range(workers * 2)]
        got: list[UUID] = []

        def take(worker: int, turn: int = turn, got: list[UUID] = got) -> None:
            wanted = leases.Claim(PIPELINE, f"worker-{worker}", 60, f"turn-{turn}")
            found = leases.claim_next(wanted, db.true(), models=None, most=2)
            got.extend(one.id for one in found)

        assert race([lambda worker=worker: take(worker) for worker in range(workers)]) == ["ok"] * workers
        assert sorted(got) == sorted(jobs)


@pytest.mark.parametrize("rounds", [3, pytest.param(200, marks=pytest.mark.soak)])
def test_the_same_request_at_once(
    world: World, image: Image, race: Callable[..., list[str]], rounds: int
) -> None:
    """With one Idempotency-Key: the same leases for all, and no more than were asked for."""
    for turn in range(rounds):
        for _ in range(20):
            world.analysis(image)
        got: list[list[UUID]] = []

        def take(turn: int = turn, got: list[list[UUID]] = got) -> None:
            wanted = leases.Claim(PIPELINE, "w", 60, f"turn-{turn}")
            got.append([one.id for one in leases.claim_next(wanted, db.true(), models=None, most=2)])

        assert race([take] * 8) == ["ok"] * 8
        assert [*map(sorted, got)] == [sorted(got[0])] * 8
        assert world.count(Analysis, status="processing") == 2 * (turn + 1)
