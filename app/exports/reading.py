"""What an export reads, a page at a time: annotations, and artifacts as they were recorded and as they are now.

No rows of the ORM: plain columns as the driver has them, `data` as text, read by orjson.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, Text, bindparam, case, cast, select
from sqlalchemy.engine import Row

from app.dialect import AT_ONE_MOMENT, READING, derived, octets, rows_in_order
from app.exports.waiting import Waiting
from app.extensions import db
from app.models import Annotation, Artifact
from app.services import artifacts, made_once
from app.services.annotation_rows import (
    COLUMNS,
    DATA,
    POSITION,
    TEXT,
    Ids,
    Raw,
    dashed,
    data_of,
    moments,
)
from app.storage import Storage

PAGE = 1000  # rows read at a time at most
PAGE_WEIGHT = 1024 * 1024  # and the most characters of data in them; a row that is heavier comes alone
LIGHT = PAGE_WEIGHT // PAGE  # so many have room on any page
OBJECT = "{"  # how all data begins


class Said(NamedTuple):
    """An annotation as exports have it: ids and time as text, `data` as it is stored. First what is on the wire."""

    id: str
    analysis_id: str
    annotation_type: str
    class_name: str | None
    confidence: float | None
    data: dict[str, Any]
    storage_path: str | None
    ordering: int | None
    created_at: str
    client_id: str
    position: int


class Page(Sequence[Said]):
    """Annotations as the driver has them, in `rows`; read when they are asked for one by one.

    JSON and CSV are made from `rows`: what neither reads is not made.
    """

    def __init__(self, rows: Sequence[Raw]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Said]:
        return iter(self._said)

    def __getitem__(self, place: Any) -> Any:
        return self._said[place]

    @cached_property
    def _said(self) -> list[Said]:
        """Names each column by itself and goes past Said's own constructor, in half the time."""
        new, of, times = tuple.__new__, Ids(), moments
        return [
            new(Said, (dashed(i), of[a], kind, name, sure, data, path, rank, times[at], own, n))
            for (i, a, kind, name, sure, _, path, rank, at, own, n), data in zip(
                self.rows, data_of(self.rows), strict=True
            )
        ]


ON_THE_WIRE = Said._fields[:-1]
Pages: TypeAlias = Iterator[Page]
Read: TypeAlias = Callable[..., Sequence[Raw]]


def read(statement: Any) -> Sequence[Row[Any]]:
    """In a transaction of its own, which is over, and kept nobody from writing."""
    with _reading() as connection:
        return connection.execute(statement).all()


def one_moment() -> Connection:
    """Reads the database as it is at one moment, in one transaction."""
    return _reading(**AT_ONE_MOMENT[db.engine.dialect.name])


def _reading(**options: Any) -> Connection:
    return db.engine.connect().execution_options(**{READING: True}, **options)


def annotations_of(analysis_id: UUID) -> Pages:
    """Pages in the order of insertion. Holds one page, and no transaction between two pages."""
    return map(Page, _pages(analysis_id, _read_in_order))


def _read_in_order(statement: Select[Any], **values: Any) -> Sequence[Raw]:
    with _reading() as connection:
        return rows_in_order(connection, statement, values)


def set_aside(analysis_id: UUID, connection: Connection) -> Pages:
    """The same of one that may change: all is read now, at the pace of the database, and put on disk for the reader."""
    aside, sizes = Waiting(), list[int]()
    pages = _kept(aside, sizes)
    next(pages)  # begun, so that it is closed however this ends
    for rows in _pages(analysis_id, lambda statement, **values: rows_in_order(connection, statement, values)):
        page = pickle.dumps(rows)
        aside.write(page)
        sizes.append(len(page))
    return map(Page, pages)


def _kept(aside: Waiting, sizes: Sequence[int]) -> Iterator[Sequence[Any]]:
    with aside:
        yield ()
        yield from map(pickle.loads, aside.chunks(sizes))


def _pages(analysis_id: UUID, reading: Read) -> Iterator[Sequence[Raw]]:
    """Rows of COLUMNS.

    Nobody knows how much data comes with the next row, and a polygon may have a hundred thousand points. So with a page
    comes only data that is light; the rest is told its weight, and is read in parts.
    """
    page, last = _page(), -1
    while rows := reading(page, of=analysis_id, after=last):
        if {row[DATA][0] for row in rows} == {OBJECT}:
            yield rows
        else:
            for part in _parts(rows):
                yield _filled(analysis_id, part, reading)
        if len(rows) < PAGE:
            return
        last = rows[-1][POSITION]


@made_once.statement
def _page() -> Select[Any]:
    """The rows of the analysis `of` that stand `after` a position; in place of data that is too heavy its weight.

    Made once: that took as long as a tenth of reading what it asks for.
    """
    found = select(*COLUMNS).where(Annotation.analysis_id == bindparam("of"))
    found = found.where(Annotation.position > bindparam("after")).order_by(Annotation.position).limit(PAGE)
    return derived(found, _or_weight)


def _or_weight(columns: Any) -> list[ColumnElement[Any]]:
    data, all_of_them = columns.data, list(columns)
    light = case((octets(data) <= LIGHT, data), else_=cast(octets(data), Text)).label("data")
    return [*all_of_them[:DATA], light, *all_of_them[DATA + 1 :]]


def _is_there(row: Raw) -> bool:
    """Whether its data came, which is an object, or the digits of its weight."""
    return bool(row[DATA][0] == OBJECT)


def _weight(row: Raw) -> int:
    return len(row[DATA]) if _is_there(row) else int(row[DATA])


def _parts(rows: Sequence[Raw]) -> Iterator[list[Raw]]:
    """Neighbours that are light enough together."""
    part: list[Raw] = []
    total = 0
    for row in rows:
        if part and total + _weight(row) > PAGE_WEIGHT:
            yield part
            part, total = [], 0
        part.append(row)
        total += _weight(row)
    if part:
        yield part


def _filled(analysis_id: UUID, part: Sequence[Raw], reading: Read) -> list[Raw]:
    """With the data that was too heavy for the page; a row that is gone meanwhile is left out."""
    heavy = [row[POSITION] for row in part if not _is_there(row)]
    of_them = Annotation.analysis_id == analysis_id, Annotation.position.in_(heavy)
    found: Any = reading(select(Annotation.position, TEXT).where(*of_them))
    texts: dict[int, str] = dict(found)
    return [
        row if _is_there(row) else (*row[:DATA], texts[row[POSITION]], *row[DATA + 1 :])
        for row in part
        if _is_there(row) or row[POSITION] in texts
    ]


def weight() -> ColumnElement[int]:
    """How long an annotation's data is as JSON."""
    return octets(TEXT)


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
