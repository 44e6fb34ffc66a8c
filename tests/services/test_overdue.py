"""What time ends: leases that ran out, with the attempts that follow them, and analyses that nobody works on."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app.dialect import clock
from app.extensions import db
from app.models import SYSTEM, Analysis, AuditEvent, Image, Principal, Project
from app.models.analyses import place_of
from app.models.columns import now
from app.services import leases, overdue
from tests.cast import Person
from tests.factories import World

DEFAULTS = {
    "ML_PIPELINE_PULL_ENABLED": True,
    "ML_LEASE_RETRY_ATTEMPTS": 0,
    "ML_STALE_QUEUED_SECONDS": 0,
    "ML_STALE_PROCESSING_SECONDS": 0,
}
PIPELINE = Principal("pipeline")
HOUR = 3600


@pytest.fixture
def leased(world: World, image: Image) -> Callable[..., Analysis]:
    """leased(): ran out a second ago; leased(seconds=-60): in a minute."""

    def make(seconds: float = 1, **columns: Any) -> Analysis:
        ends = now() - timedelta(seconds=seconds)
        columns = {"lease_epoch": 1, "lease_owner": "gpu-1", "lease_seconds": 120, **columns}
        return world.analysis(image, "processing", lease_expires_at=ends, **columns)

    return make


@pytest.fixture
def due(app: Flask) -> Callable[..., dict[str, list[UUID]]]:
    """due(ML_STALE_QUEUED_SECONDS=60): the ids that are meant, by the name of the kind."""

    def ask(**settings: int) -> dict[str, list[UUID]]:
        with app.app_context():
            return {kind.name: list(kind.due()) for kind in overdue.kinds({**DEFAULTS, **settings})}

    return ask


@pytest.fixture
def sweep(app: Flask) -> Callable[..., int]:
    """sweep(ML_LEASE_RETRY_ATTEMPTS=1): ends all that is due, each in a transaction of its own; how many that were."""

    def run(**settings: int) -> int:
        done = 0
        for kind in overdue.kinds({**DEFAULTS, **settings}):
            with app.app_context():
                meant = kind.due()
                db.session.rollback()
                for analysis_id in meant:
                    done += kind.end(analysis_id)
                    db.session.commit()
        return done

    return run


def actions(world: World, analysis: Analysis) -> list[str]:
    return [event.action for event in world.rows(AuditEvent, subject_id=str(analysis.id))]


def test_the_clock_goes_on_while_a_transaction_waits(app: Flask) -> None:
    """The time at which it began would let a lease that ran out meanwhile hold."""
    with app.app_context():
        began = clock()
        assert began.utcoffset() == timedelta(0) and abs(now() - began) < timedelta(minutes=1)
        assert any(clock() > began for _ in range(1000))


# --- leases ------------------------------------------------------------------------------------------------------


def test_a_lease_that_ran_out(
    world: World, leased: Callable[..., Analysis], sweep: Callable[..., int]
) -> None:
    analysis = leased()
    assert sweep() == 1
    stored = world.reload(analysis)
    assert (stored.status, stored.error_message, stored.lease_epoch) == ("failed", "lease_expired", 2)
    assert stored.completed_at is not None and stored.revision == analysis.revision + 1
    assert stored.lease_owner == "gpu-1", "who it was stays visible"
    failed, expired = world.rows(AuditEvent, subject_id=str(analysis.id))
    assert (failed.action, failed.actor_kind, failed.before) == (
        "analysis.failed",
        "system",
        {"status": "processing"},
    )
    assert failed.after == {"status": "failed", "error_message": "lease_expired"}
    assert (expired.action, expired.after["worker_id"], expired.after["epoch"]) == (
        "analysis.lease_expired",
        "gpu-1",
        1,
    )
    assert world.count(Analysis) == 1
    assert sweep() == 0


@pytest.mark.parametrize(
    ("status", "seconds"),
    [("processing", -60), ("completed", 60), ("failed", 60), ("canceled", 60)],
)
def test_a_lease_that_did_not(
    world: World, image: Image, sweep: Callable[..., int], due: Callable[..., Any], status: str, seconds: int
) -> None:
    ends = now() - timedelta(seconds=seconds)
    analysis = world.analysis(image, status, lease_epoch=1, lease_expires_at=ends)
    assert due()["expired lease"] == []
    assert sweep() == 0
    assert world.reload(analysis).revision == analysis.revision


def test_asking_changes_nothing(
    world: World, leased: Callable[..., Analysis], due: Callable[..., Any]
) -> None:
    analyses = [leased(), leased(), leased(-60)]
    for _ in range(2):
        assert set(due()["expired lease"]) == {analyses[0].id, analyses[1].id}
    assert [world.reload(one).status for one in analyses] == ["processing"] * 3
    assert world.count(AuditEvent, subject_type="analysis") == 0


def test_a_heartbeat_came_first(app: Flask, world: World, leased: Callable[..., Analysis]) -> None:
    """Between being found and being held."""
    analysis = leased()
    with app.app_context():
        assert list(leases.expired()) == [analysis.id]
        db.session.get_one(Analysis, analysis.id).lease_expires_at = now() + timedelta(seconds=60)
        db.session.commit()
        assert not leases.expire(analysis.id, retries=3)
        db.session.commit()
    assert world.reload(analysis).status == "processing"
    assert world.count(Analysis) == 1


def test_there_is_no_such_analysis(app: Flask, world: World, leased: Callable[..., Analysis]) -> None:
    with app.app_context():
        assert not leases.expire(UUID(int=7), retries=0)


@pytest.mark.parametrize("deleted", ["analysis", "image"])
def test_what_is_deleted_is_left_as_it_is(
    app: Flask,
    world: World,
    leased: Callable[..., Analysis],
    image: Image,
    sweep: Callable[..., int],
    deleted: str,
) -> None:
    analysis = leased()
    set_deleted(app, analysis if deleted == "analysis" else image, now())
    assert sweep(ML_LEASE_RETRY_ATTEMPTS=1, ML_STALE_PROCESSING_SECONDS=1) == 0
    assert world.reload(analysis).status == "processing"
    set_deleted(app, analysis if deleted == "analysis" else image, None)
    assert sweep(ML_LEASE_RETRY_ATTEMPTS=1) == 1
    assert world.count(Analysis) == 2


def set_deleted(app: Flask, row: Any, moment: datetime | None) -> None:
    with app.app_context():
        db.session.get_one(type(row), row.id).deleted_at = moment
        db.session.commit()


# --- attempts ----------------------------------------------------------------------------------------------------


def test_another_attempt(
    world: World, image: Image, leased: Callable[..., Analysis], owner: Person, sweep: Callable[..., int]
) -> None:
    columns = {
        "model_name": "bark-net",
        "model_version": "3f2a9c1",
        "parameters": {"threshold": 0.25},
        "provenance": {"commit": "3f2a9c1"},
        "priority": 7,
        "group_id": "night run",
        "requested_by_id": owner.id,
        "pipeline_key_id": "abcdefgh",
    }
    first = leased(external_job_id="job/17", claim_hash="0" * 64, **columns)
    assert sweep(ML_LEASE_RETRY_ATTEMPTS=1) == 1
    (again,) = world.rows(Analysis, attempt=2)
    assert (again.status, again.retry_of_id, again.image_id) == ("queued", first.id, first.image_id)
    assert {name: getattr(again, name) for name in columns} == columns
    assert {name: getattr(again, name) for name in place_of(image)} == place_of(image)
    nothing = ("external_job_id", "started_at", "completed_at", "error_message", "lease_owner")
    nothing += ("lease_expires_at", "lease_seconds", "claim_hash", "deleted_at")
    assert {getattr(again, name) for name in nothing} == {None}
    assert (again.lease_epoch, again.annotation_count, again.next_position) == (0, 0, 0)
    (created,) = world.rows(AuditEvent, subject_id=str(again.id))
    assert (created.action, created.actor_kind) == ("analysis.created", "system")
    assert created.after == {
        "status": "queued",
        "model": "bark-net 3f2a9c1",
        "attempt": 2,
        "retry_of_id": str(first.id),
    }
    assert world.reload(first).external_job_id == "job/17"


def test_what_an_attempt_takes_along_is_all_that_a_job_is(image: Image) -> None:
    """A column that is new needs a decision: does another attempt have it too?"""
    own = {"id", "status", "error_message", "external_job_id", "created_at", "started_at", "completed_at"}
    own |= {
        "updated_at",
        "annotation_count",
        "next_position",
        "revision",
        "deleted_at",
        "attempt",
        "retry_of_id",
    }
    own |= {"lease_epoch", "lease_owner", "lease_expires_at", "lease_seconds", "claim_hash"}
    again = {*leases.REPEATED, *place_of(image)}
    assert again | own == {column.key for column in Analysis.__table__.columns}


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_as_many_as_are_set(
    app: Flask, world: World, image: Image, sweep: Callable[..., int], retries: int
) -> None:
    """Every attempt stays visible, the first one without one before it."""
    world.analysis(image)
    for _ in range(retries + 1):
        with app.app_context():
            (found,) = leases.claim_next(leases.Claim(PIPELINE, "w", 60), db.true(), models=None, most=9)
            found.lease_expires_at = now() - timedelta(seconds=1)
            db.session.commit()
        assert sweep(ML_LEASE_RETRY_ATTEMPTS=retries) == 1
    rows = world.rows(Analysis)
    assert [(row.attempt, row.status, row.error_message) for row in rows] == [
        (attempt, "failed", "lease_expired") for attempt in range(1, retries + 2)
    ]
    assert [row.retry_of_id for row in rows] == [None, *(row.id for row in rows[:-1])]


def test_the_limit_of_an_image_stops_no_attempt(
    app: Flask, world: World, leased: Callable[..., Analysis], sweep: Callable[..., int]
) -> None:
    app.config["ML_MAX_ANALYSES_PER_IMAGE"] = 1
    leased()
    assert sweep(ML_LEASE_RETRY_ATTEMPTS=1) == 1
    assert world.count(Analysis) == 2


def test_an_attempt_comes_with_the_failure_or_not_at_all(
    app: Flask, world: World, leased: Callable[..., Analysis]
) -> None:
    analysis = leased()
    with app.app_context():
        assert leases.expire(analysis.id, retries=1)
        db.session.flush()
        db.session.rollback()
    assert world.reload(analysis).status == "processing"
    assert world.count(Analysis) == 1
    assert actions(world, analysis) == []


# --- nobody works on them ----------------------------------------------------------------------------------------


def test_queued_for_too_long(
    world: World, image: Image, sweep: Callable[..., int], due: Callable[..., Any]
) -> None:
    old, young = (world.analysis(image, created_at=now() - timedelta(hours=hours)) for hours in (2, 0.5))
    assert due(ML_STALE_QUEUED_SECONDS=HOUR)["stale queued"] == [old.id]
    assert sweep(ML_STALE_QUEUED_SECONDS=HOUR) == 1
    assert [world.reload(row).status for row in (old, young)] == ["canceled", "queued"]
    assert actions(world, old) == ["analysis.canceled"]
    assert world.reload(old).error_message == "stale"


def test_processing_and_untouched_for_too_long(
    world: World, image: Image, sweep: Callable[..., int], due: Callable[..., Any]
) -> None:
    """By what was last received, not by when it began."""
    began = now() - timedelta(hours=5)
    old, young = (
        world.analysis(image, "processing", started_at=began, updated_at=now() - timedelta(hours=hours))
        for hours in (2, 0.5)
    )
    assert due(ML_STALE_PROCESSING_SECONDS=HOUR)["stale processing"] == [old.id]
    assert sweep(ML_STALE_PROCESSING_SECONDS=HOUR, ML_LEASE_RETRY_ATTEMPTS=3) == 1
    assert [world.reload(row).status for row in (old, young)] == ["failed", "processing"]
    assert actions(world, old) == ["analysis.failed"]
    assert world.reload(old).error_message == "stale"
    assert world.count(Analysis) == 2, "it was no worker's, so nobody tries it again"


def test_what_is_leased_has_its_own_end(
    leased: Callable[..., Analysis], due: Callable[..., Any], sweep: Callable[..., int]
) -> None:
    leased(-60, updated_at=now() - timedelta(hours=5))
    assert due(ML_STALE_PROCESSING_SECONDS=HOUR)["stale processing"] == []
    assert sweep(ML_STALE_PROCESSING_SECONDS=HOUR) == 0


def test_never(world: World, image: Image, sweep: Callable[..., int]) -> None:
    long_ago = now() - timedelta(days=4000)
    world.analysis(image, created_at=long_ago)
    world.analysis(image, "processing", created_at=long_ago, updated_at=long_ago)
    assert sweep() == 0


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
def test_what_has_ended_stays(world: World, image: Image, sweep: Callable[..., int], status: str) -> None:
    long_ago = now() - timedelta(days=30)
    world.analysis(image, status, created_at=long_ago, updated_at=long_ago)
    assert sweep(ML_STALE_QUEUED_SECONDS=1, ML_STALE_PROCESSING_SECONDS=1) == 0


def test_somebody_was_quicker(app: Flask, world: World, image: Image) -> None:
    """Between being found and being held: it was claimed, or something was received."""
    long_ago = now() - timedelta(hours=5)
    queued = world.analysis(image, created_at=long_ago)
    running = world.analysis(image, "processing", updated_at=long_ago)
    settings = {**DEFAULTS, "ML_STALE_QUEUED_SECONDS": HOUR, "ML_STALE_PROCESSING_SECONDS": HOUR}
    _, waiting, untouched = overdue.kinds(settings)
    with app.app_context():
        assert (list(waiting.due()), list(untouched.due())) == ([queued.id], [running.id])
        leases.claim(db.session.get_one(Analysis, queued.id), leases.Claim(PIPELINE, "w", 60))
        db.session.get_one(Analysis, running.id).touch()
        db.session.commit()
        assert not waiting.end(queued.id)
        assert not untouched.end(running.id)
    assert [world.reload(row).status for row in (queued, running)] == ["processing"] * 2


def test_the_settings_are_those_of_an_app(app: Flask, project: Project) -> None:
    pulling = {**app.config, "ML_PIPELINE_PULL_ENABLED": True}
    assert [kind.ends_as for kind in overdue.kinds(pulling)] == ["failed", "canceled", "failed"]
    assert SYSTEM.kind == "system"


def test_no_lease_ends_while_no_worker_can_keep_it(due: Callable[..., dict[str, list[UUID]]]) -> None:
    assert "expired lease" in due()
    assert "expired lease" not in due(ML_PIPELINE_PULL_ENABLED=False)
