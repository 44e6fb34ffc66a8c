"""Attempts to sign in that failed, or that are being checked just now."""

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Base
from app.models.columns import PrimaryKey, Time


class SignInFailure(Base):
    """`subject` is the SHA-256 of the account or the address, so that nothing somebody typed is kept in clear."""

    __tablename__ = "sign_in_failures"
    __table_args__ = (Index("ix_sign_in_failures_subject_at", "subject", "at"),)

    id: Mapped[PrimaryKey]
    subject: Mapped[str] = mapped_column(String(64))
    at: Mapped[Time] = mapped_column(index=True)
