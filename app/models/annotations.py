"""Annotations: each thing a model said, in its own row."""

from typing import Any
from uuid import UUID

from sqlalchemy import Double, ForeignKey, Index, Numeric, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.analyses import Analysis
from app.models.columns import Json, PrimaryKey, Short, Time, now, partial


class Annotation(Base):
    """`data` is in the canonical form of its type; `x_min … y_max` bound it, in pixels of the upright image."""

    __tablename__ = "ml_annotations"
    __table_args__ = (
        UniqueConstraint("analysis_id", "client_id"),
        Index("idx_ml_annotations_analysis_id", "analysis_id", "position"),
        Index("idx_ml_annotations_annotation_type", "annotation_type"),
        # those that name a file, which few do: an end asks for them however many others there are
        partial("ix_ml_annotations_files", "analysis_id", "storage_path", where="storage_path IS NOT NULL"),
    )

    id: Mapped[PrimaryKey]
    analysis_id: Mapped[UUID] = mapped_column(ForeignKey("ml_analyses.id", ondelete="CASCADE"))
    annotation_type: Mapped[str] = mapped_column(String(32))
    class_name: Mapped[Short | None]
    confidence: Mapped[float | None] = mapped_column(Numeric(5, 4, asdecimal=False))
    data: Mapped[dict[str, Any]] = mapped_column(Json)
    storage_path: Mapped[str | None] = mapped_column(String(512))
    ordering: Mapped[int | None]
    created_at: Mapped[Time] = mapped_column(default=now)
    client_id: Mapped[str] = mapped_column(String(160))
    content_hash: Mapped[str] = mapped_column(String(64))
    # order of insertion within the analysis; gaps are left by removals
    position: Mapped[int]
    x_min: Mapped[float | None] = mapped_column(Double)
    y_min: Mapped[float | None] = mapped_column(Double)
    x_max: Mapped[float | None] = mapped_column(Double)
    y_max: Mapped[float | None] = mapped_column(Double)

    analysis: Mapped[Analysis] = relationship()
