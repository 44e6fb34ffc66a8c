"""The audit trail: one row for every change of state, in the transaction of the change; and reading it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from flask import g
from sqlalchemy import ColumnElement, Table, insert, select

from app.extensions import db
from app.models import (
    Analysis,
    Artifact,
    AuditEvent,
    Export,
    Image,
    PipelineKey,
    Principal,
    Project,
    Status,
    User,
    UserKey,
    WebhookDelivery,
    WebhookTarget,
)
from app.services import swapping
from app.services.newest_first import Place, beside

SUBJECTS = {
    Project: "project",
    Image: "image",
    Analysis: "analysis",
    Artifact: "artifact",
    User: "user",
    UserKey: "user_key",
    PipelineKey: "pipeline_key",
    WebhookDelivery: "webhook",
    WebhookTarget: "webhook_target",
    Export: "export",
}
ACTOR_KINDS = ("user", "pipeline", "system")
# what is written down about analyses; these are not shown while the feature is off
OF_ANALYSES = ("analysis", "artifact", "pipeline_key", "webhook", "webhook_target", "export")
EXPORTED = "analyses.exported"
_INSERT = insert(cast(Table, AuditEvent.__table__))
# everything that is ever written down, by name
ACTIONS = tuple(
    sorted(
        {
            EXPORTED,
            "analysis.claimed",
            "analysis.created",
            "analysis.lease_expired",
            "analysis.deleted",
            "analysis.purged",
            "analysis.restored",
            *(f"analysis.{status}" for status in Status),
            "annotations.stored",
            "artifact.presigned",
            "artifact.swept",
            "export.asked",
            "export.canceled",
            "export.deleted",
            "export.downloaded",
            "export.failed",
            "export.finished",
            "export.purged",
            "image.deleted",
            "image.purged",
            "image.restored",
            "image.uploaded",
            "pipeline_key.changed",
            "pipeline_key.created",
            "pipeline_key.revoked",
            "pipeline_key.rotated",
            "pipeline_key.sealed",
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
            "webhook.redelivered",
            "webhook_target.disabled",
            "webhook_target.enabled",
        }
    )
)


def record(
    by: Principal,
    action: str,
    subject: Project
    | Image
    | Analysis
    | Artifact
    | User
    | UserKey
    | PipelineKey
    | WebhookDelivery
    | WebhookTarget
    | Export,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    project_id: UUID | None = None,
) -> None:
    """`action` is `subject.verb` in the past tense; `before` and `after` hold only what changed."""
    columns = {
        "actor_kind": by.kind,
        "actor_id": by.user.id if by.user else None,
        "actor_label": by.label,
        "action": action,
        "subject_type": SUBJECTS[type(subject)],
        "subject_id": str(subject.id),
        "project_id": project_id,
        "before": before,
        "after": after,
        "request_id": by.request_id,
    }
    together: list[dict[str, Any]] | None = g.get("recorded")
    if together is None:
        _write([columns])
    else:
        together.append(columns)


@contextmanager
def together() -> Iterator[None]:
    """What is recorded within is written in one statement at the end; not at all when it raises, as that rolls back."""
    if "recorded" in g:  # within another, at whose end it is written
        yield
        return
    recorded = g.recorded = []
    try:
        yield
    finally:
        del g.recorded
    _write(recorded)


def _write(rows: list[dict[str, Any]]) -> None:
    """Past the unit of work: no row is ever changed."""
    if rows and not swapping.insert(AuditEvent, rows):
        db.session.connection().execute(_INSERT, rows)


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
    statement = select(AuditEvent).where(*wanted.clauses(), *_shown(ml))
    return beside(statement, AuditEvent, limit=limit, older_than=older_than, newer_than=newer_than)


def actions(*, ml: bool) -> Sequence[str]:
    """Every action that may occur in the trail."""
    of_analyses = ("analys", "annotations.", "artifact.", "pipeline_key.", "webhook", "export.")
    return [name for name in ACTIONS if ml or not name.startswith(of_analyses)]


def _shown(ml: bool) -> list[ColumnElement[bool]]:
    if ml:
        return []
    return [AuditEvent.subject_type.not_in(OF_ANALYSES), AuditEvent.action != EXPORTED]
