"""Lists that only grow: newest first, read along an index from a place in them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, tuple_

from app.extensions import db

Place = tuple[datetime, UUID]


def beside(
    statement: Select[Any],
    table: Any,
    *,
    limit: int,
    older_than: Place | None = None,
    newer_than: Place | None = None,
) -> tuple[Sequence[Any], bool]:
    """Rows of the table, newest first, beside the place (created_at, id); and whether more follow in that direction."""
    place = tuple_(table.created_at, table.id)
    if newer_than:
        following = statement.where(place > tuple_(*newer_than)).order_by(table.created_at, table.id)
        found = db.session.scalars(following.limit(limit + 1)).all()
        return found[:limit][::-1], len(found) > limit
    if older_than:
        statement = statement.where(place < tuple_(*older_than))
    ordered = statement.order_by(table.created_at.desc(), table.id.desc())
    found = db.session.scalars(ordered.limit(limit + 1)).all()
    return found[:limit], len(found) > limit
