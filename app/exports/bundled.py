"""What a bundle reads beside annotations: analyses with their images and artifacts, and their audit trail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, select, tuple_
from sqlalchemy.engine import Row

from app.exports.reading import PAGE, read
from app.models import Analysis, Artifact, AuditEvent, Image
from app.models.analyses import LIVE

ANALYSES = 50  # read at a time
IDS = 500  # in one statement
IMAGE = (
    Image.id,
    Image.project_id,
    Image.filename,
    Image.content_type,
    Image.size_bytes,
    Image.sha256,
    Image.width,
    Image.height,
    Image.details.label("details"),
    Image.created_at,
    Image.storage_path,
)


@dataclass(frozen=True)
class Bundled:
    """An analysis, its image and its artifacts, as rows of columns."""

    row: Row[Any]
    image: Row[Any]
    artifacts: Sequence[Row[Any]]


def one(analysis_id: UUID) -> Iterator[Bundled]:
    return _bundled([Analysis.id == analysis_id])


def of_group(group_row_id: UUID, moment: datetime) -> Iterator[Bundled]:
    """Those of a group that were there at `moment`, oldest first."""
    return _bundled([Analysis.group_row_id == group_row_id, Analysis.created_at <= moment])


def _bundled(clauses: Sequence[ColumnElement[bool]]) -> Iterator[Bundled]:
    """No transaction is open while one is used."""
    statement = select(*Analysis.__table__.columns).join(Image, Analysis.image_id == Image.id)
    statement = statement.where(*LIVE, *clauses).order_by(Analysis.created_at, Analysis.id).limit(ANALYSES)
    rows = read(statement)
    while rows:
        images = {row.id: row for row in read(select(*IMAGE).where(Image.id.in_([r.image_id for r in rows])))}
        artifacts = _artifacts([row.id for row in rows])
        for row in rows:
            if row.image_id in images:  # else purged since
                yield Bundled(row, images[row.image_id], artifacts.get(row.id, []))
        place = tuple_(Analysis.created_at, Analysis.id)
        rows = read(statement.where(place > tuple_(rows[-1].created_at, rows[-1].id)))


def _artifacts(analysis_ids: Sequence[UUID]) -> dict[UUID, list[Row[Any]]]:
    statement = select(*Artifact.__table__.columns).where(Artifact.analysis_id.in_(analysis_ids))
    found: dict[UUID, list[Row[Any]]] = {}
    for row in read(statement.order_by(Artifact.created_at, Artifact.id)):
        found.setdefault(row.analysis_id, []).append(row)
    return found


def trail_of(bundled: Bundled) -> Iterator[Sequence[Row[Any]]]:
    """Pages of what the audit trail has of the analysis, and then of its artifacts, each oldest first."""
    yield from _events("analysis", [str(bundled.row.id)])
    ids = [str(row.id) for row in bundled.artifacts]
    for first in range(0, len(ids), IDS):
        yield from _events("artifact", ids[first : first + IDS])


def _events(subject_type: str, ids: Sequence[str]) -> Iterator[Sequence[Row[Any]]]:
    of_them = and_(AuditEvent.subject_type == subject_type, AuditEvent.subject_id.in_(ids))
    statement: Select[Any] = select(*AuditEvent.__table__.columns).where(of_them)
    statement = statement.order_by(AuditEvent.created_at, AuditEvent.id).limit(PAGE)
    rows = read(statement)
    while rows:
        yield rows
        place = tuple_(AuditEvent.created_at, AuditEvent.id)
        rows = read(statement.where(place > tuple_(rows[-1].created_at, rows[-1].id)))
