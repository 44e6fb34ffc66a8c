"""What lists show about many rows at once, each in one query."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from app.extensions import db
from app.models import Image, Membership, Project, UserKey


def covers(project_ids: Sequence[UUID], size: int) -> dict[UUID, list[UUID]]:
    """The newest `size` images of each project, each found along an index."""
    newest = select(Image.id).where(Image.project_id == Project.id, Image.deleted_at.is_(None))
    newest = newest.order_by(Image.created_at.desc(), Image.id.desc()).limit(1).correlate(Project)
    places = [newest.offset(place).scalar_subquery() for place in range(size)]
    rows = db.session.execute(select(Project.id, *places).where(Project.id.in_(project_ids)))
    return {project_id: [one for one in found if one] for project_id, *found in rows}


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
