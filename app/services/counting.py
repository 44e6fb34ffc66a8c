"""How much is in a project, as people are shown it: exactly while it is little, and else as it was counted last.

Counting a million analyses takes a third of a second, so nobody waits for it: a task of the background counts what is
large and keeps the numbers, another finds what has become large, see `background.TASKS` and
[decision 17](../../docs/decisions/0017-lists-by-place.md).
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    Subquery,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    true,
    update,
)

from app import dialect
from app.dialect import READING
from app.extensions import db
from app.models import Analysis, Image, Project, ProjectCount, Status
from app.models.analyses import LIVE
from app.services import made_once

COUNTED = 1000  # of the images and of the analyses of a project, whenever it is shown
RESTS = (
    100  # times as long as counting took: what is large is counted for a hundredth of the time at the most
)
PROJECTS = 200  # looked at in one statement
NEW = timedelta(minutes=5)  # for so long people are not told that a number was counted before


@dataclass(frozen=True)
class Count:
    """So many, or `more` than so many, or `about` so many: it was counted a while ago."""

    number: int
    more: bool = False
    about: bool = False

    def __bool__(self) -> bool:
        return self.number > 0


@dataclass(frozen=True)
class Totals:
    """What a project holds; `counted_at` is None where it was counted just now."""

    images: Count
    annotations: Count
    by_status: dict[str, Count]
    counted_at: datetime | None = None

    @property
    def analyses(self) -> Count:
        return added(self.by_status.values())


def bounded(number: int) -> Count:
    return Count(min(number, COUNTED), number > COUNTED)


def added(counts: Iterable[Count]) -> Count:
    some = list(counts)
    number = sum(one.number for one in some)
    return Count(number, any(one.more for one in some), any(one.about for one in some))


def totals(project_id: UUID, now: datetime) -> Totals:
    return totals_of([project_id], now)[project_id]


def totals_of(project_ids: Sequence[UUID], now: datetime) -> dict[UUID, Totals]:
    """Of each of these projects; in two queries."""
    kept = made_once.rows(_kept_of(), project_ids=project_ids)
    found = {one.project_id: _kept(one, now) for one in kept}
    found |= _count_small([one for one in project_ids if one not in found])
    return {one: found[one] for one in project_ids}


def told(row: Any, project_id: UUID, now: datetime) -> Totals:
    """Of a project's row with the columns of ProjectCount, which are all NULL where nothing is kept."""
    return _count_small([project_id])[project_id] if row.counted_at is None else _kept(row, now)


def _count_small(project_ids: Sequence[UUID]) -> dict[UUID, Totals]:
    if not project_ids:
        return {}
    dialect.keep_to_order()
    some = made_once.rows(_count_now(), project_ids=project_ids, most=COUNTED + 1)
    return {one: _counted(rows) for one, rows in groupby(some, itemgetter(0))}


@made_once.statement
def _kept_of() -> Executable:
    return select(*ProjectCount.__table__.c).where(dialect.is_one_of(ProjectCount.project_id, "project_ids"))


def _kept(row: Any, now: datetime) -> Totals:
    about = now - row.counted_at > NEW
    by_status = {status: Count(number, about=about) for status, number in row.by_status.items()}
    images, annotations = Count(row.images, about=about), Count(row.annotations, about=about)
    return Totals(images, annotations, by_status, row.counted_at)


def _counted(rows: Iterable[Any]) -> Totals:
    """Of the rows of one project, one for each status."""
    some = list(rows)
    numbers = {row.status: bounded(row.analyses) for row in some}
    by_status = {status.value: numbers[status] for status in Status if numbers[status]}
    said = Count(int(sum(row.annotations for row in some)), any(one.more for one in numbers.values()))
    return Totals(bounded(sum(row.images for row in some)), said, by_status)


@made_once.statement
def _count_now() -> Executable:
    """Of each project as many as `most`, a row for each status; the annotations are those of as many analyses, and the
    images stand in the first row. With all statuses side by side it took PostgreSQL longer to plan this than to count
    little: 10.3 ms, now 4.0."""
    each = dialect.table_of(list(Status))
    images = _first(select(Image.id).where(*_images_of(Project.id)).order_by(Image.created_at, Image.id))
    analyses = _first(_analyses_in(each.c.value, Analysis.annotation_count), each)
    is_first = each.c.value == next(iter(Status))
    return (
        select(
            Project.id,
            each.c.value.label("status"),
            case((is_first, _scalar(func.count(), images)), else_=0).label("images"),
            _scalar(func.count(), analyses, each).label("analyses"),
            _scalar(func.coalesce(func.sum(analyses.c[0]), 0), analyses, each).label("annotations"),
        )
        .join(each, true())
        .where(dialect.is_one_of(Project.id, "project_ids"))
        .order_by(Project.id)
    )


def _images_of(project_id: Any) -> tuple[ColumnElement[bool], ...]:
    return Image.project_id == project_id, Image.deleted_at.is_(None)


def _analyses_in(status: Any, column: Any) -> Select[Any]:
    """In the order of an index, so that no other way to them is taken."""
    of_it = (Analysis.project_id == Project.id, Analysis.status == status, *LIVE)
    statement = select(column).join(Analysis.image).where(*of_it)
    return statement.order_by(Analysis.created_at, Analysis.id)


def _first(statement: Select[Any], *each: Any) -> Subquery:
    return statement.correlate(Project, *each).limit(bindparam("most")).subquery()


def _scalar(what: Any, part: Subquery, *each: Any) -> Any:
    return select(what).select_from(part).correlate(Project, *each).scalar_subquery()


# --- what is kept ------------------------------------------------------------------------------------------------


def count_large(now: datetime, *, dry_run: bool) -> Iterator[str | None]:
    """Counts each project anew whose kept numbers have become old. Whoever runs it commits at every step."""
    of_all = select(ProjectCount.project_id, ProjectCount.counted_at, ProjectCount.milliseconds)
    for row in _read(of_all.order_by(ProjectCount.project_id)):
        if now >= row.counted_at + RESTS * timedelta(milliseconds=row.milliseconds):
            if not dry_run:
                _keep(row.project_id, now)
            yield None


def find_large(now: datetime, *, dry_run: bool) -> Iterator[str | None]:
    """Counts what has become large for the first time, and forgets the numbers of what is large no more; along the ids
    of the projects. Whoever runs it commits at every step."""
    after: list[ColumnElement[bool]] = []
    while rows := _read(select(Project.id).where(*after).order_by(Project.id).limit(PROJECTS)):
        ids = [row.id for row in rows]
        large = {row.id for row in _read(_large(ids), in_order=True)}
        known = select(ProjectCount.project_id).where(ProjectCount.project_id.in_(ids))
        kept = {row.project_id for row in _read(known)}
        if kept - large and not dry_run:
            db.session.execute(delete(ProjectCount).where(ProjectCount.project_id.in_(kept - large)))
        yield None
        for project_id in sorted(large - kept):
            if not dry_run:
                _keep(project_id, now)
            yield None
        after = [Project.id > ids[-1]]


def _read(*statements: Executable, in_order: bool = False) -> Sequence[Any]:
    """The rows of all, in a transaction that keeps nobody from writing to SQLite and is over afterwards."""
    db.session.connection(execution_options={READING: True})
    if in_order:
        dialect.keep_to_order()
    rows = [row for one in statements for row in db.session.execute(one)]
    db.session.rollback()
    return rows


def _large(project_ids: Sequence[UUID]) -> Select[Any]:
    """Asked for one at the place after those that are counted at once."""
    images = select(Image.id).where(*_images_of(Project.id)).order_by(Image.created_at, Image.id)
    parts = [images, *(_analyses_in(status, Analysis.id) for status in Status)]
    after = [part.correlate(Project).offset(COUNTED).limit(1).scalar_subquery() for part in parts]
    is_large = or_(*(one.is_not(None) for one in after))
    return select(Project.id).where(Project.id.in_(project_ids), is_large)


def _keep(project_id: UUID, now: datetime) -> None:
    """Also where another process does the same at this moment: what was counted last stays."""
    values = _count(project_id) | {"counted_at": now}
    if not dialect.insert_missing(ProjectCount, {"project_id": project_id, **values}):
        of_it = (ProjectCount.project_id == project_id, ProjectCount.counted_at <= now)
        db.session.execute(update(ProjectCount).where(*of_it).values(values))


def _count(project_id: UUID) -> dict[str, Any]:
    began = time.monotonic()
    numbers = select(Analysis.status, func.count(), func.sum(Analysis.annotation_count)).join(Analysis.image)
    of_it = numbers.where(Analysis.project_id == project_id, *LIVE).group_by(Analysis.status)
    images = select(func.count()).select_from(Image).where(*_images_of(project_id))
    (number,), *rows = _read(images, of_it)
    return {
        "images": number,
        "annotations": int(sum(row[2] for row in rows)),
        "by_status": {row[0]: row[1] for row in rows},
        "milliseconds": int((time.monotonic() - began) * 1000),
    }
