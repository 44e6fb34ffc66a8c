"""Annotations: stored all or not at all, safe to retry; read a page at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Protocol, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, select, tuple_, update
from sqlalchemy.engine import Row

from app.dialect import found_by_key, insert_rows
from app.errors import Conflict
from app.extensions import db
from app.models import Analysis, Annotation, Principal
from app.models.columns import new_id, now
from app.services import audit, leases, receipts
from app.services.locking import lock

CHUNK = 500  # SQLite takes a limited number of variables in one statement
MAX_NAMED = 100
RANGE_ABOVE = 50
COLUMNS: Sequence[ColumnElement[Any]] = tuple(Annotation.__table__.columns)
# all that is read of one to draw it
DRAWN = tuple(
    Annotation.__table__.c[name]
    for name in (
        *("id", "annotation_type", "class_name", "confidence", "data", "storage_path"),
        *("content_hash", "position"),
    )
)


class NewAnnotation(Protocol):
    """What storing needs to know of one annotation: `values` are the columns of its type's canonical form."""

    @property
    def client_id(self) -> str: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def values(self) -> dict[str, Any]: ...


@dataclass
class Change:
    """What a bulk request does: items to insert, held ones to update, ids to remove or to put in another place."""

    insert: list[NewAnnotation] = field(default_factory=list)
    update: list[NewAnnotation] = field(default_factory=list)
    remove: list[UUID] = field(default_factory=list)
    unchanged: int = 0
    reorders: bool = False
    ids: dict[str, UUID] = field(default_factory=dict)

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
) -> tuple[dict[str, int], dict[str, UUID]]:
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
        _apply(analysis, items, change)
        audit.record(
            by,
            "annotations.stored",
            analysis,
            before={"total": held_before},
            after=counts | {"mode": mode} | dict(source or {}),
            project_id=analysis.image.project_id,
        )
        receipts.record(by, analysis, batch=batch, mode=mode, counts=counts, notes=notes)
    return counts, change.ids


def _compare(analysis: Analysis, items: Sequence[NewAnnotation], mode: str) -> tuple[Change, list[str]]:
    """The change, and the ids that append would have to overwrite."""
    held = _held(analysis, items, everything=mode == "replace")
    change, differing, last = Change(), [], -1
    for item in items:
        row = held.pop(item.client_id, None)
        change.ids[item.client_id] = row.id if row else new_id()
        if row is None:
            change.insert.append(item)
        elif row.content_hash == item.content_hash:
            change.unchanged += 1
        elif mode == "append":
            differing.append(item.client_id)
        else:
            change.update.append(item)
        if mode == "replace" and row is not None:
            # what is inserted goes to the end, so a held one after it, or before its forerunner, must move
            change.reorders |= bool(change.insert) or row.position < last
            last = row.position
    if mode == "replace":
        change.remove = [row.id for row in held.values()]
    return change, differing


def _held(analysis: Analysis, items: Sequence[NewAnnotation], *, everything: bool) -> dict[str, Any]:
    """Rows of `id`, `content_hash` and `position` by client_id: of these items, or of the whole analysis."""
    if not analysis.annotation_count:
        return {}
    columns = (Annotation.client_id, Annotation.id, Annotation.content_hash, Annotation.position)
    of_analysis = Annotation.analysis_id == analysis.id
    if everything:
        return {row.client_id: row for row in db.session.execute(select(*columns).where(of_analysis))}
    return {
        row.client_id: row
        for chunk in _chunks([item.client_id for item in items])
        for row in db.session.execute(
            found_by_key(columns, of_analysis, Annotation.client_id.expression, chunk)
        )
    }


def _apply(analysis: Analysis, items: Sequence[NewAnnotation], change: Change) -> None:
    # Core on one connection, many rows a statement: the ORM would take a round trip for each
    connection, table, moment = db.session.connection(), cast(Table, Annotation.__table__), now()
    first = analysis.next_position
    for chunk in _chunks(change.remove):
        connection.execute(delete(table).where(table.c.id.in_(chunk)))
    one = update(table).where(table.c.id == bindparam("held_id"))
    if change.update:
        held = [
            {**item.values, "content_hash": item.content_hash, "held_id": change.ids[item.client_id]}
            for item in change.update
        ]
        connection.execute(one, held)
    if change.insert:
        rows = [
            {
                **item.values,
                "content_hash": item.content_hash,
                "analysis_id": analysis.id,
                "created_at": moment,
                "id": change.ids[item.client_id],
                "client_id": item.client_id,
                "position": first + place,
            }
            for place, item in enumerate(change.insert)
        ]
        insert_rows(table, rows)
    if change.reorders:
        places = [
            {"held_id": change.ids[item.client_id], "position": first + place}
            for place, item in enumerate(items)
        ]
        connection.execute(one.values(position=bindparam("position")), places)
    analysis.next_position += len(items)
    analysis.annotation_count += len(change.insert) - len(change.remove)
    analysis.touch()


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))


# --- reading -----------------------------------------------------------------------------------------------------

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
) -> tuple[Sequence[Annotation], int, list[Any] | None]:
    """A page, how many match in all, and the place of its last row when more follow (a keyset, to come back with)."""
    clauses = _narrowed(analysis.id, wanted)
    total = db.session.scalar(select(func.count()).select_from(Annotation).where(*clauses)) or 0
    descending = (wanted.sort or "").startswith("-")
    key = SORTS[wanted.sort.removeprefix("-")] if wanted.sort else Annotation.position.expression
    place = tuple_(key, Annotation.position)
    statement = select(Annotation, key.label("key")).where(*clauses)
    if after is not None:
        there = tuple_(*after)
        statement = statement.where(place < there if descending else place > there)
    order = (key.desc(), Annotation.position.desc()) if descending else (key, Annotation.position)
    rows = db.session.execute(statement.order_by(*order).offset(skip).limit(limit + 1)).all()
    more = len(rows) > limit
    rows = rows[:limit]
    last = [rows[-1].key, rows[-1][0].position] if more and rows else None
    return [row[0] for row in rows], total, last


def of_analysis(analysis: Analysis) -> Sequence[Row[Any]]:
    """All of them in the order of insertion, as rows of columns."""
    statement = select(*Annotation.__table__.columns).where(Annotation.analysis_id == analysis.id)
    return db.session.execute(statement.order_by(Annotation.position)).all()


def at(
    analysis_id: UUID, positions: Sequence[int], columns: Sequence[ColumnElement[Any]] = COLUMNS
) -> Sequence[Row[Any]]:
    """Those that stand at these positions, which rise, as rows of columns and in their order.

    `columns`, if not all, have the position among them.
    """
    of_analysis = Annotation.analysis_id == analysis_id
    if len(positions) > RANGE_ABOVE and positions[-1] - positions[0] < 2 * len(positions):
        # nearly all that lie between the first and the last: they are read at once
        between = Annotation.position.between(positions[0], positions[-1])
        statement = select(*columns).where(of_analysis, between).order_by(Annotation.position)
        wanted = set(positions)
        return [row for row in db.session.execute(statement) if row.position in wanted]
    rows = [
        row
        for chunk in _chunks(positions)
        for row in db.session.execute(
            found_by_key(columns, of_analysis, Annotation.position.expression, list(chunk))
        )
    ]
    return sorted(rows, key=attrgetter("position"))


def by_id(analysis_id: UUID, annotation_id: UUID) -> Row[Any] | None:
    """One of this analysis, as a row of columns."""
    statement = select(*Annotation.__table__.columns)
    of_analysis = Annotation.analysis_id == analysis_id
    return db.session.execute(statement.where(Annotation.id == annotation_id, of_analysis)).one_or_none()
