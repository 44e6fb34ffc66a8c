"""The audit trail: one row for every change of state, in the transaction of the change."""

from typing import Any
from uuid import UUID

from app.extensions import db
from app.models import Analysis, Artifact, AuditEvent, Image, Principal, Project, User, UserKey

SUBJECTS = {
    Project: "project",
    Image: "image",
    Analysis: "analysis",
    Artifact: "artifact",
    User: "user",
    UserKey: "user_key",
}


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
