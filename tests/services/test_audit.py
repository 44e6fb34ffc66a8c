"""The audit trail is read along its indexes, however long it grew."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from flask import Flask

from app.extensions import db
from app.models import AuditEvent
from app.models.columns import new_id
from app.services import audit
from app.services.audit import Wanted
from tests.cast import Person
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
