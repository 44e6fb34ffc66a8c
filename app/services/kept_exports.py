"""Exports that are written in the background: asked for, written by one process at a time, kept for a while.

`claim` says what is due and keeps it from others for the time of a lease; whoever writes it says with `beat` that it
lives, and then `finish`, `put_off`, `hand_back` or `fail` writes down what came of it. Between these no transaction is
open, so a process may die there: when its lease is over, another begins anew. All of them ask under the row's lock
whether it is still the same attempt, so whoever was thought dead and comes back changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Update, and_, or_, select, update
from sqlalchemy.orm import joinedload

from app.dialect import clock, insert_missing
from app.errors import Conflict
from app.extensions import db
from app.models import SYSTEM, Export, ExportState, Principal, Project
from app.services import audit
from app.services.locking import lock, lock_first
from app.services.newest_first import Place, beside
from app.storage import StoredObject

LEASE = timedelta(seconds=120)
MOST_ATTEMPTS = 5
# how long to wait after each attempt that failed
DELAYS = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=20))
ABANDONED = f"The process that wrote it ended before it was done, {MOST_ATTEMPTS} times."


@dataclass(frozen=True)
class Asked:
    """What is wanted, and how much it seemed to be when it was asked for. `selection` is JSON; no columns are all."""

    selection: dict[str, Any]
    format: str
    columns: Sequence[str]
    analyses: int
    annotations: int
    estimated_bytes: int
    filename: str
    content_type: str


@dataclass(frozen=True)
class Job:
    """An export as it is written by one attempt; it needs no session. What was made after `moment` is not in it."""

    id: UUID
    attempt: int
    selection: dict[str, Any]
    format: str
    columns: Sequence[str]
    content_type: str
    moment: datetime

    @property
    def key(self) -> str:
        """Each attempt has a file of its own, so that two of them are in nobody's way."""
        return f"exports/{self.id}/{self.attempt}"


@dataclass(frozen=True)
class Done:
    """How much of it is written, and what its format could not carry of that."""

    analyses: int
    annotations: int
    size: int
    dropped: Sequence[Mapping[str, object]]

    def columns(self) -> dict[str, int]:
        return {
            "analyses_done": self.analyses,
            "annotations_done": self.annotations,
            "bytes_written": self.size,
        }


# --- asked for ---------------------------------------------------------------------------------------------------


def ask(export_id: UUID, asked: Asked, project: Project | None, at: datetime, *, by: Principal) -> bool:
    """Whether it is asked for now; a form that is sent again asks for nothing more."""
    columns = {
        "id": export_id,
        "selection": asked.selection,
        "format": asked.format,
        "columns": list(asked.columns) or None,
        "project_id": project.id if project else None,
        "project_name": project.name if project else "",
        "filename": asked.filename,
        "content_type": asked.content_type,
        "analyses_total": asked.analyses,
        "annotations_total": asked.annotations,
        "estimated_bytes": asked.estimated_bytes,
        "requested_by_id": by.user.id if by.user else None,
        "created_at": at,
        "due_at": clock(),
    }
    if not insert_missing(Export, columns):
        return False
    export = db.session.get_one(Export, export_id)
    after = {
        "filters": asked.selection,
        "format": asked.format,
        "columns": columns["columns"],
        "analyses": asked.analyses,
        "annotations": asked.annotations,
    }
    _record(by, "export.asked", export, after)
    return True


def page(
    *, limit: int, older_than: Place | None = None, newer_than: Place | None = None
) -> tuple[Sequence[Export], bool]:
    """Newest first, beside the place that is given, with who asked for them; and whether more follow."""
    statement = select(Export).options(joinedload(Export.requested_by))
    return beside(statement, Export, limit=limit, older_than=older_than, newer_than=newer_than)


# --- written -----------------------------------------------------------------------------------------------------


def due() -> Sequence[UUID]:
    """What somebody could begin to write now, the oldest first."""
    return db.session.scalars(select(Export.id).where(_is_due(clock())).order_by(*_OLDEST_FIRST)).all()


def claim(at: datetime) -> Job | None:
    """What has waited for the longest; nobody else gets it while the lease lasts. None when nothing is due.

    The caller commits before it begins. What another process is just claiming is passed over.
    """
    moment = clock()
    export = lock_first(select(Export).where(_is_due(moment)).order_by(*_OLDEST_FIRST), of=Export)
    if export is None:
        return None
    export.state, export.attempt, export.started_at = ExportState.RUNNING.value, export.attempt + 1, at
    export.lease_expires_at, export.error = moment + LEASE, None
    export.analyses_done = export.annotations_done = export.bytes_written = 0
    wanted = (export.selection, export.format, export.columns or (), export.content_type, export.created_at)
    return Job(export.id, export.attempt, *wanted)


def beat(job: Job, done: Done) -> bool:
    """Writes down how far it is, and keeps the lease; False when it is canceled, or another attempt has begun."""
    ours = update(Export).where(Export.id == job.id, *_is_attempt(job))
    return _changed(ours.values(lease_expires_at=clock() + LEASE, **done.columns()))


def finish(job: Job, done: Done, stored: StoredObject, at: datetime, keep: timedelta) -> bool:
    """The file stands in the storage; False as in `beat`: then nobody wants it."""
    export = _held(job)
    if export is None:
        return False
    for name, value in done.columns().items():
        setattr(export, name, value)
    export.storage_path, export.size_bytes, export.sha256 = stored.key, stored.size, stored.sha256
    export.dropped = [dict(one) for one in done.dropped]
    export.ends(ExportState.DONE, at, at + keep)
    after = {
        "filename": export.filename,
        "size_bytes": stored.size,
        "sha256": stored.sha256,
        "analyses": done.analyses,
        "annotations": done.annotations,
    }
    _record(SYSTEM, "export.finished", export, after)
    return True


def put_off(job: Job, reason: str, at: datetime, keep: timedelta) -> ExportState | None:
    """It could not be written now: another attempt is made later, and after the last one it has failed."""
    export = _held(job)
    if export is None:
        return None
    if export.attempt >= MOST_ATTEMPTS:
        return _failed(export, reason, at, keep)
    export.state, export.error, export.lease_expires_at = ExportState.QUEUED.value, reason, None
    export.due_at = clock() + DELAYS[min(export.attempt, len(DELAYS)) - 1]
    return ExportState.QUEUED


def hand_back(job: Job) -> None:
    """Whoever writes it was told to stop and has given it up: another begins at once, and this attempt was none.

    Its number comes again, and with it the place of its file.
    """
    again = {"state": ExportState.QUEUED.value, "attempt": Export.attempt - 1, "due_at": clock()}
    ours = update(Export).where(Export.id == job.id, *_is_attempt(job))
    _changed(ours.values(**again, lease_expires_at=None))


def fail(job: Job, reason: str, at: datetime, keep: timedelta) -> ExportState | None:
    """It cannot be written, and trying again would not help."""
    export = _held(job)
    return _failed(export, reason, at, keep) if export else None


def give_up_abandoned(at: datetime, keep: timedelta) -> Sequence[UUID]:
    """Fails what was begun as often as it may be, and whose lease is over: it may be what ends its processes."""
    over = and_(
        Export.state == ExportState.RUNNING.value,
        Export.lease_expires_at <= clock(),
        Export.attempt >= MOST_ATTEMPTS,
    )
    given_up = db.session.scalars(select(Export).where(over).with_for_update(skip_locked=True)).all()
    for export in given_up:
        _failed(export, ABANDONED, at, keep)
    return [export.id for export in given_up]


def _failed(export: Export, reason: str, at: datetime, keep: timedelta) -> ExportState:
    export.error = reason
    export.ends(ExportState.FAILED, at, at + keep)
    _record(SYSTEM, "export.failed", export, {"error": reason, "attempts": export.attempt})
    return ExportState.FAILED


# --- taken and thrown away ---------------------------------------------------------------------------------------


def cancel(export: Export, at: datetime, keep: timedelta, *, by: Principal) -> None:
    """Whoever is writing it stops soon. Raises Conflict when it has ended."""
    lock(export)
    if export.has_ended:
        raise Conflict(f"The export is {export.state} already.")
    before = {"state": export.state}
    export.ends(ExportState.CANCELED, at, at + keep)
    _record(by, "export.canceled", export, {"state": export.state}, before)


def delete(export: Export, *, by: Principal) -> None:
    """The row; the caller deletes the files after the commit. Raises Conflict while it is written."""
    lock(export)
    if not export.has_ended:
        raise Conflict("The export is still being written: cancel it first.")
    forget(export, "export.deleted", by=by)


def forget(export: Export, action: str, *, by: Principal) -> None:
    """Deletes the row of one that has ended and is locked."""
    _record(by, action, export, None, {"filename": export.filename, "size_bytes": export.size_bytes})
    db.session.flush()
    db.session.delete(export)


def record_download(export: Export, part: str | None, *, by: Principal) -> None:
    """`part` is what a request asked for of the file, None is all of it."""
    after = {"filename": export.filename, "size_bytes": export.size_bytes, "range": part}
    _record(by, "export.downloaded", export, after)


def _record(
    by: Principal,
    action: str,
    export: Export,
    after: dict[str, Any] | None,
    before: dict[str, Any] | None = None,
) -> None:
    audit.record(by, action, export, before=before, after=after, project_id=export.project_id)


# --- statements --------------------------------------------------------------------------------------------------

_OLDEST_FIRST = (Export.created_at, Export.id)


def _is_due(moment: datetime) -> ColumnElement[bool]:
    waits = and_(Export.state == ExportState.QUEUED.value, Export.due_at <= moment)
    running = Export.state == ExportState.RUNNING.value
    abandoned = and_(running, Export.lease_expires_at <= moment, Export.attempt < MOST_ATTEMPTS)
    return or_(waits, abandoned)


def _is_attempt(job: Job) -> tuple[ColumnElement[bool], ...]:
    return Export.attempt == job.attempt, Export.state == ExportState.RUNNING.value


def _held(job: Job) -> Export | None:
    """The row under its lock, if it is still this attempt's."""
    ours = select(Export).where(Export.id == job.id, *_is_attempt(job)).with_for_update()
    return db.session.scalar(ours.execution_options(populate_existing=True))


def _changed(statement: Update) -> bool:
    result: Any = db.session.execute(statement, execution_options={"synchronize_session": False})
    return bool(result.rowcount)
