"""Exports that are written in the background and kept as files for a while."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import Json, PrimaryKey, Short, Time, now
from app.models.users import User


class ExportState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def has_ended(self) -> bool:
        return self not in (ExportState.QUEUED, ExportState.RUNNING)


class Export(Base):
    """What was asked for, how far it is, and where the file is.

    `selection` is that of `exports.Selection`; `columns` names those of a CSV, None is all. The totals and
    `estimated_bytes` are from when it was asked for, `dropped` from when it is done: what the format could not carry,
    as `exports.losses` has it. Whoever writes it holds the lease of this `attempt` until `lease_expires_at`; after that
    another one begins anew, with the next attempt, and after a process that was told to stop with the same. `due_at` is
    when it may begin.
    """

    __tablename__ = "exports"
    __table_args__ = (
        Index("ix_exports_created_at_id", "created_at", "id"),
        Index("ix_exports_state_due_at", "state", "due_at"),
        Index("ix_exports_expires_at", "expires_at"),
    )

    id: Mapped[PrimaryKey]
    selection: Mapped[dict[str, Any]] = mapped_column(Json)
    format: Mapped[str] = mapped_column(String(32))
    columns: Mapped[list[str] | None] = mapped_column(Json)
    project_id: Mapped[UUID | None]
    project_name: Mapped[Short] = mapped_column(default="")
    filename: Mapped[str] = mapped_column(String(512))
    content_type: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default=ExportState.QUEUED.value)
    error: Mapped[str | None] = mapped_column(Text)
    analyses_total: Mapped[int] = mapped_column(BigInteger, default=0)
    annotations_total: Mapped[int] = mapped_column(BigInteger, default=0)
    estimated_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    analyses_done: Mapped[int] = mapped_column(BigInteger, default=0)
    annotations_done: Mapped[int] = mapped_column(BigInteger, default=0)
    bytes_written: Mapped[int] = mapped_column(BigInteger, default=0)
    storage_path: Mapped[str | None] = mapped_column(String(255))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    dropped: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    requested_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[Time] = mapped_column(default=now)
    started_at: Mapped[Time | None]
    finished_at: Mapped[Time | None]
    expires_at: Mapped[Time | None]
    due_at: Mapped[Time] = mapped_column(default=now)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[Time | None]

    requested_by: Mapped[User | None] = relationship()

    @property
    def has_ended(self) -> bool:
        return ExportState(self.state).has_ended

    @property
    def share(self) -> float:
        """How much of it is written, 0 to 1, as far as can be said beforehand."""
        if self.state == ExportState.DONE:
            return 1.0
        if self.annotations_total and self.selection.get("annotations"):
            shares = [self.annotations_done / self.annotations_total]
        else:
            shares = [self.analyses_done / max(1, self.analyses_total)]
        if self.format in WITH_FILES:  # most of it are files
            shares = [self.bytes_written / max(1, self.estimated_bytes)]
        return min(0.99, *shares)

    def ends(self, state: ExportState, at: datetime, expires_at: datetime) -> None:
        self.state, self.finished_at, self.expires_at = state.value, at, expires_at
        self.lease_expires_at = None


EVERYTHING = "everything"
BUNDLE, BUNDLE_WITH_IMAGES = "bundle", "bundle-images"
WITH_FILES = (EVERYTHING, BUNDLE, BUNDLE_WITH_IMAGES)
