"""Receipts: what was taken of each bulk request, and how it was understood."""

from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import Json, PrimaryKey, Time, now


class Receipt(Base):
    """`counts` are those of the answer; `notes` what was normalised, refused or ignored, the first of each."""

    __tablename__ = "receipts"
    __table_args__ = (Index("ix_receipts_analysis_id_created_at", "analysis_id", "created_at", "id"),)

    id: Mapped[PrimaryKey]
    analysis_id: Mapped[UUID] = mapped_column(ForeignKey("ml_analyses.id", ondelete="CASCADE"))
    created_at: Mapped[Time] = mapped_column(default=now)
    actor_label: Mapped[str] = mapped_column(String(320))
    request_id: Mapped[str | None] = mapped_column(String(64))
    batch: Mapped[str] = mapped_column(String(128))
    mode: Mapped[str] = mapped_column(String(16))
    counts: Mapped[dict[str, Any]] = mapped_column(Json)
    notes: Mapped[dict[str, Any] | None] = mapped_column(Json)
