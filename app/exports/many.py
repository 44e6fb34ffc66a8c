"""Which analyses an export takes, and reading them: a page of analyses at a time, with what hangs on them."""

import time as clock
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, select, tuple_
from sqlalchemy.engine import Row
from sqlalchemy.orm import aliased

from app.errors import Deleted
from app.exports.losses import Losses
from app.exports.reading import (
    PAGE,
    PAGE_WEIGHT,
    Page,
    Pages,
    annotations_of,
    as_found,
    one_moment,
    read,
    set_aside,
    weight,
)
from app.models import Analysis, Annotation, Artifact, Group, Image, Status
from app.schemas.analyses import analysis_out
from app.services.annotation_rows import COLUMNS, OF, Raw
from app.storage import Storage

SCHEMA_VERSION = "1.0"
ANALYSES = 50  # read at a time
FRESH = (
    0.1  # seconds for which a page is known to live; after that each of it is looked up when it is its turn
)
OF_IMAGE = (Image.project_id, Image.filename, Image.width, Image.height)


@dataclass(frozen=True)
class Selection:
    """Empty is any. The days are those of UTC, the last one included; `annotations` says whether they come along."""

    project_id: UUID | None = None
    model_name: str = ""
    status: Status | None = None
    created_from: date | None = None
    created_to: date | None = None
    annotations: bool = True
    group_id: str = ""

    def of_images(self, image: type[Image] = Image) -> list[ColumnElement[bool]]:
        live: list[ColumnElement[bool]] = [image.deleted_at.is_(None)]
        return [*live, image.project_id == self.project_id] if self.project_id else live

    def of_analyses(self) -> list[ColumnElement[bool]]:
        clauses: list[ColumnElement[bool]] = [Analysis.deleted_at.is_(None)]
        if self.model_name:
            clauses.append(Analysis.model_name == self.model_name)
        if self.group_id:
            clauses.append(self._in_group())
        if self.status:
            clauses.append(Analysis.status == self.status)
        if self.created_from:
            clauses.append(Analysis.created_at >= _midnight(self.created_from))
        if self.created_to and self.created_to < date.max:
            clauses.append(Analysis.created_at < _midnight(self.created_to + timedelta(days=1)))
        return clauses

    def _in_group(self) -> ColumnElement[bool]:
        """By the rows of the groups of this name, one in a project, whose analyses an index has in this order.

        Looked up beforehand: of a group that it knows, PostgreSQL knows whether it is a large one, and walks along it.
        """
        rows = select(Group.id).where(Group.group_id == self.group_id)
        if self.project_id:
            rows = rows.where(Group.project_id == self.project_id)
        ids = [row.id for row in read(rows)]
        return Analysis.group_row_id == ids[0] if len(ids) == 1 else Analysis.group_row_id.in_(ids)

    def as_json(self) -> dict[str, Any]:
        return {
            "project_id": str(self.project_id) if self.project_id else None,
            "group_id": self.group_id or None,
            "model_name": self.model_name or None,
            "status": self.status.value if self.status else None,
            "created_from": self.created_from.isoformat() if self.created_from else None,
            "created_to": self.created_to.isoformat() if self.created_to else None,
            "annotations": self.annotations,
        }

    @classmethod
    def of_json(cls, kept: Mapping[str, Any]) -> "Selection":
        """The selection that `as_json` told of."""
        kinds: dict[str, Callable[[Any], Any]] = {
            "project_id": UUID,
            "status": Status,
            "created_from": date.fromisoformat,
            "created_to": date.fromisoformat,
        }
        given = {name: value for name, value in kept.items() if value is not None}
        return cls(**{name: kinds.get(name, type(value))(value) for name, value in given.items()})


@dataclass(frozen=True)
class Counts:
    analyses: int
    annotations: int


def count(selection: Selection, moment: datetime | None = None) -> Counts:
    """How many analyses match (of those that were there at `moment`) and how many annotations they hold, as they are
    written down with each."""
    numbers = select(func.count(), func.coalesce(func.sum(Analysis.annotation_count), 0))
    statement = numbers.select_from(Analysis).join(Image)
    statement = statement.where(*selection.of_images(), *selection.of_analyses())
    row: Any = read(statement if moment is None else statement.where(Analysis.created_at <= moment))[0]
    return Counts(row[0], int(row[1]))


@dataclass(frozen=True)
class Entry:
    """An analysis in an export: `about` as it is exported alone, `row` its columns with those of its image."""

    about: dict[str, Any]
    row: Row[Any]
    pages: Pages | None


@dataclass
class Progress:
    """How much has been read for an export so far, and what its format could not carry of that."""

    analyses: int = 0
    annotations: int = 0
    losses: Losses = field(default_factory=Losses)

    def over(self, found: Iterable[Entry]) -> Iterator[Entry]:
        """The same entries, counted as they are taken."""
        for entry in found:
            self.analyses += 1
            yield entry if entry.pages is None else replace(entry, pages=self._over_pages(entry.pages))

    def _over_pages(self, pages: Pages) -> Pages:
        for rows in pages:
            self.annotations += len(rows)
            yield rows


def entries(selection: Selection, moment: datetime, storage: Storage | None) -> Iterator[Entry]:
    """What matches and was there at `moment`, oldest first. Without a storage no artifacts are looked up.

    What is deleted meanwhile is left out, up to FRESH before its entry is taken; annotations of one that has ended that
    are gone after that raise Deleted from its pages. No transaction is open while an entry is used or the storage is
    asked.
    """
    asked = clock.monotonic()
    for rows in analyses_of(selection, moment):
        for entry in _entries(rows, selection, storage):
            if clock.monotonic() < asked + FRESH or _lives(entry.row.id):
                yield entry
        asked = clock.monotonic()


def _lives(analysis_id: UUID) -> bool:
    """Whether neither it nor its image is deleted: it was read with others, and a slow client comes to it later."""
    live = select(Analysis.id).join(Image, Analysis.image_id == Image.id)
    live = live.where(Analysis.id == analysis_id, Analysis.deleted_at.is_(None), Image.deleted_at.is_(None))
    return bool(read(live))


def _entries(rows: Sequence[Row[Any]], selection: Selection, storage: Storage | None) -> Iterator[Entry]:
    found = Found(_artifacts([row.id for row in rows]), storage) if storage else None
    if not selection.annotations:
        yield from (Entry(_about(row, found), row, None) for row in rows)
        return
    for group in _groups(rows):
        if any(map(_runs, group)):
            yield from _running([row.id for row in group], found)
        else:
            pages = _said(group, read, annotations_of)
            yield from (_entry(row, found, pages[row.id]) for row in group)


def entry_of(analysis_id: UUID, storage: Storage | None) -> Entry | None:
    """One analysis alone; None when it has been deleted."""
    found = Found(_artifacts([analysis_id]), storage) if storage else None
    rows = read(_these([analysis_id]))
    if rows and not _runs(rows[0]):
        return _entry(rows[0], found, annotations_of(analysis_id))
    return next(_running([analysis_id], found), None)


def alone(analysis_id: UUID, storage: Storage | None) -> Iterator[Entry]:
    """The same, read when it is taken. Raises Deleted."""
    entry = entry_of(analysis_id, storage)
    if entry is None:
        raise Deleted("This analysis has been deleted.")
    yield entry


def takes_a_while(row: Row[Any] | Analysis) -> bool:
    """Whether all of it is set aside before any of it is written, and is more than a page."""
    return _runs(row) and row.annotation_count > PAGE


def _runs(row: Row[Any] | Analysis) -> bool:
    return not Status(row.status).is_terminal


def _running(ids: Sequence[UUID], found: "Found | None") -> Iterator[Entry]:
    """These analyses and their annotations as they are at one moment, without those that have been deleted."""
    with one_moment() as connection:
        rows = connection.execute(_these(ids)).all()
        pages = _said(
            rows,
            lambda statement: connection.execute(statement).all(),
            partial(set_aside, connection=connection),
        )
    for row in rows:
        yield _entry(row, found, pages[row.id])


def _entry(row: Row[Any], found: "Found | None", pages: Pages) -> Entry:
    return Entry(_about(row, found), row, pages if _runs(row) else _whole(row, pages))


def _whole(row: Row[Any], pages: Pages) -> Pages:
    """The same pages of an analysis that has ended. Raises Deleted after the last one when annotations are gone.

    It is purged while a slow client reads, say: without this the file would end as one that is whole.
    """
    there = 0
    for rows in pages:
        there += len(rows)
        yield rows
    if there < row.annotation_count:
        raise Deleted("Annotations of an analysis have been deleted while it was exported.")


def _these(ids: Sequence[UUID]) -> Select[Any]:
    statement = select(*Analysis.__table__.columns, *OF_IMAGE).join(Image, Analysis.image_id == Image.id)
    statement = statement.where(
        Analysis.id.in_(ids), Analysis.deleted_at.is_(None), Image.deleted_at.is_(None)
    )
    return statement.order_by(Analysis.created_at, Analysis.id)


@dataclass(frozen=True)
class Found:
    """Artifacts by their analysis, and the storage that knows what became of them."""

    rows: Mapping[UUID, Sequence[Row[Any]]]
    storage: Storage


def _about(row: Row[Any], found: Found | None) -> dict[str, Any]:
    about = {"schema_version": SCHEMA_VERSION, **analysis_out(row), "filename": row.filename}
    return about | ({"artifacts": as_found(found.rows.get(row.id, []), found.storage)} if found else {})


def analyses_of(selection: Selection, moment: datetime) -> Iterator[Sequence[Row[Any]]]:
    """Pages of their columns with those of their images, oldest first."""
    rows = read(page_of(selection, moment))
    while rows:
        yield rows
        rows = read(page_of(selection, moment, (rows[-1].created_at, rows[-1].id)))


def page_of(
    selection: Selection, moment: datetime, after: tuple[datetime, UUID] | None = None
) -> Select[Any]:
    """The next analyses after that place, read from an index that has them in this order.

    A database that may choose begins with the images of a project and sorts all their analyses, for each page anew. So
    whether the image fits is asked analysis by analysis, as a subquery; a bare yes or no, which PostgreSQL takes for
    every second row and not for one in two hundred.
    """
    if after:  # one beginning only: SQLite goes to the first that it finds
        selection = replace(selection, created_from=None)
    place = tuple_(Analysis.created_at, Analysis.id)
    image = aliased(Image)
    fits = select(and_(*selection.of_images(image))).where(image.id == Analysis.image_id)
    statement = select(*Analysis.__table__.columns, *OF_IMAGE)
    statement = statement.outerjoin_from(Analysis, Image, Analysis.image_id == Image.id)
    statement = statement.where(*selection.of_analyses(), Analysis.created_at <= moment)
    statement = statement.where(fits.correlate(Analysis).scalar_subquery())
    if after:
        statement = statement.where(place > tuple_(*after))
    return statement.order_by(Analysis.created_at, Analysis.id).limit(ANALYSES)


def _artifacts(analysis_ids: Sequence[UUID]) -> dict[UUID, list[Row[Any]]]:
    statement = select(*Artifact.__table__.columns).where(Artifact.analysis_id.in_(analysis_ids))
    found: dict[UUID, list[Row[Any]]] = {}
    for row in read(statement.order_by(Artifact.created_at, Artifact.id)):
        found.setdefault(row.analysis_id, []).append(row)
    return found


def _groups(rows: Sequence[Row[Any]]) -> Iterator[list[Row[Any]]]:
    """Neighbours whose annotations fit into one page; a large analysis is alone."""
    weights = _weights([row.id for row in rows if row.annotation_count <= PAGE])
    group: list[Row[Any]] = []
    size = heavy = 0
    for row in rows:
        more = weights.get(row.id, 0)
        if group and (size + row.annotation_count > PAGE or heavy + more > PAGE_WEIGHT):
            yield group
            group, size, heavy = [], 0, 0
        group.append(row)
        size, heavy = size + row.annotation_count, heavy + more
    if group:
        yield group


def _weights(analysis_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How much data hangs on each; what says nothing is not there."""
    statement = select(Annotation.analysis_id, func.sum(weight()).label("weight"))
    statement = statement.where(Annotation.analysis_id.in_(analysis_ids)).group_by(Annotation.analysis_id)
    return {row.analysis_id: int(row.weight) for row in read(statement)}


def _said(
    group: Sequence[Row[Any]],
    reading: Callable[[Select[Any]], Sequence[Row[Any]]],
    alone: Callable[[UUID], Pages],
) -> dict[UUID, Pages]:
    """The annotations of each: of small analyses in one query, of a large one by itself."""
    ids = [row.id for row in group]
    statement = select(*COLUMNS).where(Annotation.analysis_id.in_(ids))
    ordered = statement.order_by(Annotation.analysis_id, Annotation.position)
    rows = reading(ordered.limit(PAGE + 1)) if len(group) > 1 else []
    if len(group) == 1 or len(rows) > PAGE:  # large, or more than was counted
        return {analysis_id: alone(analysis_id) for analysis_id in ids}
    found: dict[UUID, list[Raw]] = {analysis_id: [] for analysis_id in ids}
    for of, some in groupby(rows, itemgetter(OF)):
        found[UUID(of)].extend(some)
    return {analysis_id: iter([Page(some)] if some else []) for analysis_id, some in found.items()}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
