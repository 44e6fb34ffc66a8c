"""Which analyses an export takes, and reading them: a page of analyses at a time, with what hangs on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, select, tuple_
from sqlalchemy.engine import Row
from sqlalchemy.orm import aliased

from app.exports.reading import PAGE, PAGE_WEIGHT, Pages, annotations_of, as_found, read, weight
from app.extensions import db
from app.models import Analysis, Annotation, Artifact, Image, Status
from app.schemas.analyses import analysis_out
from app.storage import Storage

SCHEMA_VERSION = "1.0"
ANALYSES = 50  # read at a time
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

    def of_images(self, image: type[Image] = Image) -> list[ColumnElement[bool]]:
        live: list[ColumnElement[bool]] = [image.deleted_at.is_(None)]
        return [*live, image.project_id == self.project_id] if self.project_id else live

    def of_analyses(self) -> list[ColumnElement[bool]]:
        clauses: list[ColumnElement[bool]] = [Analysis.deleted_at.is_(None)]
        if self.model_name:
            clauses.append(Analysis.model_name == self.model_name)
        if self.status:
            clauses.append(Analysis.status == self.status)
        if self.created_from:
            clauses.append(Analysis.created_at >= _midnight(self.created_from))
        if self.created_to and self.created_to < date.max:
            clauses.append(Analysis.created_at < _midnight(self.created_to + timedelta(days=1)))
        return clauses

    def as_json(self) -> dict[str, Any]:
        return {
            "project_id": str(self.project_id) if self.project_id else None,
            "model_name": self.model_name or None,
            "status": self.status.value if self.status else None,
            "created_from": self.created_from.isoformat() if self.created_from else None,
            "created_to": self.created_to.isoformat() if self.created_to else None,
            "annotations": self.annotations,
        }


@dataclass(frozen=True)
class Counts:
    analyses: int
    annotations: int


def count(selection: Selection) -> Counts:
    """How many analyses match, and how many annotations they hold."""
    numbers = select(func.count(), func.coalesce(func.sum(Analysis.annotation_count), 0))
    statement = numbers.select_from(Analysis).join(Image)
    statement = statement.where(*selection.of_images(), *selection.of_analyses())
    analyses, annotations = db.session.execute(statement).one()
    return Counts(analyses, int(annotations))


@dataclass(frozen=True)
class Entry:
    """An analysis in an export: `about` as it is exported alone, `row` its columns with those of its image."""

    about: dict[str, Any]
    row: Row[Any]
    pages: Pages | None


def entries(selection: Selection, moment: datetime, storage: Storage | None) -> Iterator[Entry]:
    """What matches and was there at `moment`, oldest first. Without a storage no artifacts are looked up.

    No transaction is open while an entry is used or the storage is asked.
    """
    for rows in _analyses(selection, moment):
        ids = [row.id for row in rows]
        found = _artifacts(ids) if storage else {}
        for group in _groups(rows) if selection.annotations else [rows]:
            said = _said(group) if selection.annotations else {}
            for row in group:
                about = {"schema_version": SCHEMA_VERSION, **analysis_out(row)}
                if storage:
                    about["artifacts"] = as_found(found.get(row.id, []), storage)
                yield Entry(about, row, said.get(row.id))


def _analyses(selection: Selection, moment: datetime) -> Iterator[Sequence[Row[Any]]]:
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


def _said(group: Sequence[Row[Any]]) -> dict[UUID, Pages]:
    """The annotations of each: of small analyses in one query, of a large one while they are written."""
    ids = [row.id for row in group]
    statement = select(*Annotation.__table__.columns).where(Annotation.analysis_id.in_(ids))
    ordered = statement.order_by(Annotation.analysis_id, Annotation.position)
    rows = read(ordered.limit(PAGE + 1)) if len(group) > 1 else []
    if len(group) == 1 or len(rows) > PAGE:  # large, or grown since they were counted
        return {analysis_id: annotations_of(analysis_id) for analysis_id in ids}
    said: dict[UUID, list[Row[Any]]] = {analysis_id: [] for analysis_id in ids}
    for row in rows:
        said[row.analysis_id].append(row)
    return {analysis_id: iter([found] if found else []) for analysis_id, found in said.items()}


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
