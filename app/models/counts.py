"""What is in large projects, counted beforehand."""

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import Json, Time


class ProjectCount(Base):
    """What a project held at `counted_at`, which took so many `milliseconds` to count; `by_status` are its analyses."""

    __tablename__ = "project_counts"

    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    images: Mapped[int] = mapped_column(BigInteger)
    annotations: Mapped[int] = mapped_column(BigInteger)
    by_status: Mapped[dict[str, int]] = mapped_column(Json)
    counted_at: Mapped[Time]
    milliseconds: Mapped[int]
