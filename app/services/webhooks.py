"""Webhooks out: an event is written with the change it tells of, tried until it is delivered, given up after a day.

Nobody is sent anything from here: `claim` says what is due and keeps it from others for a while, `settle` writes down
what came of it. Between the two no transaction is open, so a process may die there: what it claimed is due again, and
is then sent once more with the same id.
"""

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
from flask import current_app
from sqlalchemy import ColumnElement, exists, func, select

from app import dialect
from app.extensions import db
from app.models import SYSTEM, Analysis, Principal, Status, WebhookDelivery, WebhookTarget
from app.models.columns import now
from app.outgoing import without_secrets
from app.services import audit, swapping
from app.services.locking import lock
from app.services.newest_first import Place, beside

EVENTS = {
    status: f"analysis.{status}"
    for status in (Status.QUEUED, Status.COMPLETED, Status.FAILED, Status.CANCELED)
}
# what is told of an analysis, as the API tells it
FIELDS = (
    "id",
    "image_id",
    "model_name",
    "model_version",
    "status",
    "error_message",
    "parameters",
    "provenance",
    "requested_by_id",
    "external_job_id",
    "priority",
    "group_id",
    "created_at",
    "started_at",
    "completed_at",
    "updated_at",
    "annotation_count",
    "attempt",
    "retry_of_id",
)
# how long to wait after each attempt that failed; the last one is made 27 and a half hours after the first
DELAYS = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
JITTER = 0.1  # of a delay, either way: what failed together does not come back together
LONGEST_ASKED_FOR = timedelta(hours=1)  # that a Retry-After is heeded for
CLAIMED = timedelta(seconds=60)  # longer than any attempt takes
KEPT = timedelta(days=30)
ANSWER_KEPT = 500  # characters
STATES = ("waiting", "delivered", "given-up")


def announce(analysis: Analysis, project_id: UUID) -> None:
    """Writes down what is to be told of the state that the analysis has come to, in the transaction of the change.

    Whether webhooks are on is asked here and not of whoever changes a state, so that nobody can forget to.
    """
    event = EVENTS.get(analysis.state)
    if event is None or not current_app.config["ML_PIPELINE_PUSH_WEBHOOKS_ENABLED"]:
        return
    moment = now()
    told = {name: getattr(analysis, name) for name in FIELDS} | {"project_id": project_id}
    body = orjson.dumps({"type": event, "timestamp": moment, "data": told}).decode()
    columns = {"event": event, "analysis_id": analysis.id, "body": body}
    columns |= {"created_at": moment, "next_attempt_at": moment}
    if not swapping.insert(WebhookDelivery, [columns]):
        db.session.add(WebhookDelivery(**columns))


# --- delivering --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Due:
    """A delivery as it is sent; it needs no session."""

    id: UUID
    body: str
    until: datetime  # nobody else gets it before


@dataclass(frozen=True)
class Outcome:
    """What came of an attempt: a status and the beginning of the answer, or the error why there is none."""

    seconds: float
    status: int | None = None
    answer: str = ""
    retry_after: str | None = None
    error: str = ""

    @property
    def is_delivered(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def as_json(self, at: datetime) -> dict[str, Any]:
        told = (
            {"error": self.error}
            if self.status is None
            else {"status": self.status, "answer": self.answer[:ANSWER_KEPT]}
        )
        return {"at": at.isoformat(), "seconds": round(self.seconds, 3), **told}


def claim(url: str, at: datetime) -> Due | None:
    """What has been due for the longest; nobody else gets it for a minute. None when nothing is due, or the address is
    disabled.

    The caller commits before it sends anything. What another process is just claiming is passed over.
    """
    disabled = exists().where(WebhookTarget.url_hash == hash_of(url), WebhookTarget.disabled_at.is_not(None))
    due = select(WebhookDelivery).where(WebhookDelivery.next_attempt_at <= at, ~disabled)
    ordered = due.order_by(WebhookDelivery.next_attempt_at).limit(1)
    # SQLite has one writer, and no words for this
    delivery = db.session.scalar(ordered.with_for_update(skip_locked=True))
    if delivery is None:
        return None
    delivery.next_attempt_at = at + CLAIMED
    return Due(delivery.id, delivery.body, delivery.next_attempt_at)


def settle(due: Due, outcome: Outcome, url: str, at: datetime) -> str | None:
    """Writes down what came of an attempt, and when the next one is; the state that leads to, or None when the row has
    been deleted. 410 disables the address.
    """
    delivery = db.session.get(WebhookDelivery, due.id, with_for_update=True, populate_existing=True)
    if delivery is None:
        return None
    delivery.attempts = [*delivery.attempts, outcome.as_json(at)]
    asked_again = delivery.next_attempt_at not in (None, due.until)  # by an admin, while it was on its way
    if outcome.is_delivered:
        delivery.delivered_at = at
    if outcome.is_delivered and not asked_again:
        delivery.next_attempt_at = None
    elif delivery.next_attempt_at == due.until:  # else another process has delivered it meanwhile
        delivery.next_attempt_at = next_attempt(len(delivery.attempts), outcome, at)
    if outcome.status == HTTPStatus.GONE:
        _disable(url, at)
    return delivery.state


def next_attempt(made: int, outcome: Outcome, at: datetime) -> datetime | None:
    """When to try again after so many attempts; None is never."""
    if made > len(DELAYS):
        return None
    delay = DELAYS[made - 1] * random.uniform(1 - JITTER, 1 + JITTER)
    if outcome.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        delay = max(delay, min(_asked_for(outcome.retry_after, at), LONGEST_ASKED_FOR))
    return at + delay


def _asked_for(retry_after: str | None, at: datetime) -> timedelta:
    """What a Retry-After says, in seconds or as a date (RFC 9110); nothing where it makes no sense."""
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=int(text[:9]))
    with suppress(ValueError, TypeError, IndexError, OverflowError):
        return parsedate_to_datetime(text) - at
    return timedelta(0)


# --- the address -------------------------------------------------------------------------------------------------


def hash_of(url: str) -> str:
    return sha256(url.encode()).hexdigest()


def disabled_at(url: str) -> datetime | None:
    """Since when the address is not asked any more."""
    target = db.session.get(WebhookTarget, hash_of(url))
    return target.disabled_at if target else None


def _disable(url: str, at: datetime) -> None:
    target = _held_target(url)
    if target.disabled_at is None:
        target.disabled_at = at
        db.session.flush()
        audit.record(SYSTEM, "webhook_target.disabled", target, after={"address": without_secrets(url)})


def enable(url: str, *, by: Principal) -> None:
    """Everything that waited for the address is due at once."""
    target = _held_target(url)
    if target.disabled_at is not None:
        target.disabled_at = None
        audit.record(by, "webhook_target.enabled", target, after={"address": without_secrets(url)})


def _held_target(url: str) -> WebhookTarget:
    """The row of the address, made where there is none yet; nobody else changes it."""
    dialect.hold(hash_of(url))
    target = db.session.get(WebhookTarget, hash_of(url), populate_existing=True)
    if target is None:
        target = WebhookTarget(url_hash=hash_of(url), disabled_at=None)
        db.session.add(target)
    return target


# --- the log -----------------------------------------------------------------------------------------------------


def redeliver(delivery: WebhookDelivery, at: datetime, *, by: Principal) -> None:
    """Sends it once more, whatever came of it before. One that was given up gets a single attempt."""
    lock(delivery)
    before = {"state": delivery.state, "attempts": len(delivery.attempts)}
    delivery.next_attempt_at = at
    after = {"event": delivery.event, "analysis_id": str(delivery.analysis_id)}
    audit.record(by, "webhook.redelivered", delivery, before=before, after=after)


def page(
    state: str, *, limit: int, older_than: Place | None = None, newer_than: Place | None = None
) -> tuple[Sequence[WebhookDelivery], bool]:
    """Those in a state of STATES, or all: newest first, beside the place that is given; and whether more follow."""
    statement = select(WebhookDelivery).where(*_in_state(state))
    return beside(statement, WebhookDelivery, limit=limit, older_than=older_than, newer_than=newer_than)


def _in_state(state: str) -> Sequence[ColumnElement[bool]]:
    ended, delivered = WebhookDelivery.next_attempt_at.is_(None), WebhookDelivery.delivered_at.is_not(None)
    states = {"waiting": (~ended,), "delivered": (ended, delivered), "given-up": (ended, ~delivered)}
    return states.get(state, ())


def count_waiting() -> int:
    return db.session.scalar(select(func.count()).where(*_in_state("waiting"))) or 0


def ended_before(moment: datetime) -> ColumnElement[bool]:
    """Of the log what ended before that moment.

    What was given up has no time of its end. That is at most two days after it was made, unless somebody redelivers it.
    """
    delivered = WebhookDelivery.delivered_at < moment
    made_long_ago = WebhookDelivery.created_at < moment - timedelta(days=2)
    given_up = WebhookDelivery.delivered_at.is_(None) & made_long_ago
    return WebhookDelivery.next_attempt_at.is_(None) & (delivered | given_up)
