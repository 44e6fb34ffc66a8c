"""A group is canceled while its analyses are claimed, finalized, swept, deleted, and canceled by others: each ends in
exactly one state, which is what was written down, and nobody waits in a circle."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy.exc import DBAPIError

from app import access, signing
from app.errors import LoupeError
from app.extensions import db
from app.models import Analysis, AuditEvent, Image, Principal, Status, WebhookDelivery
from app.models.columns import now
from app.services import analyses, cancels, deletions, leases, overdue
from tests.factories import WEBHOOKS, World
from tests.services.test_races import SETTINGS, STARTS
from tests.support.database import KIND

PIPELINE, PERSON = Principal("pipeline"), Principal("user")
SIZE = 12


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(**WEBHOOKS)


def act(app: Flask, ids: list[UUID], what: Callable[[UUID], object], told: list[str]) -> None:
    """Does it to one after the other, each in a transaction of its own; what the database itself refused is told."""
    with app.app_context():
        for one in ids:
            try:
                what(one)
                db.session.commit()
            except LoupeError as error:
                db.session.rollback()
                told.append(error.code)
            except DBAPIError as error:
                db.session.rollback()
                told.append(f"database: {error.orig}")


def cancel_all(app: Flask, row_id: UUID, canceled: list[UUID]) -> None:
    with app.app_context():
        for batch in cancels.cancel(row_id, app.extensions["storage"], by=PERSON):
            db.session.commit()
            canceled += batch.ids


def others(app: Flask) -> dict[str, Callable[[UUID], object]]:
    secret = app.config["SECRET_KEY"]

    def finalize(one: UUID) -> None:
        analysis = db.session.get_one(Analysis, one)
        token = signing.lease_token(secret, one, 1) if analysis.lease_epoch else None
        proof = leases.Proof(token, secret)
        analyses.finalize(analysis, Status.COMPLETED, None, None, {}, by=PIPELINE, proof=proof)

    def sweep(one: UUID) -> None:
        for kind in overdue.kinds(SETTINGS):
            kind.end(one)

    def claim_next(_: UUID) -> None:
        wanted = leases.Claim(PIPELINE, "w", 60)
        leases.claim_next(wanted, access.claimable(PIPELINE), models=None, most=4)

    return {
        "finalize": finalize,
        "sweep": sweep,
        "claim": claim_next,
        "cancel": lambda one: analyses.cancel(db.session.get_one(Analysis, one), by=PERSON),
        "delete": lambda one: deletions.delete(db.session.get_one(Analysis, one), at=now(), by=PERSON),
    }


@pytest.mark.parametrize("rounds", [1, pytest.param(40, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "names", [("finalize", "claim"), ("sweep", "claim"), ("cancel", "delete"), ()], ids="-".join
)
def test_against(
    app: Flask,
    world: World,
    image: Image,
    at_once: Callable[..., list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    rounds: int,
) -> None:
    """Two people cancel the group at once, in small batches, while others go through it from both ends."""
    monkeypatch.setattr(cancels, "BATCH", 4)
    ends: Counter[str] = Counter()
    for _ in range(rounds):
        made = []
        for n in range(SIZE):
            columns = STARTS[list(STARTS)[n % len(STARTS)]]()
            made.append(world.analysis(image, columns.pop("status"), group_id="night run", **columns))
        began = {one.id: one.status for one in made}
        ids, told = list(began), list[str]()
        row_id = made[0].group_row_id
        assert row_id is not None
        canceled: list[list[UUID]] = [[], []]
        calls: list[Callable[[], None]] = [partial(cancel_all, app, row_id, found) for found in canceled]
        whats = others(app)
        calls += [
            partial(act, app, ids[:: -1 if n % 2 else 1], whats[name], told) for n, name in enumerate(names)
        ]
        at_once(calls)
        assert not [line for line in told if line.startswith("database")], told
        cancel_all(app, row_id, canceled[0])  # another attempt may have been queued when it was passed
        ends += check(world, began, [one for found in canceled for one in found])
        forget(app)
    print(names, KIND, dict(ends))


def check(world: World, began: dict[UUID, str], canceled: list[UUID]) -> Counter[str]:
    """Every analysis has ended once, with a row in the trail and a webhook of that end; what was canceled is."""
    assert len(canceled) == len(set(canceled)), "canceled twice"
    ends: Counter[str] = Counter()
    terminal = {status.value for status in Status if status.is_terminal}
    trail, sent = world.rows(AuditEvent), world.rows(WebhookDelivery)
    for one in world.rows(Analysis):
        events = [event for event in trail if event.subject_id == str(one.id)]
        steps = [event for event in events if event.action in {f"analysis.{status}" for status in Status}]
        state = began.get(one.id, "queued")
        for step in steps:
            assert step.before == {"status": state}
            state = step.after["status"]
        assert one.status == state
        deleted = one.deleted_at is not None
        assert state in terminal or deleted
        last = [event for event in steps if event.after["status"] in terminal]
        assert len(last) == (state in terminal)
        hooks = [hook for hook in sent if hook.analysis_id == one.id]
        assert len([hook for hook in hooks if hook.event == f"analysis.{state}"]) == (state in terminal)
        if one.id in canceled:
            assert state == "canceled"
        ends[f"{began.get(one.id, 'again')} → {state}{', deleted' if deleted else ''}"] += 1
    return ends


def forget(app: Flask) -> None:
    with app.app_context():
        for table in (Analysis, AuditEvent, WebhookDelivery):
            db.session.execute(db.delete(table))
        db.session.commit()


def test_one_that_comes_while_it_is_canceled_is_either_canceled_or_waits(
    app: Flask, world: World, image: Image, at_once: Callable[..., list[Any]]
) -> None:
    """A pipeline goes on creating: what is left is queued, and asking again finds it."""
    first = [world.analysis(image, group_id="night run") for _ in range(4)]
    row_id = first[0].group_row_id
    assert row_id is not None
    wanted = {"model_name": "m", "model_version": "1", "group_id": "night run", "priority": 0}

    def create() -> None:
        with app.app_context():
            for _ in range(6):
                owner = db.session.get_one(Image, image.id)
                analyses.create(owner, wanted, by=PIPELINE, limit=50, models=["*"], status=Status.QUEUED)
                db.session.commit()

    canceled: list[UUID] = []
    at_once([create, partial(cancel_all, app, row_id, canceled)])
    left = {one.id for one in world.rows(Analysis, status="queued")}
    assert len(left) + len(canceled) == 10 and not left & set(canceled)
    assert {one.group_row_id for one in world.rows(Analysis)} == {row_id}
    again: list[UUID] = []
    cancel_all(app, row_id, again)
    assert set(again) == left
