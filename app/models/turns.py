"""Whose turn background work is: one process at a time, on any database."""

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import Time


class Turn(Base):
    """`holder` does the work called `name` until `expires_at`; whoever comes after that may take it."""

    __tablename__ = "turns"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str | None] = mapped_column(String(64))
    expires_at: Mapped[Time | None]
