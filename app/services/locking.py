"""Holding a row: between the lock and the commit nobody else changes it."""

from typing import Any, TypeVar

from sqlalchemy import inspect, select

from app.errors import NotFound
from app.extensions import db

Row = TypeVar("Row", bound=Any)


def lock(row: Row, *, referred_to: bool = False) -> Row:
    """The same object with its values as they are now, held until the end of the transaction.

    Others then cannot even make rows that refer to it, unless it is one that is `referred_to` all the time, as people
    are by the audit trail. Raises NotFound when it is gone. SQLite locks the whole database when the transaction
    begins, so nothing is added.
    """
    kind, identity = type(row), inspect(row).identity
    statement = select(kind).where(kind.id == identity[0]).with_for_update(key_share=referred_to)
    found = db.session.scalar(statement, execution_options={"populate_existing": True})
    if found is None:
        raise NotFound
    return row
