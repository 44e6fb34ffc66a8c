"""The keys of pipelines, and what was used of their signatures."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Column, ForeignKey, String, Table, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.extensions import Base
from app.models.columns import Short, Time, now
from app.models.projects import Project
from app.models.users import User

SOON = timedelta(days=7)

pipeline_key_projects = Table(
    "pipeline_key_projects",
    Base.metadata,
    Column("key_id", ForeignKey("pipeline_keys.id", ondelete="CASCADE"), primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True),
)


class PipelineKey(Base):
    """A key `mlpip_{id}_{secret}` with a secret of its own to sign with, for some projects.

    Only the SHA-256 of the key's secret is kept; `signing_secret` is encrypted. `min_scheme` is `v2` or `plain`.
    A key is revoked or expires, and is never deleted: the audit trail and the analyses name it.
    """

    __tablename__ = "pipeline_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[Short]
    secret_hash: Mapped[str] = mapped_column(String(64))
    signing_secret: Mapped[str] = mapped_column(Text)
    min_scheme: Mapped[str] = mapped_column(String(8), default="v2")
    created_at: Mapped[Time] = mapped_column(default=now)
    created_by_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    # the key that this one took the place of
    replaces_id: Mapped[str | None] = mapped_column(String(64))
    expires_at: Mapped[Time | None]
    revoked_at: Mapped[Time | None]
    last_used_at: Mapped[Time | None]
    last_used_from: Mapped[Short | None]
    last_used_agent: Mapped[Short | None]

    projects: Mapped[list[Project]] = relationship(secondary=pipeline_key_projects, order_by=Project.name)
    created_by: Mapped[User | None] = relationship()

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now())

    @property
    def state(self) -> str:
        """`live`, `expiring` (live, but not for much longer), `expired` or `revoked`."""
        if self.revoked_at is not None:
            return "revoked"
        if not self.is_live:
            return "expired"
        return "expiring" if self.expires_at and self.expires_at <= now() + SOON else "live"


class UsedNonce(Base):
    """What a request with a 2xx answer has used: it is refused until it would be too old anyway.

    `scope` is the id of the key that signed and `value` the nonce; or `value` is a plain MAC and `target_hash` what it
    was used for.
    """

    __tablename__ = "used_nonces"

    scope: Mapped[str] = mapped_column(String(80), primary_key=True)
    value: Mapped[str] = mapped_column(String(64), primary_key=True)
    target_hash: Mapped[str | None] = mapped_column(String(64))
    expires_at: Mapped[Time] = mapped_column(index=True)
