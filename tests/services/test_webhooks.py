"""When a webhook is tried again, and how long its log is kept."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import SYSTEM, WebhookDelivery
from app.models.columns import new_id
from app.schemas.analyses import AnalysisOut
from app.services import webhooks
from app.services.webhooks import DELAYS, FIELDS, LONGEST_ASKED_FOR, Outcome, next_attempt
from tests.factories import World, some_id
from tests.fakes import FixedClock
from tests.support.plans import check_walks, plan_of, refresh_statistics

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def failed(status: int | None = 500, **more: Any) -> Outcome:
    return Outcome(0.1, status, **more)


def test_what_is_told_is_what_the_api_tells() -> None:
    assert list(FIELDS) == list(AnalysisOut().fields)


# --- when --------------------------------------------------------------------------------------------------------


def test_the_delays() -> None:
    """They grow, end after about a day, and differ a little each time."""
    seconds = [delay.total_seconds() for delay in DELAYS]
    assert seconds == [5, 300, 1800, 7200, 18_000, 36_000, 36_000]
    assert timedelta(hours=24) < sum(DELAYS, timedelta(0)) < timedelta(hours=28)
    for made, delay in enumerate(DELAYS, 1):
        waits = {(next_attempt(made, failed(), NOON) or NOON) - NOON for _ in range(50)}
        assert delay * 0.9 <= min(waits) < max(waits) <= delay * 1.1
    for made in (len(DELAYS) + 1, len(DELAYS) + 7):
        assert next_attempt(made, failed(), NOON) is None
        assert next_attempt(made, failed(503, retry_after="60"), NOON) is None


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        (" 120 ", 120),
        (format_datetime(NOON + timedelta(seconds=120), usegmt=True), 120),
        ("3600", 3600),
        ("3601", LONGEST_ASKED_FOR.total_seconds()),
        ("9" * 5000, LONGEST_ASKED_FOR.total_seconds()),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_ASKED_FOR.total_seconds()),
    ],
)
def test_retry_after(status: int, said: str, seconds: float) -> None:
    assert next_attempt(1, failed(status, retry_after=said), NOON) == NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "said", [None, "", "0", "-5", "soon", "1.5", "٣", "Wed, 04 Mar 2026 11:00:00 GMT", "Wed, 99", ",", "\x00"]
)
def test_a_retry_after_that_asks_for_nothing(said: str | None) -> None:
    found = next_attempt(1, failed(503, retry_after=said), NOON)
    assert found is not None and found - NOON <= DELAYS[0] * 1.1


def test_other_statuses_may_ask_for_nothing() -> None:
    found = next_attempt(1, failed(500, retry_after="120"), NOON)
    assert found is not None and found - NOON <= DELAYS[0] * 1.1


@pytest.mark.parametrize(
    ("outcome", "is_delivered"),
    [
        (failed(200), True),
        (failed(299), True),
        (failed(199), False),
        (failed(302), False),
        (failed(410), False),
        (failed(None, error="connection refused"), False),
    ],
)
def test_what_counts_as_delivered(outcome: Outcome, is_delivered: bool) -> None:
    assert outcome.is_delivered is is_delivered


# --- the log -----------------------------------------------------------------------------------------------------


def write(app: Flask, *rows: dict[str, Any]) -> list[str]:
    """The ids of deliveries with these columns."""
    plain = {"event": "analysis.queued", "analysis_id": some_id(), "body": "{}", "attempts": []}
    plain |= {"created_at": NOON, "next_attempt_at": None, "delivered_at": None}
    made = [{"id": new_id(), **plain, **row} for row in rows]
    with app.app_context():
        db.session.execute(db.insert(WebhookDelivery), made)
        db.session.commit()
    return [str(row["id"]) for row in made]


def test_what_ended_a_month_ago_is_deleted(app: Flask, world: World) -> None:
    def ago(**span: float) -> datetime:
        return NOON - timedelta(**span)

    _, _, *kept = write(
        app,
        {"created_at": ago(days=40), "delivered_at": ago(days=30, minutes=1)},
        {"created_at": ago(days=32, minutes=1)},
        {"created_at": ago(days=40), "delivered_at": ago(days=29)},
        {"created_at": ago(days=31)},
        {"created_at": ago(days=400), "next_attempt_at": ago(days=399)},
        {"created_at": ago(days=40), "delivered_at": ago(days=39), "next_attempt_at": NOON},
    )
    app.extensions["clock"] = FixedClock(NOON)
    for more, told in ((["--dry-run"], "2 webhooks"), ([], "2 webhooks"), ([], "")):
        result = app.test_cli_runner().invoke(args=["sweep", *more, "webhook-log"])
        assert (result.exit_code, result.output) == (0, f"webhook-log: {told}\n" if told else "")
    assert {str(row.id) for row in world.rows(WebhookDelivery)} == set(kept)


def test_states(app: Flask) -> None:
    ids = write(
        app,
        {"next_attempt_at": NOON},
        {"delivered_at": NOON},
        {},
        {"next_attempt_at": NOON, "delivered_at": NOON},
    )
    with app.app_context():
        found = {
            state: {str(row.id) for row in webhooks.page(state, limit=9)[0]}
            for state in ("", *webhooks.STATES)
        }
        assert {row.state for row in webhooks.page("waiting", limit=9)[0]} == {"waiting"}
        assert webhooks.count_waiting() == 2
    assert found == {
        "": set(ids),
        "waiting": {ids[0], ids[3]},
        "delivered": {ids[1]},
        "given-up": {ids[2]},
    }


def test_neither_the_log_nor_what_is_due_is_read_whole(app: Flask) -> None:
    moments = [NOON + timedelta(seconds=n) for n in range(8000)]
    write(
        app, *({"created_at": at, "next_attempt_at": None if n % 10 else at} for n, at in enumerate(moments))
    )
    refresh_statistics(app)
    check: list[tuple[str, Callable[[], object]]] = [
        ("ix_webhook_deliveries_created_at_id", lambda: webhooks.page("", limit=50)),
        ("ix_webhook_deliveries_next_attempt_at", lambda: webhooks.claim("https://hooks.example/", NOON)),
    ]
    for index, read in check:
        check_walks(plan_of(app, read), "webhook_deliveries", index)


def test_one_that_is_deleted_meanwhile_is_not_missed(app: Flask) -> None:
    with app.app_context():
        due = webhooks.Due(some_id(), "{}", NOON)
        assert webhooks.settle(due, failed(), "https://hooks.example/", NOON) is None


def test_enabling_what_is_not_disabled_changes_nothing(app: Flask, world: World) -> None:
    with app.app_context():
        webhooks.enable("https://hooks.example/", by=SYSTEM)
        db.session.commit()
        assert webhooks.disabled_at("https://hooks.example/") is None
