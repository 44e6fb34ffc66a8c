"""An image and its analyses at a glance: what changes of them in one narrow statement, for who asks again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_

from app.dialect import read_often
from app.models import Analysis, Image


class Glimpse(NamedTuple):
    """What changes of an analysis."""

    id: UUID
    status: str
    revision: int


@dataclass(frozen=True, slots=True)
class Glance:
    """`analyses` are newest first, as `analyses.of_image` has them."""

    sha256: str
    analyses: Sequence[Glimpse]


def statement(image: Select[Any]) -> Select[Any]:
    """Of an image that `image` lets through; to be made once, and read with the values that `image` takes."""
    one, its = Image.__table__.c, Analysis.__table__.c
    live = and_(its.image_id == one.id, its.deleted_at.is_(None))
    columns = image.add_columns(one.sha256, its.id, its.status, its.revision)
    return columns.outerjoin(Analysis.__table__, live).order_by(its.created_at.desc(), its.id.desc())


def read(wanted: Select[Any], **values: Any) -> Glance | None:
    """What the statement finds; None where it lets nothing through."""
    rows = read_often(wanted, values)
    if not rows:
        return None
    seen = [Glimpse(*row[-3:]) for row in rows]
    return Glance(rows[0][-4], seen if seen[0].id is not None else ())
