"""The audit trail: one row for every change of state, in the transaction of the change; and reading it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, tuple_

from app.extensions import db
from app.models import Analysis, Artifact, AuditEvent, Image, Principal, Project, Status, User, UserKey

SUBJECTS = {
    Project: "project",
    Image: "image",
    Analysis: "analysis",
    Artifact: "artifact",
    User: "user",
    UserKey: "user_key",
}
ACTOR_KINDS = ("user", "pipeline", "system")
# what is written down about analyses; these are not shown while the feature is off
OF_ANALYSES = ("analysis", "artifact")
EXPORTED = "analyses.exported"
# everything that is ever written down, by name
ACTIONS = tuple(
    sorted(
        {
            EXPORTED,
            "analysis.created",
            *(f"analysis.{status}" for status in Status),
            "annotations.stored",
            "artifact.presigned",
            "image.uploaded",
            "project.changed",
            "project.created",
            "project.member_removed",
            "project.member_set",
            "user.created",
            "user.disabled",
            "user.enabled",
            "user.let_in",
            "user.password_changed",
            "user.renamed",
            "user.role_set",
            "user.signed_in",
            "user.signed_out_everywhere",
            "user_key.created",
            "user_key.revoked",
        }
    )
)

Place = tuple[datetime, UUID]


def record(
    by: Principal,
    action: str,
    subject: Project | Image | Analysis | Artifact | User | UserKey,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    project_id: UUID | None = None,
) -> None:
    """`action` is `subject.verb` in the past tense; `before` and `after` hold only what changed."""
    db.session.add(
        AuditEvent(
            actor_kind=by.kind,
            actor_id=by.user.id if by.user else None,
            actor_label=by.label,
            action=action,
            subject_type=SUBJECTS[type(subject)],
            subject_id=str(subject.id),
            project_id=project_id,
            before=before,
            after=after,
            request_id=by.request_id,
        )
    )


@dataclass(frozen=True)
class Wanted:
    """What to show of the trail; empty is all. `who` is part of the actor's label, `until` is not included."""

    who: str = ""
    actor_kind: str = ""
    actor_id: UUID | None = None
    action: str = ""
    subject_type: str = ""
    subject_id: str = ""
    project_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    request_id: str = ""

    def clauses(self) -> list[ColumnElement[bool]]:
        same = ("actor_kind", "actor_id", "action", "subject_type", "subject_id", "project_id", "request_id")
        given = [(getattr(AuditEvent, name), getattr(self, name)) for name in same]
        clauses: list[ColumnElement[bool]] = [column == value for column, value in given if value]
        if self.who:
            clauses.append(AuditEvent.actor_label.icontains(self.who, autoescape=True))
        if self.since:
            clauses.append(AuditEvent.created_at >= self.since)
        if self.until:
            clauses.append(AuditEvent.created_at < self.until)
        return clauses


def page(
    wanted: Wanted, *, ml: bool, limit: int, older_than: Place | None = None, newer_than: Place | None = None
) -> tuple[Sequence[AuditEvent], bool]:
    """Newest first, beside the place (created_at, id) that is given; and whether more follow in that direction."""
    place = tuple_(AuditEvent.created_at, AuditEvent.id)
    statement = select(AuditEvent).where(*wanted.clauses(), *_shown(ml))
    if newer_than:
        following = statement.where(place > tuple_(*newer_than))
        rows = db.session.scalars(following.order_by(AuditEvent.created_at, AuditEvent.id).limit(limit + 1))
        found = rows.all()
        return found[:limit][::-1], len(found) > limit
    if older_than:
        statement = statement.where(place < tuple_(*older_than))
    ordered = statement.order_by(AuditEvent.created_at.desc(), AuditEvent.id.desc())
    found = db.session.scalars(ordered.limit(limit + 1)).all()
    return found[:limit], len(found) > limit


def actions(*, ml: bool) -> Sequence[str]:
    """Every action that may occur in the trail."""
    of_analyses = ("analys", "annotations.", "artifact.")
    return [name for name in ACTIONS if ml or not name.startswith(of_analyses)]


def _shown(ml: bool) -> list[ColumnElement[bool]]:
    if ml:
        return []
    return [AuditEvent.subject_type.not_in(OF_ANALYSES), AuditEvent.action != EXPORTED]
