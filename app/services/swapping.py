"""Changing one analysis by compare and swap (decision 19): it is read without a lock, what becomes of it is decided,
and one statement writes all of that if the analysis is still as it was read.

`access.analysis_for(…, swap=True)` begins it, `locking.write`, `audit.record` and `insert_missing` collect, and the
view ends it with `pipeline.commit`. Where something else is needed, or somebody came between, nothing was written yet:
`LostRace` has the view run again, and then it takes the lock. With SQLite, which has one writer, it always does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast
from uuid import UUID

from flask import g
from sqlalchemy import Executable, Row, Select, Table, bindparam, event, select

from app import dialect
from app.dialect import LostRace, Swap, clock_column, read_alone, version_of
from app.extensions import db
from app.models import Analysis, Image

_TABLE = cast(Table, Analysis.__table__)
_COLUMNS = tuple(_TABLE.columns.keys())
_OF_IMAGE = ("id", "project_id", "deleted_at")


@dataclass(frozen=True)
class Change:
    """`analysis` is in no session; `moment` is the `dialect.clock` of when it was read."""

    analysis: Analysis
    moment: datetime
    swap: Swap


def begin(analysis_id: UUID) -> Analysis | None:
    """The analysis with the project and the deletion of its image; None where it takes the lock, or there is none."""
    if db.engine.name == "sqlite" or g.get("takes_lock"):
        return None
    rows = read_alone(_statement(), {"id": analysis_id})
    if not rows:
        return None
    *values, moment, version = tuple(rows[0])
    analysis, image = Analysis(), Image()
    # as the ORM puts what it loads, so that what is set from here on counts as changed
    vars(analysis).update(zip(_COLUMNS, values, strict=False))
    vars(image).update(zip(_OF_IMAGE, values[len(_COLUMNS) :], strict=True))
    vars(analysis)["image"] = image
    db.session.info["change"] = Change(analysis, moment, Swap(_TABLE, analysis_id, version))
    return analysis


@cache
def _statement() -> Select[Any]:
    image = Image.__table__
    columns = (*_TABLE.c, *(image.c[name] for name in _OF_IMAGE), clock_column(), version_of(_TABLE))
    return select(*columns).join(image, image.c.id == _TABLE.c.image_id).where(_TABLE.c.id == bindparam("id"))


def current() -> Change | None:
    """What is collected, where something is."""
    found: Change | None = db.session.info.get("change")
    return found


def of(row: Any) -> Change | None:
    """The same, where it is of this row."""
    found = current()
    return found if found and found.analysis is row else None


def read(statement: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Rows of now: alone while something is collected, else in the transaction of the session."""
    if current():
        return read_alone(statement, values)
    return db.session.connection().execute(statement, values).all()


def insert_missing(model: type[Any], columns: Mapping[str, Any]) -> bool:
    """As `dialect.insert_missing`. What is collected counts as new; where it is not, the race is lost."""
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
    missing = [column for column in table.columns if column.default and column.name not in columns]
    return table, {**{column.name: cast(Any, column.default).arg(None) for column in missing}, **columns}


def end() -> bool:
    """Sends what is collected; whether anything was. Raises LostRace."""
    change = db.session.info.get("change")
    if change is None:
        return False
    if db.session.new:
        give_up()
    del db.session.info["change"]
    swap = change.swap
    if (swap.values or swap.missing or swap.rows) and not swap.send():
        raise LostRace
    return True


def give_up() -> None:
    """Raises LostRace where something is collected: what is to come takes a transaction."""
    if db.session.info.pop("change", None):
        raise LostRace


# nothing else may be written while something is collected: the two would not be one
event.listen(db.session, "after_begin", lambda *_: give_up())
