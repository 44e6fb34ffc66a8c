"""People and the keys their programs use."""

from uuid import UUID

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import PrimaryKey, Short, Time, now


class User(Base):
    """A person. `role` is `user` or `admin`; `session_version` rises to end every session at once."""

    __tablename__ = "users"

    id: Mapped[PrimaryKey]
    email: Mapped[Short] = mapped_column(unique=True)
    name: Mapped[Short] = mapped_column(default="")
    password_hash: Mapped[Short]
    role: Mapped[str] = mapped_column(String(16), default="user")
    session_version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time] = mapped_column(default=now)
    disabled_at: Mapped[Time | None]

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


class UserKey(Base):
    """A key `mluser_{id}_{secret}`; only the secret's SHA-256 is kept."""

    __tablename__ = "user_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[Short] = mapped_column(default="")
    secret_hash: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[Time] = mapped_column(default=now)
    revoked_at: Mapped[Time | None]
    last_used_at: Mapped[Time | None]
    last_used_from: Mapped[Short | None]
    last_used_agent: Mapped[Short | None]

    user: Mapped[User] = relationship()

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and self.user.disabled_at is None
