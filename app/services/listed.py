"""The lists of a project, read along indexes that begin with it: as long for the last page as for the first, whatever
is asked and however much of it there is ([decision 17](../../docs/decisions/0017-lists-by-place.md)).

No index has what is in any status in one order, so that few indexes do: what is in each status is read along its own
part of one, and what comes first of all is taken.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Executable, Select, Subquery, bindparam, literal, select, tuple_

from app import dialect
from app.extensions import db
from app.models import Analysis, Group, Status
from app.models.analyses import LIVE, LIVE_ALONE
from app.services import made_once
from app.services.newest_first import Place


@dataclass(frozen=True)
class Wanted:
    """Which analyses of a project; None is any. `created_after` is included, `created_before` is not."""

    status: Status | None = None
    model: str | None = None
    group_id: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None

    def values(self, after: Place | None) -> dict[str, Any]:
        """What is given of it, and the place after which the page begins: the parameters of NARROWED.

        Of `created_before` and the place the one that bounds the other: given both, either database enters the index at
        `created_before`, and walks from there to the place.
        """
        given = {name: value for name, value in asdict(self).items() if value}
        if after is None or (self.created_before and self.created_before <= after[0]):
            return given
        given.pop("created_before", None)
        return given | {"after_created_at": after[0], "after_id": after[1]}


_OF_PROJECT = Analysis.project_id == bindparam("project_id")
# a group is of one project. Looked up in the statement, so that PostgreSQL does not know that it is a large one, and
# walks the index of everything by time or by model
_ROW = select(Group.id).where(
    Group.project_id == bindparam("project_id"), Group.group_id == bindparam("group_id")
)
_OF_GROUP = Analysis.group_row_id == _ROW.scalar_subquery()
# what narrows a list within these, by the name of the last parameter that it takes
NARROWED: dict[str, ColumnElement[bool]] = {
    "status": Analysis.status == bindparam("status"),
    "model": Analysis.model_name == bindparam("model"),
    "created_after": Analysis.created_at >= bindparam("created_after"),
    "created_before": Analysis.created_at < bindparam("created_before"),
    "after_id": tuple_(Analysis.created_at, Analysis.id)
    < tuple_(
        bindparam("after_created_at", type_=Analysis.created_at.type),
        bindparam("after_id", type_=Analysis.id.type),
    ),
}


def _narrowed(names: Collection[str], *but: str) -> list[ColumnElement[bool]]:
    return [clause for name, clause in NARROWED.items() if name in names and name not in but]


def in_each(
    read: Callable[[Any], Select[Any]], *, status: bool, model: bool, group: bool = False
) -> Subquery:
    """What `read` takes, in its order and bounded by its limit, of the analyses in each of the statuses.

    The statement has the parameters `project_id`, and `status`, `model` and `group_id` where it is narrowed by these.
    """
    wanted = select(Analysis.id).where(_OF_GROUP if group else _OF_PROJECT, *LIVE_ALONE)
    if model:
        wanted = wanted.where(NARROWED["model"])
    if status:
        return read(wanted.where(NARROWED["status"])).subquery()
    return dialect.in_each(lambda one: read(wanted.where(Analysis.status == one)), list(Status))


def page(
    project_id: UUID, wanted: Wanted, *, limit: int, after: Place | None = None
) -> tuple[Sequence[Analysis], bool]:
    """Newest first, beginning after the place `after` (created_at, id); and whether there are more."""
    dialect.keep_to_order()
    values = wanted.values(after)
    given = {**values, "project_id": project_id, "most": limit + 1}
    rows = db.session.scalars(_page(frozenset(values)), given).all()
    return rows[:limit], len(rows) > limit


@made_once.statement
def _page(names: frozenset[str]) -> Executable:
    """Made once for each set of parameters: it takes longer to make than to ask."""
    newest = (Analysis.created_at.desc(), Analysis.id.desc())
    most: Any = bindparam("most")

    def read(part: Select[Any]) -> Select[Any]:
        bounded = part.where(*_narrowed(names, "status", "model"))
        return bounded.order_by(*newest).limit(most).add_columns(Analysis.created_at)

    first = in_each(read, status="status" in names, model="model" in names, group="group_id" in names)
    places = (first.c.created_at.desc(), first.c.id.desc())
    keys = select(first.c.created_at, first.c.id).order_by(*places).limit(most).subquery()
    statement = select(Analysis).join(keys, keys.c.id == Analysis.id)
    # in the order that the keys have: for that of the analyses PostgreSQL would walk along all of them
    return statement.order_by(keys.c.created_at.desc(), keys.c.id.desc())


def _models() -> Select[str]:
    """Those of the analyses of the project `project_id`, `most` of them. Asks the index for the next name each time:
    telling a million names apart takes a third of a second. No model is called "", which comes before all."""
    names = select(literal("").label("name")).cte("names", recursive=True)
    following = (
        select(Analysis.model_name)
        .join(Analysis.image)
        .where(Analysis.project_id == bindparam("project_id"), *LIVE, Analysis.model_name > names.c.name)
        .order_by(Analysis.model_name)
        .limit(1)
        .correlate(names)
        .scalar_subquery()
    )
    names = names.union_all(select(following).where(names.c.name.is_not(None)))
    return select(names.c.name).where(names.c.name > "").limit(bindparam("most"))


MODELS = _models()
