"""What a bundle reads beside what is exported: the image, the artifacts and the audit trail of an analysis."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, select, tuple_
from sqlalchemy.engine import Row

from app.exports.many import Selection
from app.exports.reading import PAGE, read
from app.models import Analysis, Artifact, AuditEvent, Image

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


def image_of(image_id: UUID) -> Row[Any] | None:
    """Its columns; None when it was purged."""
    return next(iter(read(select(*IMAGE).where(Image.id == image_id))), None)


def known_of(selection: Selection, moment: datetime, images: bool) -> tuple[int, int, int]:
    """How many analyses of that moment are selected, how many files they have, with or without their images, and how
    many bytes those have together, as far as that was recorded."""
    these = select(Analysis.id, Analysis.image_id).join(Image, Analysis.image_id == Image.id)
    clauses = [*selection.of_images(), *selection.of_analyses(), Analysis.created_at <= moment]
    chosen = these.where(*clauses).cte()
    kept = Artifact.size_bytes, Artifact.analysis_id.in_(select(chosen.c.id))
    pictures = Image.size_bytes, Image.id.in_(select(chosen.c.image_id))
    numbers: list[Select[Any]] = [select(func.count()).select_from(chosen)]
    for size, clause in (kept, pictures) if images else (kept,):
        numbers += [select(func.count(size)).where(clause), select(func.sum(size)).where(clause)]
    analyses, *sums = (int(one or 0) for one in read(select(*(one.scalar_subquery() for one in numbers)))[0])
    return analyses, sum(sums[::2]), sum(sums[1::2])


def artifacts_of(analysis_id: UUID) -> Sequence[Row[Any]]:
    statement = select(*Artifact.__table__.columns).where(Artifact.analysis_id == analysis_id)
    return read(statement.order_by(Artifact.created_at, Artifact.id))


def trail_of(analysis_id: UUID, artifacts: Sequence[Row[Any]]) -> Iterator[Sequence[Row[Any]]]:
    """Pages of what the audit trail has of the analysis, and then of its artifacts, each oldest first."""
    yield from _events("analysis", [str(analysis_id)])
    ids = [str(row.id) for row in artifacts]
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
