"""Groups: the row of one, what is in it by status, and the lists of groups and of their analyses.

Counting reads the group's part of one index. Nothing is counted beforehand: then every analysis that begins or ends
would write to the row of its group, and all of a group would wait for each other.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, func, select, update
from sqlalchemy.orm import aliased, contains_eager

from app import dialect
from app.extensions import db
from app.models import Analysis, Group, Image, Status
from app.models.analyses import LIVE
from app.models.columns import new_id, now
from app.models.groups import PENDING, Counts
from app.services.newest_first import Place, beside

ROWS = 500  # of analyses that are given their group at once


def find(project_id: UUID, group_id: str) -> Group | None:
    statement = select(Group).where(Group.project_id == project_id, Group.group_id == group_id)
    return db.session.scalar(statement)


def row_id(project_id: UUID, group_id: str | None, began_at: datetime | None = None) -> UUID | None:
    """The id of the group's row, which is made with its first analysis, now or then; None is no group."""
    if group_id is None:
        return None
    group = find(project_id, group_id)
    if group is None:
        columns = {"id": new_id(), "project_id": project_id, "group_id": group_id}
        columns["created_at"] = began_at or now()
        dialect.insert_missing(Group, columns)  # where somebody else is just making it, theirs is found
        group = find(project_id, group_id)
    return group.id if group else None


def page(
    project_id: UUID, *, limit: int, older_than: Place | None = None, newer_than: Place | None = None
) -> tuple[Sequence[Group], bool]:
    """Newest first, beside the place that is given, and whether more follow; those of which nothing is left are not
    among them."""
    return beside(_of_project(project_id), Group, limit=limit, older_than=older_than, newer_than=newer_than)


def _of_project(project_id: Any) -> Select[Group]:
    """Whether something is left of one is asked group by group: PostgreSQL would make a join of an EXISTS, and read all
    analyses for it. Asked for the first in time: of any, it reads analyses from the first of all until it meets one of
    a group that it takes for large."""
    of_it = select(Analysis.id).join(Analysis.image).where(Analysis.group_row_id == Group.id, *LIVE)
    first = of_it.correlate(Group).order_by(Analysis.created_at, Analysis.id).limit(1)
    return select(Group).where(Group.project_id == project_id, first.scalar_subquery().is_not(None))


# of the project `project_id`, where it has a group to list
ANY = _of_project(bindparam("project_id")).with_only_columns(Group.id).limit(1)


def counts(group_row_ids: Sequence[UUID]) -> dict[UUID, Counts]:
    """Of each of these groups, in one query that an index answers; of images it asks only which were deleted."""
    is_there = dialect.is_none_of(Analysis.image_id, Image.id, Image.deleted_at.is_not(None))
    statement = (
        select(
            Analysis.group_row_id,
            Analysis.status,
            func.count().label("number"),
            func.sum(Analysis.annotation_count).label("annotations"),
            func.min(Analysis.created_at).label("first"),
            func.max(Analysis.created_at).label("last"),
        )
        .where(Analysis.group_row_id.in_(group_row_ids), Analysis.deleted_at.is_(None), is_there)
        .group_by(Analysis.group_row_id, Analysis.status)
    )
    found = db.session.execute(statement).all()
    return {one: _counts([row for row in found if row.group_row_id == one]) for one in group_row_ids}


def _counts(rows: Sequence[Any]) -> Counts:
    if not rows:
        return Counts(dict.fromkeys(Status, 0))
    return Counts(
        by_status=dict.fromkeys(Status, 0) | {Status(row.status): row.number for row in rows},
        annotations=int(sum(row.annotations for row in rows)),
        first_created_at=min(row.first for row in rows),
        last_created_at=max(row.last for row in rows),
    )


def analyses_of(
    group: Group,
    status: Status | None = None,
    *,
    limit: int,
    older_than: Place | None = None,
    newer_than: Place | None = None,
) -> tuple[Sequence[Analysis], bool]:
    """Each with its image: newest first, beside the place that is given; and whether more follow."""
    statement = _analyses(group.id).options(contains_eager(Analysis.image)).where(*within(group.id))
    if status:
        statement = statement.where(Analysis.status == status)
    return beside(statement, Analysis, limit=limit, older_than=older_than, newer_than=newer_than)


def within(group_row_id: UUID) -> tuple[ColumnElement[bool], ...]:
    """In this group, for lists in the order of time: and so between its first analysis and its last one.

    PostgreSQL takes a large group for spread over all time, and walks the index of everything by time until it has
    enough. What is asked together stands together, so without the second it may walk past all that came later.
    """
    one = aliased(Analysis)
    ends = (
        select(end(one.created_at)).where(one.group_row_id == group_row_id) for end in (func.min, func.max)
    )
    first, last = (end.scalar_subquery() for end in ends)
    return Analysis.group_row_id == group_row_id, Analysis.created_at.between(first, last)


def _analyses(group_row_id: UUID) -> Select[Analysis]:
    return select(Analysis).join(Analysis.image).where(Analysis.group_row_id == group_row_id, *LIVE)


# --- what has not ended ------------------------------------------------------------------------------------------


def pending(group_row_id: UUID, limit: int) -> Sequence[UUID]:
    """Some that have not ended, in no order: whoever ends them finds others the next time."""
    of_it = _analyses(group_row_id).with_only_columns(Analysis.id)
    return db.session.scalars(of_it.where(Analysis.status.in_(PENDING)).limit(limit)).all()


def first_pending(group_row_id: UUID, limit: int) -> Sequence[Analysis]:
    """The newest of those that have not ended, each with its image."""
    found: list[Analysis] = []
    for status in PENDING:  # one after the other: each is read along the index
        statement = _analyses(group_row_id).where(Analysis.status == status)
        statement = statement.options(contains_eager(Analysis.image))
        found += beside(statement, Analysis, limit=limit)[0]
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)[:limit]


def count_leased(group_row_id: UUID) -> int:
    """How many of those that have not ended are a worker's."""
    of_it = _analyses(group_row_id).with_only_columns(func.count())
    leased = of_it.where(Analysis.status.in_(PENDING), Analysis.lease_expires_at.is_not(None))
    return db.session.scalar(leased) or 0


# --- what was created by a process of an earlier release ---------------------------------------------------------


def give_rows(*, dry_run: bool) -> Iterator[str]:
    """Has analyses find the row of their group that were created by a process which knows of none, while a release
    takes the place of another. Says what it does; whoever runs it commits at every step.

    It goes along their ids. What somebody else holds just now is found the next time, and what two of these find, the
    first one has done.
    """
    rowless = select(Analysis.id, Analysis.group_id, Analysis.created_at, Image.project_id)
    rowless = rowless.join(Analysis.image).order_by(Analysis.id).limit(ROWS)
    rowless = rowless.where(Analysis.group_id.is_not(None), Analysis.group_row_id.is_(None))
    rowless = rowless.with_for_update(of=Analysis, key_share=True, skip_locked=True)
    rows = db.session.execute(rowless).all()
    while rows:
        if not dry_run:
            _give_rows(rows)
        yield f"{len(rows)} {'analysis' if len(rows) == 1 else 'analyses'} put into groups"
        rows = db.session.execute(rowless.where(Analysis.id > rows[-1].id)).all()


def _give_rows(rows: Sequence[Any]) -> None:
    """In the order of the groups, so that no two who make several wait for each other."""
    for (project_id, group_id), some in groupby(sorted(rows, key=_group_of), _group_of):
        found = list(some)
        group_row_id = row_id(project_id, group_id, min(row.created_at for row in found))
        statement = update(Analysis).where(Analysis.id.in_([row.id for row in found]))
        given = statement.values(group_row_id=group_row_id)
        db.session.execute(given, execution_options={"synchronize_session": False})


def _group_of(row: Any) -> tuple[UUID, str]:
    return row.project_id, row.group_id
