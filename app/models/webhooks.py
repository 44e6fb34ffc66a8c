"""Webhooks out: what is to be told, and whether the address still wants to hear it."""

from typing import Any
from uuid import UUID

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import Json, PrimaryKey, Time, now


class WebhookDelivery(Base):
    """One event, written with the change it tells of. Its id is the `webhook-id`, the same at every attempt.

    `body` is sent as it stands. `next_attempt_at` is None when there is nothing more to do. `attempts` is a list of
    `{at, status, answer, seconds}` or `{at, error, seconds}`, oldest first.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index("ix_webhook_deliveries_created_at_id", "created_at", "id"),)

    id: Mapped[PrimaryKey]
    event: Mapped[str] = mapped_column(String(64))
    analysis_id: Mapped[UUID] = mapped_column(index=True)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Time] = mapped_column(default=now)
    next_attempt_at: Mapped[Time | None] = mapped_column(index=True)
    delivered_at: Mapped[Time | None]
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)

    @property
    def state(self) -> str:
        """`waiting` for an attempt, `delivered` or `given-up`."""
        if self.next_attempt_at is not None:
            return "waiting"
        return "delivered" if self.delivered_at is not None else "given-up"


class WebhookTarget(Base):
    """An address that said 410 Gone is not asked again until an admin says so. `url_hash` is hex SHA-256."""

    __tablename__ = "webhook_targets"

    url_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    disabled_at: Mapped[Time | None]

    @property
    def id(self) -> str:
        return self.url_hash
