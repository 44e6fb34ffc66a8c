"""What lists show about many rows at once, each in one query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.extensions import db
from app.models import Analysis, Image, Membership, UserKey


def covers(project_ids: Sequence[UUID], size: int) -> dict[UUID, list[UUID]]:
    """The newest `size` images of each project."""
    place = func.row_number().over(
        partition_by=Image.project_id, order_by=(Image.created_at.desc(), Image.id.desc())
    )
    newest = (
        select(Image.project_id, Image.id, place.label("place"))
        .where(Image.project_id.in_(project_ids), Image.deleted_at.is_(None))
        .subquery()
    )
    found: dict[UUID, list[UUID]] = {project_id: [] for project_id in project_ids}
    for row in db.session.execute(select(newest).where(newest.c.place <= size).order_by(newest.c.place)):
        found[row.project_id].append(row.id)
    return found


def statuses(project_ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """How many analyses each project has in each status."""
    statement = (
        select(Image.project_id, Analysis.status, func.count().label("number"))
        .join(Image, Analysis.image_id == Image.id)
        .where(Image.project_id.in_(project_ids), Image.deleted_at.is_(None), Analysis.deleted_at.is_(None))
        .group_by(Image.project_id, Analysis.status)
    )
    found: dict[UUID, dict[str, int]] = {project_id: {} for project_id in project_ids}
    for row in db.session.execute(statement):
        found[row.project_id][row.status] = row.number
    return found


@dataclass(frozen=True)
class Totals:
    images: int
    analyses: int
    annotations: int


def totals(project_id: UUID) -> Totals:
    """How many images, analyses and annotations a project holds."""
    live = (Image.project_id == project_id, Image.deleted_at.is_(None))
    images = db.session.scalar(select(func.count()).select_from(Image).where(*live)) or 0
    statement = select(func.count(), func.coalesce(func.sum(Analysis.annotation_count), 0)).select_from(
        Analysis
    )
    statement = statement.join(Image, Analysis.image_id == Image.id).where(*live)
    made, said = db.session.execute(statement.where(Analysis.deleted_at.is_(None))).one()
    return Totals(images, made, said)


def members(project_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many members each project has."""
    return _counted(Membership.project_id, project_ids)


def images(project_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many images each project has."""
    return _counted(Image.project_id, project_ids, Image.deleted_at.is_(None))


def memberships(user_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many projects each person is a member of."""
    return _counted(Membership.user_id, user_ids)


def live_keys(user_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many keys of each person are not revoked."""
    return _counted(UserKey.user_id, user_ids, UserKey.revoked_at.is_(None))


def _counted(column: InstrumentedAttribute[UUID], ids: Sequence[UUID], *but: Any) -> dict[UUID, int]:
    """How many rows there are of each; none is 0."""
    statement = select(column, func.count()).where(column.in_(ids), *but).group_by(column)
    return dict.fromkeys(ids, 0) | {row[0]: row[1] for row in db.session.execute(statement)}
