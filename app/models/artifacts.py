"""Artifacts: the files of an analysis in object storage."""

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.analyses import Analysis
from app.models.columns import PrimaryKey, Time, now

CONTENT_TYPES = {
    "heatmap": "image/png",
    "mask": "image/png",
    "segmentation": "image/png",
    "log": "text/plain",
    "metadata": "application/json",
}
EXTENSIONS = {"image/png": "png", "text/plain": "txt", "application/json": "json"}
FILENAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}"


class Artifact(Base):
    """A row from the first presign on; size, etag and hash are recorded when the analysis is finalized, or a day
    after its end by the sweeper."""

    __tablename__ = "artifacts"
    __table_args__ = (UniqueConstraint("analysis_id", "storage_path"),)

    id: Mapped[PrimaryKey]
    analysis_id: Mapped[UUID] = mapped_column(ForeignKey("ml_analyses.id", ondelete="CASCADE"))
    artifact_type: Mapped[str] = mapped_column(String(32))
    storage_path: Mapped[str] = mapped_column(String(512))
    content_type: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    etag: Mapped[str | None] = mapped_column(String(128))
    created_at: Mapped[Time] = mapped_column(default=now)
    uploaded_at: Mapped[Time | None]

    analysis: Mapped[Analysis] = relationship()
