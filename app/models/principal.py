"""Who is acting: a person, a pipeline, or the system itself at the command line."""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy import inspect

from app.models.users import User


@dataclass(frozen=True)
class ProvenKey:
    """A pipeline key that a request proved to hold, and the projects it is for."""

    id: str
    name: str
    project_ids: frozenset[UUID]


@dataclass(frozen=True)
class Principal:
    """`user` is set for a person, and for a pipeline that sent a person's key beside its signature.

    A `pipeline` without a `key` is the built-in one, which signed with the server's own secret: it may write analyses
    in all projects, or, with a user beside it, in those the user may read. With a `key` it has the role
    `pipeline_worker` in the key's projects; `signed` says that it signed, and did not only send the key. `by_proxy`
    says that a trusted reverse proxy named the user.
    """

    kind: Literal["user", "pipeline", "system"]
    user: User | None = None
    request_id: str | None = None
    by_proxy: bool = False
    key: ProvenKey | None = None
    signed: bool = False

    @property
    def label(self) -> str:
        if self.key:
            return f"pipeline {self.key.name} ({self.key.id})"
        if self.kind == "pipeline":
            return f"pipeline with {self.user.email}" if self.user else "pipeline"
        return self.user.email if self.user else "system"

    @property
    def actor(self) -> str:
        """For the log: `user:{id}`, `pipeline`, `pipeline:{key id}`, `pipeline+user:{id}`, `anonymous` or `system`.

        Asks no database.
        """
        if self.key:
            return f"pipeline:{self.key.id}"
        identity = inspect(self.user).identity if self.user else None
        person = f"user:{identity[0]}" if identity else ""
        if self.kind == "pipeline":
            return f"pipeline+{person}" if person else "pipeline"
        return person or ("system" if self.kind == "system" else "anonymous")


SYSTEM = Principal("system")
