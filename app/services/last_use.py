"""When a key was last used, and from where: to the minute, so that reading does not write each time."""

from datetime import datetime, timedelta

from sqlalchemy import update

from app.extensions import db
from app.models import PipelineKey, UserKey

EVERY = timedelta(minutes=1)


def is_due(key: UserKey | PipelineKey, at: datetime) -> bool:
    return key.last_used_at is None or key.last_used_at <= at - EVERY


def note(kind: type[UserKey | PipelineKey], key_id: str, address: str, agent: str, at: datetime) -> None:
    """`address` is the caller's, `agent` what it calls itself."""
    told = {"last_used_at": at, "last_used_from": address[:255], "last_used_agent": agent[:255] or None}
    db.session.execute(update(kind).where(kind.id == key_id).values(**told))
