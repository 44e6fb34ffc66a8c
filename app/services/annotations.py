"""Annotations: stored all or not at all, safe to retry; read a page at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, insert, select, tuple_, update
from sqlalchemy.engine import Row

from app.errors import Conflict
from app.extensions import db
from app.models import Analysis, Annotation, Principal
from app.models.columns import new_id, now
from app.services import audit
from app.services.locking import lock

CHUNK = 500  # SQLite takes a limited number of variables in one statement
MAX_NAMED = 100


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
    """What a bulk request does: rows to insert, ids to update and remove, and the id of every item."""

    insert: list[NewAnnotation] = field(default_factory=list)
    update: list[tuple[UUID, NewAnnotation]] = field(default_factory=list)
    remove: list[UUID] = field(default_factory=list)
    unchanged: int = 0
    ids: dict[str, UUID] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.insert or self.update or self.remove)

    def counts(self, total: int) -> dict[str, int]:
        return {
            "inserted": len(self.insert),
            "unchanged": self.unchanged,
            "updated": len(self.update),
            "removed": len(self.remove),
            "total": total,
        }


def store_bulk(
    analysis: Analysis, items: Sequence[NewAnnotation], mode: str, *, dry_run: bool, by: Principal
) -> tuple[dict[str, int], dict[str, UUID]]:
    """Applies a validated request under the lock of the analysis; the counts of the receipt and the id of each item.

    Raises Conflict: an id with other content (not in `upsert` or `replace`), or a terminal analysis that does
    not hold exactly this batch already.
    """
    lock(analysis)
    change = _compare(analysis, items, mode)
    if analysis.state.is_terminal and not change.is_empty:
        raise Conflict(
            f"The analysis is {analysis.status} and takes no more annotations.", current=analysis.status
        )
    total = analysis.annotation_count + len(change.insert) - len(change.remove)
    if not (dry_run or change.is_empty):
        _apply(analysis, change)
        counts = change.counts(total)
        audit.record(by, "annotations.stored", analysis, after=counts, project_id=analysis.image.project_id)
    return change.counts(total), change.ids


def _compare(analysis: Analysis, items: Sequence[NewAnnotation], mode: str) -> Change:
    held = _held(analysis, items, everything=mode == "replace")
    change, differing = Change(), []
    for item in items:
        held_id, held_hash = held.pop(item.client_id, (None, None))
        change.ids[item.client_id] = held_id or new_id()
        if held_id is None:
            change.insert.append(item)
        elif held_hash == item.content_hash:
            change.unchanged += 1
        elif mode == "append":
            differing.append(item.client_id)
        else:
            change.update.append((held_id, item))
    if differing and not analysis.state.is_terminal:
        raise Conflict("Some client_ids are held with other content.", client_ids=differing[:MAX_NAMED])
    if differing:
        raise Conflict(
            f"The analysis is {analysis.status} and takes no more annotations.", current=analysis.status
        )
    if mode == "replace":
        change.remove = [held_id for held_id, _ in held.values()]
    return change


def _held(
    analysis: Analysis, items: Sequence[NewAnnotation], *, everything: bool
) -> dict[str, tuple[UUID, str]]:
    columns = select(Annotation.client_id, Annotation.id, Annotation.content_hash)
    of_analysis = columns.where(Annotation.analysis_id == analysis.id)
    if everything:
        return {row.client_id: (row.id, row.content_hash) for row in db.session.execute(of_analysis)}
    if not analysis.annotation_count:
        return {}
    held = {}
    for chunk in _chunks([item.client_id for item in items]):
        for row in db.session.execute(of_analysis.where(Annotation.client_id.in_(chunk))):
            held[row.client_id] = (row.id, row.content_hash)
    return held


def _apply(analysis: Analysis, change: Change) -> None:
    moment = now()
    if change.remove:
        for chunk in _chunks(change.remove):
            db.session.execute(
                delete(Annotation).where(Annotation.id.in_(chunk)),
                execution_options={"synchronize_session": False},
            )
    for held_id, item in change.update:
        values = item.values | {"content_hash": item.content_hash}
        db.session.execute(
            update(Annotation).where(Annotation.id == held_id).values(values),
            execution_options={"synchronize_session": False},
        )
    rows = [
        item.values
        | {
            "id": change.ids[item.client_id],
            "analysis_id": analysis.id,
            "client_id": item.client_id,
            "content_hash": item.content_hash,
            "created_at": moment,
            "position": analysis.next_position + place,
        }
        for place, item in enumerate(change.insert)
    ]
    if rows:
        db.session.execute(insert(Annotation.__table__), rows)  # type: ignore[arg-type]
    analysis.next_position += len(rows)
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
