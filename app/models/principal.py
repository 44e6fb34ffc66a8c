"""Who is acting: a person, a pipeline, or the system itself at the command line."""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import inspect

from app.models.users import User


@dataclass(frozen=True)
class Principal:
    """`user` is set for a person, and for a pipeline that sent a person's key beside its signature.

    `pipeline` says that a valid signature was made: it may write analyses in all projects, or, with a user
    beside it, in those the user may read. `by_proxy` says that a trusted reverse proxy named the user.
    """

    kind: Literal["user", "pipeline", "system"]
    user: User | None = None
    request_id: str | None = None
    by_proxy: bool = False

    @property
    def label(self) -> str:
        if self.kind == "pipeline":
            return f"pipeline with {self.user.email}" if self.user else "pipeline"
        return self.user.email if self.user else "system"

    @property
    def actor(self) -> str:
        """For the log: `user:{id}`, `pipeline`, `pipeline+user:{id}`, `anonymous` or `system`. Asks no database."""
        identity = inspect(self.user).identity if self.user else None
        person = f"user:{identity[0]}" if identity else ""
        if self.kind == "pipeline":
            return f"pipeline+{person}" if person else "pipeline"
        return person or ("system" if self.kind == "system" else "anonymous")


SYSTEM = Principal("system")
