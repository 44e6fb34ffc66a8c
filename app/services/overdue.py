"""What time ends, for the sweeper: leases that ran out, and analyses that nobody works on.

`kinds` has them all. For each, `due()` says which analyses are meant now, which is all that a dry run needs, and
`end(analysis_id, found)` ends one of them in the caller's transaction and writes down what the storage holds of it;
False when it is not meant any more, because somebody was quicker, or is held just now. The same conditions are asked
under its lock; each has a transaction of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, false

from app.dialect import clock
from app.extensions import db
from app.models import SYSTEM, Analysis, Status
from app.services import artifacts, leases, states
from app.services.locking import lock_first

STALE = "stale"


@dataclass(frozen=True)
class Kind:
    """`name` is for the log and for whoever asks what would be done; `ends_as` is the status that follows."""

    name: str
    ends_as: Status
    due: Callable[[], Sequence[UUID]]
    end: Callable[..., bool]


def kinds(config: Mapping[str, Any]) -> tuple[Kind, ...]:
    """With the times that the settings say. Leases end only where workers can keep them."""
    queued, processing = config["ML_STALE_QUEUED_SECONDS"], config["ML_STALE_PROCESSING_SECONDS"]
    expire = partial(leases.expire, retries=config["ML_LEASE_RETRY_ATTEMPTS"])
    expired = Kind("expired lease", Status.FAILED, leases.expired, expire)
    return (
        *([expired] if config["ML_PIPELINE_PULL_ENABLED"] else []),
        _stale("stale queued", Status.CANCELED, partial(_waiting, queued)),
        _stale("stale processing", Status.FAILED, partial(_untouched, processing)),
    )


def _waiting(seconds: int) -> Select[Analysis]:
    return leases.living(Analysis.status == Status.QUEUED, _before(Analysis.created_at, seconds))


def _untouched(seconds: int) -> Select[Analysis]:
    """A leased one has its own end."""
    unleased = Analysis.lease_expires_at.is_(None)
    return leases.living(
        Analysis.status == Status.PROCESSING, unleased, _before(Analysis.updated_at, seconds)
    )


def _before(column: Any, seconds: int) -> ColumnElement[bool]:
    """Longer ago than so many seconds; 0 is never."""
    return column <= clock() - timedelta(seconds=seconds) if seconds else false()


def _stale(name: str, ends_as: Status, meant: Callable[[], Select[Analysis]]) -> Kind:
    def due() -> Sequence[UUID]:
        return db.session.scalars(meant().with_only_columns(Analysis.id)).all()

    def end(analysis_id: UUID, found: Mapping[str, artifacts.Found] | None = None) -> bool:
        analysis = lock_first(meant().where(Analysis.id == analysis_id), of=Analysis)
        if analysis is None:
            return False
        before = analysis.status
        analysis.move_to(ends_as)
        artifacts.write_down(analysis, found or {})
        states.changed(analysis, before, STALE, by=SYSTEM)
        return True

    return Kind(name, ends_as, due, end)
