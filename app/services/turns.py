"""Whose turn it is: work that one process at a time does, on any database."""

from datetime import timedelta

from sqlalchemy import or_, update

from app.dialect import clock, insert_missing
from app.extensions import db
from app.models.turns import Turn


def take(name: str, holder: str, seconds: int) -> bool:
    """Whether it is the holder's turn for the next so many seconds: it was already, or nobody's any more.

    The row is changed by a condition on itself, so that of many who ask at once one gets it. Commit before the work
    begins.
    """
    insert_missing(Turn, {"name": name})
    moment = clock()
    free = or_(Turn.holder == holder, Turn.expires_at.is_(None), Turn.expires_at <= moment)
    taken = update(Turn).where(Turn.name == name, free)
    until = moment + timedelta(seconds=seconds)
    return _changed(taken.values(holder=holder, expires_at=until))


def give_back(name: str, holder: str) -> bool:
    """Whether it was the holder's; now it is anybody's."""
    return _changed(
        update(Turn).where(Turn.name == name, Turn.holder == holder).values(holder=None, expires_at=None)
    )


def _changed(statement: object) -> bool:
    result = db.session.execute(statement, execution_options={"synchronize_session": False})  # type: ignore[call-overload]
    return bool(result.rowcount)
