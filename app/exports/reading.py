"""What an export reads, a page at a time: annotations, and artifacts as they were recorded and as they are now."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Text, cast, func, select
from sqlalchemy.engine import Row

from app.extensions import db
from app.models import Annotation, Artifact
from app.services import artifacts
from app.storage import Storage

PAGE = 1000  # rows read at a time at most
PAGE_WEIGHT = 1024 * 1024  # and the most characters of data in them; a row that is heavier comes alone

Pages = Iterator[Sequence[Row[Any]]]


def annotations_of(analysis_id: UUID) -> Pages:
    """Rows of columns in the order of insertion. Holds one page, and no transaction between two pages."""
    statement = select(*Annotation.__table__.columns).where(Annotation.analysis_id == analysis_id)
    for first, last in _stretches(analysis_id):
        rows = read(statement.where(Annotation.position.between(first, last)).order_by(Annotation.position))
        if rows:
            yield rows


def _stretches(analysis_id: UUID) -> Iterator[tuple[int, int]]:
    """The first and the last position of each page. The weights are read beforehand: nobody knows how much data comes
    with the next row, and a polygon may have a hundred thousand points.
    """
    last = -1
    of_it = select(Annotation.position, weight().label("weight")).where(Annotation.analysis_id == analysis_id)
    while True:
        rest = of_it.where(Annotation.position > last).order_by(Annotation.position)
        page = rest.limit(PAGE).subquery()
        ends = func.max(page.c.position).label("last")
        whole = read(select(func.count().label("number"), ends, func.sum(page.c.weight).label("weight")))[0]
        if whole.number and whole.weight <= PAGE_WEIGHT:
            yield last + 1, whole.last
        elif whole.number:
            yield from _parts(read(rest.where(Annotation.position <= whole.last)))
        if whole.number < PAGE:
            return
        last = whole.last


def _parts(rows: Sequence[Row[Any]]) -> Iterator[tuple[int, int]]:
    """The first and the last position of neighbours that are light enough together."""
    part: list[Row[Any]] = []
    total = 0
    for row in rows:
        if part and total + row.weight > PAGE_WEIGHT:
            yield part[0].position, part[-1].position
            part, total = [], 0
        part.append(row)
        total += row.weight
    if part:
        yield part[0].position, part[-1].position


def weight() -> ColumnElement[int]:
    """The characters of an annotation's data as JSON."""
    return func.length(cast(Annotation.data, Text))


def read(statement: Any) -> Sequence[Row[Any]]:
    """In a transaction of its own, which is over."""
    with db.engine.connect() as connection:
        return connection.execute(statement).all()


def as_found(rows: Sequence[Artifact | Row[Any]], storage: Storage) -> list[dict[str, Any]]:
    """The artifacts as they were recorded, each with its `state` now. Asks the storage."""
    found = artifacts.look_up((row.storage_path for row in rows), storage)
    return [
        {
            "type": row.artifact_type,
            "path": row.storage_path,
            "content_type": row.content_type,
            "size": row.size_bytes,
            "hash": row.sha256,
            "etag": row.etag,
            "state": artifacts.state(row, found.get(row.storage_path)),
        }
        for row in rows
    ]
