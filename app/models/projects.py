"""Projects, and who may do what in them."""

from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import PrimaryKey, Short, Time, now
from app.models.users import User


class Role(StrEnum):
    """A viewer reads and exports, an editor also writes, cancels and deletes, an owner also manages members."""

    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"

    def includes(self, needed: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[PrimaryKey]
    name: Mapped[Short]
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[Time] = mapped_column(default=now)
    created_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))

    memberships: Mapped[list["Membership"]] = relationship(
        back_populates="project", cascade="all, delete-orphan"
    )


class Membership(Base):
    __tablename__ = "memberships"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    role: Mapped[str] = mapped_column(String(16))

    project: Mapped[Project] = relationship(back_populates="memberships")
    user: Mapped[User] = relationship()
