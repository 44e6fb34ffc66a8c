"""Groups: what the analyses of a project that were created with the same `group_id` belong to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.analyses import Status
from app.models.columns import PrimaryKey, Short, Time, now

PENDING = tuple(status for status in Status if not status.is_terminal)


class Group(Base):
    """Made with its first analysis, and kept: what it holds is counted, so nothing here ever changes."""

    __tablename__ = "analysis_groups"
    __table_args__ = (
        Index("ix_analysis_groups_project_id_group_id", "project_id", "group_id", unique=True),
        # the order in which the groups of a project are listed
        Index("ix_analysis_groups_project_id_created_at_id", "project_id", "created_at", "id"),
    )

    id: Mapped[PrimaryKey]
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    group_id: Mapped[Short]
    created_at: Mapped[Time] = mapped_column(default=now)


@dataclass(frozen=True)
class Counts:
    """What is in a group: `by_status` has every status."""

    by_status: Mapping[Status, int]
    annotations: int = 0
    first_created_at: datetime | None = None
    last_created_at: datetime | None = None

    @property
    def total(self) -> int:
        return sum(self.by_status.values())

    @property
    def pending(self) -> int:
        return sum(self.by_status[status] for status in PENDING)

    @property
    def is_done(self) -> bool:
        """Whether all of it is terminal."""
        return not self.pending
