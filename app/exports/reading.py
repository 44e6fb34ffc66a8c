"""What an export reads, a page at a time: annotations, and artifacts as they were recorded and as they are now.

No rows of the ORM: plain columns as the driver has them, `data` as text, read by orjson.
"""

import pickle
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, Connection, Double, Select, Text, case, cast, func, select
from sqlalchemy.engine import Row

from app.dialect import AT_ONE_MOMENT, READING, rows_in_order
from app.exports.waiting import Waiting
from app.extensions import db
from app.models import Annotation, Artifact
from app.services import artifacts
from app.storage import Storage

PAGE = 1000  # rows read at a time at most
PAGE_WEIGHT = 1024 * 1024  # and the most characters of data in them; a row that is heavier comes alone
LIGHT = PAGE_WEIGHT // PAGE  # so many have room on any page
MOMENTS = 10_000  # times that are remembered; those of a batch are equal


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


ON_THE_WIRE = Said._fields[:-1]
Pages: TypeAlias = Iterator[Sequence[Said]]
Raw: TypeAlias = tuple[Any, ...]  # a row of COLUMNS as the driver has it
Read: TypeAlias = Callable[[Any], Sequence[Raw]]

TEXT = cast(Annotation.data, Text)
BEFORE = (
    cast(Annotation.id, Text).label("id"),
    cast(Annotation.analysis_id, Text).label("analysis_id"),
    Annotation.annotation_type,
    Annotation.class_name,
    cast(Annotation.confidence, Double).label("confidence"),
)
AFTER = (
    Annotation.storage_path,
    Annotation.ordering,
    cast(Annotation.created_at, Text).label("created_at"),
    Annotation.client_id,
    Annotation.position,
)
COLUMNS = (*BEFORE, TEXT.label("data"), *AFTER)
DATA, POSITION = len(BEFORE), len(COLUMNS) - 1  # their places among them


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
    return map(said, _pages(analysis_id, _read_in_order))


def _read_in_order(statement: Select[Any]) -> Sequence[Raw]:
    with _reading() as connection:
        return rows_in_order(connection, statement)


def set_aside(analysis_id: UUID, connection: Connection) -> Pages:
    """The same of one that may change: all is read now, at the pace of the database, and put on disk for the reader."""
    aside, sizes = Waiting(), list[int]()
    pages = _kept(aside, sizes)
    next(pages)  # begun, so that it is closed however this ends
    for rows in _pages(analysis_id, partial(rows_in_order, connection)):
        page = pickle.dumps(rows)
        aside.write(page)
        sizes.append(len(page))
    return map(said, pages)


def _kept(aside: Waiting, sizes: Sequence[int]) -> Iterator[Sequence[Any]]:
    with aside:
        yield ()
        yield from map(pickle.loads, aside.chunks(sizes))


def said(rows: Sequence[Any]) -> list[Said]:
    """Rows of COLUMNS, read. Names each column by itself and goes past Said's own constructor, in half the time."""
    new, loads, of, times = tuple.__new__, orjson.loads, _Ids(), _times
    return [
        new(
            Said,
            (_dashed(i), of[a], kind, name, sure, loads(data), path, rank, times[t], own, n),
        )
        for i, a, kind, name, sure, data, path, rank, t, own, n in rows
    ]


def on_the_wire(rows: Sequence[Said]) -> list[dict[str, Any]]:
    """What `annotation_out` gives of each. Written out: JSON takes a sixth less so than with the names zipped."""
    return [
        {
            "id": i,
            "analysis_id": of,
            "annotation_type": kind,
            "class_name": name,
            "confidence": sure,
            "data": data,
            "storage_path": path,
            "ordering": rank,
            "created_at": at,
            "client_id": own,
        }
        for i, of, kind, name, sure, data, path, rank, at, own, _ in rows
    ]


def _dashed(text: str) -> str:
    """SQLite keeps the 32 digits of an id."""
    if len(text) == 36:
        return text
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Ids(dict[str, str]):
    """Ids that come again and again, with their dashes."""

    def __missing__(self, text: str) -> str:
        self[text] = dashed = _dashed(text)
        return dashed


class _Moments(dict[str, str]):
    """Times as the databases write them, by which they are as the wire has them. SQLite keeps no zone."""

    def __missing__(self, text: str) -> str:
        moment = datetime.fromisoformat(text)
        if len(self) >= MOMENTS:
            self.clear()
        self[text] = wire = moment.replace(tzinfo=moment.tzinfo or UTC).isoformat()
        return wire


_times = _Moments()


def _pages(analysis_id: UUID, reading: Read) -> Iterator[Sequence[Raw]]:
    """Rows of COLUMNS.

    Nobody knows how much data comes with the next row, and a polygon may have a hundred thousand points. So with a page
    comes only data that is light; the rest is told its weight, and is read in parts.
    """
    last, rows = -1, reading(_page(analysis_id, -1))
    while rows:
        if None not in [row[DATA] for row in rows]:
            yield [row[:-1] for row in rows]
        else:
            for part in _parts(rows):
                yield _filled(analysis_id, part, reading)
        last = rows[-1][POSITION]
        rows = reading(_page(analysis_id, last)) if len(rows) == PAGE else []


def _page(analysis_id: UUID, after: int) -> Select[Any]:
    """The weight stands last."""
    light = case((weight() <= LIGHT, TEXT)).label("data")
    found = select(*BEFORE, light, *AFTER, weight().label("weight"))
    found = found.where(Annotation.analysis_id == analysis_id, Annotation.position > after)
    return found.order_by(Annotation.position).limit(PAGE)


def _parts(rows: Sequence[Raw]) -> Iterator[list[Raw]]:
    """Neighbours that are light enough together."""
    part: list[Raw] = []
    total = 0
    for row in rows:
        if part and total + row[-1] > PAGE_WEIGHT:
            yield part
            part, total = [], 0
        part.append(row)
        total += row[-1]
    if part:
        yield part


def _filled(analysis_id: UUID, part: Sequence[Raw], reading: Read) -> list[Raw]:
    """With the data that was too heavy for the page; a row that is gone meanwhile is left out."""
    heavy = [row[POSITION] for row in part if row[DATA] is None]
    of_them = Annotation.analysis_id == analysis_id, Annotation.position.in_(heavy)
    statement = select(Annotation.position, TEXT).where(*of_them)
    texts: dict[int, str] = dict(reading(statement))
    return [
        (*row[:DATA], row[DATA] if row[DATA] is not None else texts[row[POSITION]], *row[DATA + 1 : -1])
        for row in part
        if row[DATA] is not None or row[POSITION] in texts
    ]


def weight() -> ColumnElement[int]:
    """The characters of an annotation's data as JSON."""
    return func.length(TEXT)


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
