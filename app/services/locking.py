"""Holding a row: between the lock and the commit nobody else changes it."""

from typing import Any, TypeVar

from sqlalchemy import Select, inspect, select

from app.errors import Deleted, NotFound
from app.extensions import db
from app.models import Analysis, Image

Row = TypeVar("Row", bound=Any)


def lock(row: Row, *, referred_to: bool = False, deleted: bool = False) -> Row:
    """The same object with its values as they are now, held until the end of the transaction.

    Others then cannot even make rows that refer to it, unless it is one that is `referred_to` all the time, as people
    are by the audit trail. Raises NotFound when it is gone, and Deleted when it was deleted softly, or its image was,
    unless it is locked for just that (`deleted`). SQLite locks the whole database when the transaction begins, so
    nothing is added.
    """
    kind, identity = type(row), inspect(row).identity
    statement = select(kind).where(kind.id == identity[0]).with_for_update(key_share=referred_to)
    found = db.session.scalar(statement, execution_options={"populate_existing": True})
    if found is None:
        raise NotFound
    if not deleted and (getattr(row, "deleted_at", None) is not None or _is_of_deleted(row)):
        raise Deleted
    return row


def _is_of_deleted(row: Any) -> bool:
    """Whether it is an analysis of a deleted image. Asked once the analysis is held, not with a join: a statement that
    waited sees what it joined as it was before."""
    if not isinstance(row, Analysis):
        return False
    return db.session.scalar(select(Image.deleted_at).where(Image.id == row.image_id)) is not None


def lock_first(statement: Select[Row], *, of: type[Any]) -> Row | None:
    """The first row that the statement finds, held; `of` is its class, for the rows that it joins stay free.

    None where there is none, or somebody else holds it just now: whoever sweeps comes again. What changed on the way to
    the lock, PostgreSQL asks the conditions once more.
    """
    held = statement.limit(1).with_for_update(of=of, skip_locked=True)
    found: Row | None = db.session.scalar(held, execution_options={"populate_existing": True})
    return found
