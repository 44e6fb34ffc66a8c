"""Leases: a worker claims a queued analysis, keeps it with heartbeats, and nobody else may write to it meanwhile.

Whoever writes shows the token of the lease. It is derived from the analysis and its `lease_epoch`, which rises with
every claim and when a lease runs out, so that the token of an earlier epoch is worth nothing. A lease that ran out is
lost from that moment on, whether or not the sweeper has been there. All of it is looked at under the lock of the row.

For the sweeper: `expired` says which leases ran out, `expire` ends one of them in the caller's transaction; see
overdue.py.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import contains_eager

from app import signing
from app.dialect import clock, hold
from app.errors import AlreadyClaimed, IllegalTransition, LeaseLost
from app.extensions import db
from app.models import SYSTEM, Analysis, Image, Principal, Status
from app.models.analyses import TRANSITIONS, place_of
from app.models.columns import new_id
from app.services import artifacts, audit, states
from app.services.locking import clock_under_lock, lock, lock_first, write

EXPIRED = "lease_expired"
# what another attempt has in common with the one before; an `external_job_id` is one analysis's alone
REPEATED = (
    "image_id",
    "model_name",
    "model_version",
    "parameters",
    "provenance",
    "priority",
    "group_id",
    "group_row_id",
    "requested_by_id",
    "pipeline_key_id",
)


@dataclass(frozen=True)
class Proof:
    """What a request shows of its lease: the token that was sent, and the secret that tokens are derived from."""

    token: str | None
    secret: str

    def is_of(self, analysis: Analysis) -> bool:
        """Whether the token is that of the present epoch."""
        if self.token is None or not analysis.lease_epoch:
            return False
        return signing.is_lease_token(self.secret, analysis.id, analysis.lease_epoch, self.token)


@dataclass(frozen=True)
class Claim:
    """A worker that asks for work, and for how many `seconds`; `key` is the request's Idempotency-Key."""

    by: Principal
    worker_id: str
    seconds: int
    key: str | None = None

    def hash(self, *asked: Any) -> str:
        """Names the request: the same one again has the same hash, and nobody else's has."""
        text = json.dumps([self.by.actor, self.worker_id, self.key, *asked])
        return hashlib.sha256(text.encode()).hexdigest()


# --- claiming ----------------------------------------------------------------------------------------------------


def claim(analysis: Analysis, wanted: Claim) -> Analysis:
    """The analysis, leased to this worker; the same request again finds its lease as it is.

    Raises AlreadyClaimed where somebody works on it, IllegalTransition where it has ended, Deleted.
    """
    lock(analysis)
    asked = wanted.hash("one", str(analysis.id))
    if analysis.state is Status.QUEUED:
        _take(analysis, wanted, asked, clock())
    elif analysis.state.is_terminal:
        raise IllegalTransition(
            f"The analysis is {analysis.status} and cannot be claimed.",
            current=analysis.status,
            allowed=sorted(TRANSITIONS[analysis.state]),
        )
    elif analysis.claim_hash != asked or not _is_live(analysis, clock()):
        raise AlreadyClaimed("Somebody works on this analysis.")
    return analysis


def claim_next(
    wanted: Claim, among: ColumnElement[bool], *, models: Sequence[str] | None, most: int
) -> list[Analysis]:
    """Up to `most` queued analyses of these models (None is all), leased to this worker: by priority, then by age.

    `among` narrows to the images of projects that the worker may write to. The same Idempotency-Key with the same
    wishes gives the leases of the first time, as far as they still hold, and no others.
    """
    asked = wanted.hash("next", sorted(models or ()), most) if wanted.key else None
    if asked:
        hold(asked)  # the same request at the same time waits here for what the other one gets
        given = db.session.scalars(living(Analysis.claim_hash == asked, among)).all()
        if given:
            moment = clock()
            return [analysis for analysis in given if _is_live(analysis, moment)]
    statement = waiting(among, models=models, most=most)
    found = list(db.session.scalars(statement, execution_options={"populate_existing": True}))
    moment = clock()
    with audit.together():
        for analysis in found:
            _take(analysis, wanted, asked, moment)
    return found


def waiting(among: ColumnElement[bool], *, models: Sequence[str] | None, most: int) -> Select[Analysis]:
    """What is claimed next; what another worker is about to take is passed over."""
    queued = living(Analysis.status == Status.QUEUED, among)
    if models is not None:
        queued = queued.where(Analysis.model_name.in_(models))
    return queued.limit(most).with_for_update(of=Analysis, skip_locked=True)


def living(*clauses: ColumnElement[bool]) -> Select[Analysis]:
    """Analyses that are not deleted, nor is their image, in the order in which they are claimed."""
    there = (Analysis.deleted_at.is_(None), Image.deleted_at.is_(None))
    statement = select(Analysis).join(Analysis.image).options(contains_eager(Analysis.image))
    order = (Analysis.priority.desc(), Analysis.created_at, Analysis.id)
    return statement.where(*there, *clauses).order_by(*order)


def _take(analysis: Analysis, wanted: Claim, asked: str | None, moment: datetime) -> None:
    before = analysis.status
    analysis.move_to(Status.PROCESSING)
    analysis.lease_epoch += 1
    analysis.lease_owner, analysis.lease_seconds = wanted.worker_id, wanted.seconds
    analysis.lease_expires_at = moment + timedelta(seconds=wanted.seconds)
    analysis.claim_hash = asked
    states.changed(analysis, before, by=wanted.by)
    _record("analysis.claimed", analysis, by=wanted.by)


def _is_live(analysis: Analysis, moment: datetime) -> bool:
    ends = analysis.lease_expires_at
    return analysis.state is Status.PROCESSING and ends is not None and ends > moment


# --- keeping it, and writing under it ----------------------------------------------------------------------------


def require(analysis: Analysis, proof: Proof) -> None:
    """Returns when the request may write as far as leases go. The caller holds the row's lock. Raises LeaseLost.

    What has ended is nobody's any more: then only a token of another epoch is refused, and the state says the rest.
    """
    if proof.token is None and not analysis.is_leased:
        return
    if proof.token is None:
        raise LeaseLost("This analysis is leased: send the token of the lease in X-ML-Lease-Token.")
    if not proof.is_of(analysis):
        raise LeaseLost("This is not the token of a lease that holds.")
    if analysis.is_leased and not _is_live(analysis, clock_under_lock(analysis)):
        raise LeaseLost("The lease has run out.")


def heartbeat(analysis: Analysis, proof: Proof) -> tuple[datetime, bool]:
    """Until when the lease holds from now on, and whether somebody canceled the analysis; then it is not extended.

    Raises LeaseLost, also when the analysis has ended in another way: there is nothing left to keep.
    """
    lock(analysis)
    ends = analysis.lease_expires_at
    if ends is None or not proof.is_of(analysis):
        raise LeaseLost("This is not the token of a lease that holds.")
    if analysis.state is Status.CANCELED:
        return ends, True
    moment = clock_under_lock(analysis)
    if not _is_live(analysis, moment):
        raise LeaseLost(f"The lease is over: the analysis is {analysis.status}, or its time has run out.")
    extended = max(ends, moment + timedelta(seconds=analysis.lease_seconds or 0))
    analysis.lease_expires_at = extended
    write(analysis)
    return extended, False


# --- leases that ran out -----------------------------------------------------------------------------------------


def _run_out() -> Select[Analysis]:
    return living(Analysis.status == Status.PROCESSING, Analysis.lease_expires_at <= clock())


def expired() -> Sequence[UUID]:
    """The analyses whose lease has run out; what is deleted is left as it is."""
    return db.session.scalars(_run_out().with_only_columns(Analysis.id)).all()


def expire(analysis_id: UUID, found: Mapping[str, artifacts.Found] | None = None, *, retries: int) -> bool:
    """Fails an analysis whose lease has run out; False when that is no longer so, or somebody holds its row just now.

    `found` is what the storage holds of its artifacts. Up to `retries` times another attempt is queued in the same
    transaction.
    """
    analysis = lock_first(_run_out().where(Analysis.id == analysis_id), of=Analysis)
    if analysis is None:
        return False
    before = analysis.status
    analysis.move_to(Status.FAILED)
    artifacts.write_down(analysis, found or {})
    states.changed(analysis, before, EXPIRED, by=SYSTEM)
    _record("analysis.lease_expired", analysis, by=SYSTEM)
    analysis.lease_epoch += 1
    if analysis.attempt <= retries:
        _repeat(analysis)
    return True


def _repeat(analysis: Analysis) -> None:
    again = Analysis(
        id=new_id(),
        image=analysis.image,
        status=Status.QUEUED.value,
        retry_of_id=analysis.id,
        attempt=analysis.attempt + 1,
        **place_of(analysis.image),
        **{name: getattr(analysis, name) for name in REPEATED},
    )
    db.session.add(again)
    db.session.flush()  # it has its times from here on
    states.made(again, by=SYSTEM)


def _record(action: str, analysis: Analysis, *, by: Principal) -> None:
    ends = analysis.lease_expires_at
    after = {
        "worker_id": analysis.lease_owner,
        "epoch": analysis.lease_epoch,
        "lease_expires_at": ends.isoformat() if ends else None,
    }
    audit.record(by, action, analysis, after=after, project_id=analysis.image.project_id)
