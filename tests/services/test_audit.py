"""The audit trail is read along its indexes, however long it grew; what is recorded of many goes into it at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from flask import Flask

from app.extensions import db
from app.models import SYSTEM, Analysis, AuditEvent, Image, Principal
from app.models.columns import new_id
from app.services import analyses, audit, leases
from app.services.audit import Wanted
from tests.cast import Person
from tests.factories import World
from tests.support.plans import check_walks, plan_of, refresh_statistics

NUMBER = 8000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = (FIRST + timedelta(seconds=NUMBER // 2), UUID(int=0))
ALL = "ix_audit_events_created_at_id"


@pytest.fixture
def trail(app: Flask, stranger: Person) -> Person:
    """8,000 events, each tenth by this person, three to a request."""
    plain = {"actor_kind": "user", "actor_label": "x", "action": "image.uploaded", "subject_type": "image"}
    events = [
        {
            "id": new_id(),
            "created_at": FIRST + timedelta(seconds=n),
            "actor_id": None if n % 10 else stranger.id,
            "subject_id": str(n),
            "request_id": f"r{n // 3}",
            **plain,
        }
        for n in range(NUMBER)
    ]
    with app.app_context():
        db.session.execute(db.insert(AuditEvent), events)
        db.session.commit()
    refresh_statistics(app)
    return stranger


@pytest.mark.parametrize("ml", [True, False])
def test_no_page_sorts(app: Flask, trail: Person, ml: bool) -> None:
    def check(index: str, read: Callable[[], object]) -> None:
        check_walks(plan_of(app, read), "audit_events", index)

    of_actor = Wanted(actor_id=trail.id)
    for wanted, index in ((Wanted(), ALL), (of_actor, "ix_audit_events_actor_id_created_at_id")):
        check(index, lambda wanted=wanted: audit.page(wanted, ml=ml, limit=50))
        check(index, lambda wanted=wanted: audit.page(wanted, ml=ml, limit=50, older_than=PLACE))
        check(index, lambda wanted=wanted: audit.page(wanted, ml=ml, limit=50, newer_than=PLACE))


def test_a_request_is_found_by_its_id(app: Flask, trail: Person) -> None:
    with app.app_context():
        found, more = audit.page(Wanted(request_id="r7"), ml=True, limit=50)
        assert (len(found), more) == (3, False)
    plan = plan_of(app, lambda: audit.page(Wanted(request_id="r7"), ml=True, limit=50))
    assert "ix_audit_events_request_id" in plan


def test_the_names_of_actions_are_not_looked_for_in_the_trail(
    app: Flask, count_queries: Callable[[], object]
) -> None:
    with app.app_context(), count_queries() as statements:  # type: ignore[attr-defined]
        assert "analysis.completed" in audit.actions(ml=True)
        assert not [name for name in audit.actions(ml=False) if "analys" in name or "annot" in name]
    assert statements == []


def cancel_all(ids: list[UUID]) -> None:
    assert len(analyses.cancel_all(ids, {}, by=SYSTEM)) == len(ids)


def cancel_each(ids: list[UUID]) -> None:
    for one in ids:
        analyses.cancel(db.session.get_one(Analysis, one), by=SYSTEM)


def claim(number: int) -> None:
    wanted = leases.Claim(Principal("pipeline"), "w", 60)
    assert len(leases.claim_next(wanted, db.true(), models=None, most=number)) == number


def claim_all(ids: list[UUID]) -> None:
    claim(len(ids))


def claim_each(ids: list[UUID]) -> None:
    for _ in ids:
        claim(1)


@pytest.mark.parametrize(("all_at_once", "each"), [(cancel_all, cancel_each), (claim_all, claim_each)])
def test_what_is_recorded_of_many_is_one_statement(
    app: Flask,
    world: World,
    image: Image,
    count_queries: Callable[[], object],
    all_at_once: Callable[[list[UUID]], None],
    each: Callable[[list[UUID]], None],
) -> None:
    """And the rows, and their order, are those of each by itself."""
    number = 5
    written: list[list[tuple[object, ...]]] = []
    for way in (all_at_once, each):
        ids = [world.analysis(image).id for _ in range(number)]
        with app.app_context(), count_queries() as statements:  # type: ignore[attr-defined]
            way(ids)
            db.session.commit()
        inserts = [one for one in statements if one.startswith("INSERT INTO audit_events")]
        if way is all_at_once:
            assert len(inserts) == 1
        events = [one for one in world.rows(AuditEvent) if UUID(one.subject_id) in ids]
        events.sort(key=lambda one: (one.created_at, one.id))
        written.append(
            [(ids.index(UUID(one.subject_id)), one.action, one.actor_label, one.before) for one in events]
        )
    assert written[0] == written[1]
    assert [place for place, *_ in written[0]] == sorted(place for place, *_ in written[0])


def test_nothing_of_many_is_recorded_where_one_fails(app: Flask, image: Image) -> None:
    """And what comes after that in the session is recorded as ever."""
    with app.app_context():
        image = db.session.get_one(Image, image.id)
        with pytest.raises(RuntimeError), audit.together():
            audit.record(SYSTEM, "image.deleted", image)
            raise RuntimeError
        audit.record(SYSTEM, "image.restored", image)
        db.session.commit()
        actions = [one.action for one in audit.page(Wanted(subject_id=str(image.id)), ml=True, limit=9)[0]]
    assert actions[0] == "image.restored" and "image.deleted" not in actions
