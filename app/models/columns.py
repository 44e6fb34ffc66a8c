"""Column types and indexes that mean the same on both databases, and the ids and times rows are born with."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import uuid_utils
from sqlalchemy import JSON, DateTime, Dialect, Index, String, TypeDecorator, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import mapped_column


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC in and out. SQLite keeps no zone, so it is taken off on the way in and put on again on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times must carry their zone")
        return (
            value.astimezone(UTC) if dialect.name != "sqlite" else value.astimezone(UTC).replace(tzinfo=None)
        )

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def new_id() -> UUID:
    """A UUID version 7 (RFC 9562): sorts by the time it was made."""
    return UUID(int=uuid_utils.uuid7().int)


def new_ids(count: int) -> list[uuid_utils.UUID]:
    """As many of them, at a fifth of the cost: without the standard library's object of each."""
    return [uuid_utils.uuid7() for _ in range(count)]


def now() -> datetime:
    return datetime.now(UTC)


def partial(name: str, *columns: str, where: str) -> Index:
    """An index of those rows only."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


PrimaryKey = Annotated[UUID, mapped_column(Uuid, primary_key=True, default=new_id)]
Time = Annotated[datetime, mapped_column(UtcDateTime)]
Short = Annotated[str, mapped_column(String(255))]
