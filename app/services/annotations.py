"""Annotations: stored all or not at all, safe to retry; read a page at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any, Protocol, TypeAlias, cast
from uuid import UUID

import uuid_utils
from sqlalchemy import JSON, ColumnElement, Select, Table, bindparam, delete, func, select, tuple_, update
from sqlalchemy.engine import Row

from app.dialect import derived, found_by_key, insert_rows, parts_in_order, prefer_indexes
from app.errors import Conflict
from app.extensions import db
from app.models import Analysis, Annotation, Principal
from app.models.columns import new_ids, now
from app.services import audit, leases, made_once, receipts
from app.services.annotation_rows import COLUMNS, Raw, columns_of
from app.services.locking import lock, write

CHUNK = 500  # SQLite takes a limited number of variables in one statement
# the columns of a new row: those of an item's `values` between its id and the texts that stand at the end
OF_VALUES = (
    *("annotation_type", "class_name", "confidence", "storage_path", "ordering"),
    *("x_min", "y_min", "x_max", "y_max"),
)
WRITTEN = ("id", *OF_VALUES, "position", "data", "client_id", "content_hash")
MAX_NAMED = 100
RANGE_ABOVE = 50
ALL: Sequence[ColumnElement[Any]] = tuple(Annotation.__table__.columns)
# all that is read of one to draw it, unless it is a box: that is drawn from the snapshot
DRAWN = tuple(
    Annotation.__table__.c[name]
    for name in (
        *("id", "annotation_type", "class_name", "confidence", "data", "storage_path"),
        *("content_hash", "position"),
    )
)


_TABLE = cast(Table, Annotation.__table__)
_HELD = (_TABLE.c.client_id, _TABLE.c.id, _TABLE.c.content_hash, _TABLE.c.position)
_OF_ANALYSIS = _TABLE.c.analysis_id == bindparam("analysis_id")
Id: TypeAlias = UUID | uuid_utils.UUID


class NewAnnotation(Protocol):
    """What storing needs to know of one annotation: `values` are the columns of its type's canonical form, and
    `data_text` is its `data` as JSON."""

    @property
    def client_id(self) -> str: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def values(self) -> dict[str, Any]: ...
    @property
    def data_text(self) -> str: ...


@dataclass
class Change:
    """What a bulk request does: items to insert and held ones to update, each by its id, ids to remove, and whether
    the held ones must be put in another place. `ids` are those of all the items, in their order."""

    ids: Sequence[Id]
    insert: list[tuple[Id, NewAnnotation]] = field(default_factory=list)
    update: list[tuple[UUID, NewAnnotation]] = field(default_factory=list)
    remove: list[UUID] = field(default_factory=list)
    unchanged: int = 0
    reorders: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.insert or self.update or self.remove or self.reorders)

    def counts(self, total: int) -> dict[str, int]:
        return {
            "inserted": len(self.insert),
            "unchanged": self.unchanged,
            "updated": len(self.update),
            "removed": len(self.remove),
            "total": total,
        }


def store_bulk(
    analysis: Analysis,
    items: Sequence[NewAnnotation],
    mode: str,
    *,
    batch: str,
    notes: dict[str, Any] | None,
    dry_run: bool,
    by: Principal,
    proof: leases.Proof,
    source: Mapping[str, Any] | None = None,
) -> tuple[dict[str, int], Sequence[Id]]:
    """Applies a validated request under the lock of the analysis; the counts of the receipt and the id of each item.

    What changes something is audited, with the `source` where it was a file, and its receipt kept with `notes`. Raises
    LeaseLost, or Conflict: an id with other content (not in `upsert` or `replace`), or a terminal analysis that does
    not hold this batch already.
    """
    lock(analysis)
    leases.require(analysis, proof)
    ended, held_before = analysis.state.is_terminal, analysis.annotation_count
    change, differing = _compare(analysis, items, mode)
    if ended and (differing or not change.is_empty or not items):
        raise Conflict(
            f"The analysis is {analysis.status} and takes no more annotations.", current=analysis.status
        )
    if differing:
        raise Conflict("Some client_ids are held with other content.", client_ids=differing[:MAX_NAMED])
    counts = change.counts(held_before + len(change.insert) - len(change.remove))
    if not (dry_run or change.is_empty):
        _apply(analysis, change)
        audit.record(
            by,
            "annotations.stored",
            analysis,
            before={"total": held_before},
            after=counts | {"mode": mode} | dict(source or {}),
            project_id=analysis.image.project_id,
        )
        receipts.record(by, analysis, batch=batch, mode=mode, counts=counts, notes=notes)
        write(analysis)
    return counts, change.ids


def _compare(analysis: Analysis, items: Sequence[NewAnnotation], mode: str) -> tuple[Change, list[str]]:
    """The change, and the ids that append would have to overwrite."""
    held = _held(analysis, items, everything=mode == "replace")
    ids: list[Any] = new_ids(len(items))
    if not held:
        return Change(ids, insert=list(zip(ids, items, strict=True))), []
    change, differing, last = Change(ids), [], -1
    for place, item in enumerate(items):
        row = held.pop(item.client_id, None)
        if row is None:
            change.insert.append((ids[place], item))
            continue
        ids[place] = row.id
        if row.content_hash == item.content_hash:
            change.unchanged += 1
        elif mode == "append":
            differing.append(item.client_id)
        else:
            change.update.append((row.id, item))
        # what is inserted goes to the end, so a held one after it, or before its forerunner, must move
        change.reorders |= mode == "replace" and (bool(change.insert) or row.position < last)
        last = row.position
    if mode == "replace":
        change.remove = [row.id for row in held.values()]
    return change, differing


def _held(analysis: Analysis, items: Sequence[NewAnnotation], *, everything: bool) -> dict[str, Any]:
    """Rows of `id`, `content_hash` and `position` by client_id: of these items, or of the whole analysis."""
    if not analysis.annotation_count:
        return {}
    connection = db.session.connection()
    parameters: dict[str, Any] = {"analysis_id": analysis.id}
    if everything:
        statement = select(*_HELD).where(_OF_ANALYSIS)
    else:
        prefer_indexes(connection)
        statement = _held_by_client_id()
        parameters["client_ids"] = [item.client_id for item in items]
    return {row.client_id: row for row in connection.execute(statement, parameters)}


@made_once.statement
def _held_by_client_id() -> Select[Any]:
    """Made once, which saves half a millisecond a request."""
    return found_by_key(_HELD, _OF_ANALYSIS, _TABLE.c.client_id, bindparam("client_ids", type_=JSON))


def _apply(analysis: Analysis, change: Change) -> None:
    # Core on one connection, many rows a statement: the ORM would take a round trip for each
    connection, table = db.session.connection(), _TABLE
    first = analysis.next_position
    for chunk in _chunks(change.remove):
        connection.execute(delete(table).where(table.c.id.in_(chunk)))
    one = update(table).where(table.c.id == bindparam("held_id"))
    if change.update:
        held = [
            {**item.values, "content_hash": item.content_hash, "held_id": held_id}
            for held_id, item in change.update
        ]
        connection.execute(one, held)
    if change.insert:
        _insert(analysis, change.insert)
    if change.reorders:
        places = [
            {"held_id": UUID(int=id.int), "position": first + place} for place, id in enumerate(change.ids)
        ]
        connection.execute(one.values(position=bindparam("position")), places)
    analysis.next_position += len(change.ids)
    analysis.annotation_count += len(change.insert) - len(change.remove)
    analysis.touch()


def _insert(analysis: Analysis, new: Sequence[tuple[Id, NewAnnotation]]) -> None:
    """At the end of the analysis, in this order."""
    of_values = itemgetter(*OF_VALUES)
    rows = [
        (id.hex, *of_values(item.values), position, item.data_text, item.client_id, item.content_hash)
        for position, (id, item) in enumerate(new, analysis.next_position)
    ]
    same = {"analysis_id": analysis.id, "created_at": now()}
    insert_rows(_TABLE, WRITTEN, rows, same)


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


# --- reading -----------------------------------------------------------------------------------------------------

PART = 1000  # rows that are read at once

_area = (Annotation.x_max - Annotation.x_min) * (Annotation.y_max - Annotation.y_min)
SORTS: dict[str, ColumnElement[Any]] = {
    "confidence": func.coalesce(Annotation.confidence, -1),
    "class_name": func.coalesce(Annotation.class_name, ""),
    "ordering": func.coalesce(Annotation.ordering, 2**31),
    "created_at": Annotation.position.expression,
    "area": func.coalesce(_area, -1),
}


@dataclass(frozen=True)
class Wanted:
    """Which annotations of an analysis, in what order: `sort` is a name of SORTS, with `-` before it descending."""

    type: str | None = None
    class_name: str | None = None
    min_confidence: float | None = None
    sort: str | None = None


def _narrowed(analysis_id: UUID, wanted: Wanted) -> list[ColumnElement[bool]]:
    clauses: list[ColumnElement[bool]] = [Annotation.analysis_id == analysis_id]
    if wanted.type is not None:
        clauses.append(Annotation.annotation_type == wanted.type)
    if wanted.class_name is not None:
        clauses.append(Annotation.class_name == wanted.class_name)
    if wanted.min_confidence is not None:
        clauses.append(Annotation.confidence >= wanted.min_confidence)
    return clauses


def page(
    analysis: Analysis, wanted: Wanted, *, skip: int, limit: int, after: list[Any] | None = None
) -> tuple[Sequence[Raw], int, list[Any] | None]:
    """A page, how many match in all, and the place of its last row when more follow (a keyset, to come back with)."""
    clauses, descending = _narrowed(analysis.id, wanted), (wanted.sort or "").startswith("-")
    position = Annotation.position.expression
    key = SORTS[wanted.sort.removeprefix("-")] if wanted.sort else position
    statement = select(*Annotation.__table__.columns, key.label("key")).where(*clauses)
    if after is not None:
        place, there = tuple_(key, position), tuple_(*after)
        statement = statement.where(place < there if descending else place > there)
    order = (
        [key] if key is position else [key, position]
    )  # twice the same, SQLite sorts what an index has in order
    statement = statement.order_by(*(one.desc() if descending else one for one in order))
    # what is sent is made after sorting, of the rows of the page alone
    sent = derived(statement.offset(skip).limit(limit + 1), lambda of: [*columns_of(of), of.key])
    if key is position:
        prefer_indexes(db.session.connection())
    rows = db.session.execute(sent).all()
    more, rows = len(rows) > limit, rows[:limit]
    last = [rows[-1].key, rows[-1].position] if more and rows else None
    return [row[:-1] for row in rows], _count(analysis, clauses), last


def _count(analysis: Analysis, clauses: Sequence[ColumnElement[bool]]) -> int:
    """How many match; of all of them the analysis knows it."""
    if len(clauses) == 1:
        return analysis.annotation_count
    return db.session.scalar(select(func.count()).select_from(Annotation).where(*clauses)) or 0


def of_analysis(analysis: Analysis) -> Iterator[Sequence[Raw]]:
    """All of them in the order of insertion, some at a time: more would not be in memory as objects at once."""
    statement = select(*COLUMNS).where(Annotation.analysis_id == analysis.id).order_by(Annotation.position)
    return parts_in_order(db.session.connection(), statement, PART)


def at(
    analysis_id: UUID, positions: Sequence[int], columns: Sequence[ColumnElement[Any]] = ALL
) -> Sequence[Row[Any]]:
    """Those that stand at these positions, which rise, as rows of columns and in their order.

    `columns`, if not all, have the position among them.
    """
    of_analysis = Annotation.analysis_id == analysis_id
    prefer_indexes(db.session.connection())
    if are_together(positions):
        between = Annotation.position.between(positions[0], positions[-1])
        statement = select(*columns).where(of_analysis, between).order_by(Annotation.position)
        wanted = set(positions)
        return [row for row in db.session.execute(statement) if row.position in wanted]
    found = found_by_key(columns, of_analysis, Annotation.position.expression, list(positions))
    return sorted(db.session.execute(found), key=attrgetter("position"))


def are_together(positions: Sequence[int]) -> bool:
    """Whether they are nearly all that lie between the first and the last: then these are read at once."""
    return len(positions) > RANGE_ABOVE and positions[-1] - positions[0] < 2 * len(positions)


def by_id(analysis_id: UUID, annotation_id: UUID) -> Row[Any] | None:
    """One of this analysis, as a row of columns."""
    statement = select(*Annotation.__table__.columns)
    of_analysis = Annotation.analysis_id == analysis_id
    return db.session.execute(statement.where(Annotation.id == annotation_id, of_analysis)).one_or_none()
