"""Images: the stored upright copy of what was uploaded."""

from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import Json, PrimaryKey, Short, Time, now, partial
from app.models.projects import Project

DELETED = "deleted_at IS NOT NULL"


class Image(Base):
    """Size, hash, width and height (pixels) are those of the stored upright copy."""

    __tablename__ = "data_instances"
    __table_args__ = (
        Index("ix_data_instances_project_id_created_at", "project_id", "created_at", "id"),
        # the gallery by name
        Index("ix_data_instances_project_id_name", "project_id", text("lower(filename)"), "id"),
        # a part of a name, by its groups of three characters; SQLite reads every name
        Index(
            "ix_data_instances_name_parts",
            "filename",
            postgresql_using="gin",
            postgresql_ops={"filename": "gin_trgm_ops"},
            postgresql_where=text("deleted_at IS NULL"),
            info={"only": "postgresql"},
        ),
        # of the few that are: one of all would be taken to find those that are not
        partial("ix_data_instances_deleted_at", "deleted_at", where=DELETED),
        # whether one is: lists of analyses ask it for each
        partial("ix_data_instances_deleted", "id", where=DELETED),
    )

    id: Mapped[PrimaryKey]
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    filename: Mapped[Short]
    content_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    width: Mapped[int]
    height: Mapped[int]
    exif_orientation: Mapped[int | None]
    # the attribute `metadata` belongs to SQLAlchemy, so the column is reached by another name
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", Json)
    storage_path: Mapped[Short]
    uploaded_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    created_at: Mapped[Time] = mapped_column(default=now)
    deleted_at: Mapped[Time | None]

    project: Mapped[Project] = relationship()
