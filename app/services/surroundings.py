"""What the page of a project shows beside its images, whatever these are narrowed by."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Executable, bindparam, literal, null, select

from app import dialect
from app.models import ProjectCount
from app.services import counting, groups, listed, made_once


@dataclass(frozen=True)
class Surroundings:
    """How much is in the project, the models of its analyses by name, and whether it has a group to list."""

    totals: counting.Totals
    models: list[str]
    grouped: bool


def of_project(project_id: UUID, now: datetime, *, most: int) -> Surroundings:
    """With `most` models; with neither models nor groups where that is 0. One statement, and another one for the totals
    of what is so little that it is counted now."""
    row = made_once.rows(_around(most > 0), project_id=project_id, most=most)[0]
    return Surroundings(
        counting.told(row, project_id, now), sorted(row.models or []), row.group_id is not None
    )


@made_once.statement
def _around(of_analyses: bool) -> Executable:
    models: ColumnElement[Any] = null()
    group: ColumnElement[Any] = null()
    if of_analyses:
        models = dialect.as_list(listed.MODELS.subquery().c.name).scalar_subquery()
        group = groups.ANY.scalar_subquery()
    kept = ProjectCount.__table__.c
    columns = (*kept, models.label("models"), group.label("group_id"))
    one_row = select(literal(1).label("one")).subquery()
    of_it = kept.project_id == bindparam("project_id")
    return select(*columns).select_from(one_row.outerjoin(ProjectCount.__table__, of_it))
