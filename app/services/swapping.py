"""Changing one analysis by compare and swap (decision 19): it is read without a lock, what becomes of it is decided,
and one statement writes all of that if the analysis is still as it was read.

For a view with `@swaps`. `access.analysis_for(…, swap=True)` begins, what is set of the analysis, `audit.record` and
`insert_missing` are collected, and `pipeline.commit` sends them. Where somebody came between, or something else is
needed, or the view refuses what it read, nothing was written, and the view is run again under the lock. With SQLite,
which has one writer, it always has the lock.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, wraps
from http import HTTPStatus
from typing import Any, TypeVar, cast
from uuid import UUID

from flask import g
from sqlalchemy import Select, Table, bindparam, event, exists, inspect, or_, select
from sqlalchemy.orm import make_transient_to_detached

from app import dialect
from app.dialect import Single, Swap, clock_column, version_of
from app.errors import LoupeError
from app.extensions import db
from app.models import Analysis, Annotation, Artifact, Image

View = TypeVar("View", bound=Callable[..., Any])
_TABLE = cast(Table, Analysis.__table__)
_COLUMNS = tuple(_TABLE.columns.keys())
_OF_IMAGE = ("id", "project_id", "deleted_at")


@dataclass(frozen=True)
class Change:
    """`analysis` is in no session; `moment` is the `dialect.clock` of when it was read, and `has_files` whether it then
    had artifacts, or annotations that name one. The connection is the one for all of it: another takes a twentieth of
    what a request takes, and whoever asks for a second while holding one may wait for himself."""

    connection: Single
    analysis: Analysis
    has_files: bool
    moment: datetime
    swap: Swap


class NeedsLock(Exception):
    """What was collected cannot be sent as it is. Nothing was written; no view with `@swaps` lets it out."""


def swaps(view: View) -> View:
    """The view is run again under the lock if it was not enough without. Nobody is refused because of what was read
    without it: who holds the row may be about to change just that."""

    @wraps(view)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return view(*args, **kwargs)
        except NeedsLock:
            db.session.rollback()
        except LoupeError as refused:
            if refused.status != HTTPStatus.CONFLICT or not drop():
                raise
            db.session.rollback()
        g.takes_lock = True
        return view(*args, **kwargs)

    return cast(View, run)


def begin(analysis_id: UUID) -> Analysis | None:
    """The analysis with the project and the deletion of its image; None where it takes the lock, or there is none."""
    if db.engine.name == "sqlite" or g.get("takes_lock") or _has_begun():
        return None
    connection = Single()
    try:
        rows = connection.rows(_statement(), {"id": analysis_id})
    except BaseException:
        connection.close()
        raise
    if not rows:
        connection.close()
        return None
    *values, has_files, moment, version = rows[0]
    analysis, image = Analysis(), Image()
    # as the ORM puts what it loads, so that what is set from here on counts as changed
    vars(analysis).update(zip(_COLUMNS, values, strict=False))
    vars(image).update(zip(_OF_IMAGE, values[len(_COLUMNS) :], strict=True))
    make_transient_to_detached(image)  # so that what was not read cannot be taken for empty
    vars(analysis)["image"] = image
    g.change = Change(connection, analysis, has_files, moment, Swap(_TABLE, analysis_id, version))
    return analysis


def _has_begun() -> bool:
    return db.session.registry.has() and db.session().in_transaction()


@cache
def _statement() -> Select[Any]:
    image = Image.__table__
    named = exists().where(Annotation.analysis_id == _TABLE.c.id, Annotation.storage_path.is_not(None))
    files = or_(named, exists().where(Artifact.analysis_id == _TABLE.c.id))
    columns = (*_TABLE.c, *(image.c[name] for name in _OF_IMAGE), files, clock_column(), version_of(_TABLE))
    return select(*columns).join(image, image.c.id == _TABLE.c.image_id).where(_TABLE.c.id == bindparam("id"))


def current() -> Change | None:
    """What is collected, where something is."""
    found: Change | None = g.get("change")
    return found


def of(row: Any) -> Change | None:
    """The same, where it is of this row."""
    found = current()
    return found if found and found.analysis is row else None


def insert_missing(model: type[Any], columns: Mapping[str, Any]) -> bool:
    """As `dialect.insert_missing`. What is collected counts as new; where it is not, that needs the lock."""
    change = current()
    if change is None:
        return dialect.insert_missing(model, columns)
    change.swap.missing.append(_whole(model, columns))
    return True


def insert(model: type[Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these were collected; if not, there is a transaction in which to insert them."""
    change = current()
    if change is not None:
        change.swap.rows += [_whole(model, row) for row in rows]
    return change is not None


def _whole(model: type[Any], columns: Mapping[str, Any]) -> tuple[Table, Mapping[str, Any]]:
    """With what the columns that are not given have by default."""
    table: Table = model.__table__
    missing = ((name, one) for name, one in _defaults(table) if name not in columns)
    born = {name: one.arg(None) if one.is_callable else one.arg for name, one in missing}
    return table, {**born, **columns}


@cache
def _defaults(table: Table) -> Sequence[tuple[str, Any]]:
    return [(column.name, column.default) for column in table.columns if column.default]


def end() -> bool:
    """Sends what is collected; whether anything was. Raises NeedsLock."""
    change = current()
    if change is None:
        return False
    if db.session.registry.has() and db.session.new:
        give_up()
    swap, state = change.swap, inspect(change.analysis)
    swap.values = {
        name: state.dict[name] for name, before in state.committed_state.items() if state.dict[name] != before
    }
    try:
        if (swap.values or swap.missing or swap.rows) and not swap.send(change.connection):
            raise NeedsLock
    finally:
        drop()
    return True


def give_up() -> None:
    """Raises NeedsLock where something is collected: what is to come takes a transaction."""
    if drop():
        raise NeedsLock


def drop() -> bool:
    """Forgets what is collected; whether anything was."""
    change: Change | None = g.pop("change", None)
    if change is not None:
        change.connection.close()
    return change is not None


@event.listens_for(db.session, "after_begin")
def _refuse(*_: Any) -> None:
    """Nothing else may be written while something is collected: the two would not be one."""
    give_up()
