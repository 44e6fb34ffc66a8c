"""Claiming what is next, of very many that wait: read along the queue, without sorting."""

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from app.access import claimable
from app.extensions import db
from app.models import Analysis, Image, Principal, Project, User
from app.models.columns import new_id
from app.models.principal import ProvenKey
from app.services import leases
from tests.cast import Person
from tests.factories import World
from tests.support import database as databases
from tests.support.plans import check_walks, plan_of, refresh_statistics

NUMBER = 2400
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def queue(app: Flask, image: Image) -> None:
    """Half of so many analyses are queued, in five priorities."""
    rows = [
        {
            "id": new_id(),
            "image_id": image.id,
            "model_name": f"m{n % 3}",
            "model_version": "1",
            "status": "completed" if n % 2 else "queued",
            "priority": n * 7 % 5,
            "created_at": FIRST + timedelta(seconds=n),
        }
        for n in range(NUMBER)
    ]
    with app.app_context():
        db.session.execute(db.insert(Analysis), rows)
        db.session.commit()
    refresh_statistics(app)


@pytest.mark.parametrize("models", [None, ["m1", "m2"]])
@pytest.mark.parametrize("who", ["pipeline", "with a key"])
def test_it_walks_the_queue(
    app: Flask, world: World, viewer: Person, queue: None, who: str, models: list[str] | None
) -> None:
    user = world.rows(User, id=viewer.id)[0] if who == "with a key" else None
    statement = leases.waiting(claimable(Principal("pipeline", user)), models=models, most=10)
    plan = plan_of(app, lambda: db.session.execute(statement).all())
    check_walks(plan, "ml_analyses", "ix_ml_analyses_queue")


def test_a_pipeline_key_claims_in_its_projects_alone(
    app: Flask, world: World, image: Image, project: Project
) -> None:
    elsewhere = world.image(world.project("Bark"))
    mine, others = world.analysis(image), world.analysis(elsewhere, priority=9)
    key = ProvenKey("abcdefgh", "greenhouse", frozenset({project.id}))
    with app.app_context():
        for by, expected in (
            (Principal("pipeline", key=key), [mine.id]),
            (Principal("pipeline"), [others.id]),
        ):
            wanted = leases.Claim(by, "w", 60)
            found = leases.claim_next(wanted, claimable(by), models=None, most=9)
            assert [one.id for one in found] == expected
            db.session.commit()


def test_in_order_to_the_last(app: Flask, queue: None) -> None:
    got: list[tuple[int, datetime]] = []
    with app.app_context():
        wanted = leases.Claim(Principal("pipeline"), "w", 60)
        while found := leases.claim_next(wanted, db.true(), models=None, most=100):
            got += [(-one.priority, one.created_at) for one in found]
            db.session.commit()
    assert got == sorted(got)
    assert len(got) == NUMBER // 2


if databases.KIND == "postgresql":  # SQLite has one writer, so nobody is passed over

    def test_what_another_worker_is_about_to_take_is_passed_over(
        app: Flask, world: World, image: Image
    ) -> None:
        """Nobody waits for it: the lock is held for as long as this test likes."""
        first, second = world.analysis(image), world.analysis(image)
        with app.app_context(), db.engine.begin() as other:
            other.execute(db.select(Analysis.id).where(Analysis.id == first.id).with_for_update())
            wanted = leases.Claim(Principal("pipeline"), "w", 60)
            found = leases.claim_next(wanted, db.true(), models=None, most=9)
            assert [one.id for one in found] == [second.id]
            db.session.rollback()

    def test_the_sweeper_waits_for_nobody(app: Flask, world: World, image: Image) -> None:
        """A long bulk request holds the row: the sweeper comes again."""
        past = datetime.now(UTC) - timedelta(seconds=1)
        lost = world.analysis(image, "processing", lease_epoch=1, lease_expires_at=past)
        with app.app_context():
            with db.engine.begin() as other:
                other.execute(db.select(Analysis.id).where(Analysis.id == lost.id).with_for_update())
                assert not leases.expire(lost.id, retries=0)
            assert leases.expire(lost.id, retries=0)
            db.session.rollback()
