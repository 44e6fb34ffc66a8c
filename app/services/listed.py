"""The lists of a project, read along indexes that begin with it: as long for the last page as for the first, whatever
is asked and however much of it there is ([decision 17](../../docs/decisions/0017-lists-by-place.md)).

No index has what is in any status in one order, so that few indexes do: what is in each status is read along its own
part of one, and what comes first of all is taken.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, bindparam, select, tuple_, union_all

from app import dialect
from app.extensions import db
from app.models import Analysis, Image, Status
from app.models.analyses import LIVE
from app.services import groups
from app.services.newest_first import Place


@dataclass(frozen=True)
class Wanted:
    """Which analyses of a project; None is any. `created_after` is included, `created_before` is not."""

    status: Status | None = None
    model: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def within(self, after: Place | None) -> list[ColumnElement[bool]]:
        """What bounds the time, also by the place after which the page begins."""
        clauses: list[ColumnElement[bool]] = []
        if self.created_after:
            clauses.append(Analysis.created_at >= self.created_after)
        if self.created_before:
            clauses.append(Analysis.created_at < self.created_before)
        if after:
            clauses.append(tuple_(Analysis.created_at, Analysis.id) < tuple_(*after))
        return clauses


def in_each(
    project_id: UUID, status: Status | None, model: str | None, read: Callable[[Any], Select[Any]]
) -> Subquery:
    """What `read` takes, in its order and bounded by its limit, of the analyses in each of the statuses."""
    wanted = select(Analysis.id).join(Image).where(Analysis.project_id == project_id, *LIVE)
    if model:
        wanted = wanted.where(Analysis.model_name == model)
    parts = [read(wanted.where(Analysis.status == one)) for one in ([status] if status else Status)]
    if len(parts) == 1:
        return parts[0].subquery()
    return union_all(*(select(part.subquery()) for part in parts)).subquery()


def page(
    project_id: UUID, wanted: Wanted, *, limit: int, after: Place | None = None
) -> tuple[Sequence[Analysis], bool]:
    """Newest first, beginning after the place `after` (created_at, id); and whether there are more."""
    newest = (Analysis.created_at.desc(), Analysis.id.desc())
    dialect.keep_to_order()

    def read(part: Select[Any]) -> Select[Any]:
        return (
            part.where(*wanted.within(after))
            .order_by(*newest)
            .limit(limit + 1)
            .add_columns(Analysis.created_at)
        )

    first = in_each(project_id, wanted.status, wanted.model, read)
    places = (first.c.created_at.desc(), first.c.id.desc())
    keys = select(first.c.created_at, first.c.id).order_by(*places).limit(limit + 1).subquery()
    statement = select(Analysis).join(keys, keys.c.id == Analysis.id)
    # in the order that the keys have: for that of the analyses PostgreSQL would walk along all of them
    rows = db.session.scalars(statement.order_by(keys.c.created_at.desc(), keys.c.id.desc())).all()
    return rows[:limit], len(rows) > limit


def page_of_group(
    group_row_id: UUID, wanted: Wanted, *, limit: int, after: Place | None = None
) -> tuple[Sequence[Analysis], bool]:
    """The same of a group, which has indexes of its own."""
    statement = select(Analysis).join(Image).where(*LIVE, *groups.within(group_row_id), *wanted.within(after))
    if wanted.status:
        statement = statement.where(Analysis.status == wanted.status)
    if wanted.model:
        statement = statement.where(Analysis.model_name == wanted.model)
    ordered = statement.order_by(Analysis.created_at.desc(), Analysis.id.desc()).limit(limit + 1)
    rows = db.session.scalars(ordered).all()
    return rows[:limit], len(rows) > limit


def models(project_id: UUID, *, limit: int) -> list[str]:
    """The models of a project's analyses, by name, the first `limit`."""
    return sorted(db.session.scalars(MODELS, {"project_id": project_id, "most": limit}))


def _next_model(*more: ColumnElement[bool]) -> Select[str]:
    wanted = select(Analysis.model_name).join(Analysis.image)
    wanted = wanted.where(Analysis.project_id == bindparam("project_id"), *LIVE, *more)
    return wanted.order_by(Analysis.model_name).limit(1)


def _models() -> Select[str]:
    """Asks the index for the next name each time: telling a million names apart takes a third of a second."""
    names = select(_next_model().scalar_subquery().label("name")).cte("names", recursive=True)
    following = _next_model(Analysis.model_name > names.c.name).correlate(names).scalar_subquery()
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    return select(names.c.name).where(names.c.name.is_not(None)).limit(bindparam("most"))


MODELS = _models()
