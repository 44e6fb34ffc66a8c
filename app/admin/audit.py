"""The audit trail: who did what to which row, newest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from flask import Response, current_app, render_template, request, url_for

from app.admin import admin
from app.admin.paging import read_text
from app.models import AuditEvent
from app.services import accounts, audit, projects
from app.stretches import stretch

TEXTS = ("who", "action", "subject_type", "subject", "request")
IDS = ("actor", "project")


@dataclass(frozen=True)
class AuditQuery:
    """What the trail is narrowed by; `texts` are the filled fields of the form as the page shows them, and `faults`
    says of which of them nothing could be made.
    """

    wanted: audit.Wanted
    texts: Mapping[str, str]
    faults: Mapping[str, str]

    def address(self, **more: str) -> str:
        return url_for("admin.list_events", **self.texts, **more)  # type: ignore[arg-type]


def read_query(args: Mapping[str, str]) -> AuditQuery:
    """A value that makes no sense counts as not given, and the page says so: an old or mistyped link still opens."""
    texts = {name: read_text(args, name) for name in TEXTS}
    kind = args.get("kind", "")
    texts["kind"] = kind if kind in audit.ACTOR_KINDS else ""
    ids = {name: _id(args.get(name, "")) for name in IDS}
    since, until = _minute(args.get("from", ""), "00:00"), _minute(args.get("to", ""), "23:59")
    shown = {"from": _shown(since), "to": _shown(until)}
    texts |= {name: str(found) for name, found in ids.items() if found} | shown
    wanted = audit.Wanted(
        who=texts["who"],
        actor_kind=texts["kind"],
        actor_id=ids["actor"],
        action=texts["action"],
        subject_type=texts["subject_type"],
        subject_id=texts["subject"],
        project_id=ids["project"],
        since=since,
        until=until + timedelta(minutes=1) if until else None,
        request_id=texts["request"],
    )
    faults = {name: "This is no id." for name, found in ids.items() if args.get(name) and found is None}
    faults |= {name: "This is no time." for name in shown if args.get(name) and not shown[name]}
    texts |= {"project": read_text(args, "project")} if "project" in faults else {}
    filled = {name: text for name, text in texts.items() if text}
    return AuditQuery(wanted, filled, faults)


@admin.get("/audit")
def list_events() -> Response:
    query, ml = read_query(request.args), current_app.config["ML_ANALYSIS_ENABLED"]
    wanted = query.wanted
    history = stretch(request.args, query.address, partial(audit.page, wanted, ml=ml))
    types = [name for name in audit.SUBJECTS.values() if ml or name not in audit.OF_ANALYSES]
    text = render_template(
        "admin/audit/list.html",
        history=history,
        texts=query.texts,
        lines=lines(history.rows, ml=ml),
        actions=offered(audit.actions(ml=ml), wanted.action),
        subject_types=offered(types, wanted.subject_type),
        kinds=[kind for kind in audit.ACTOR_KINDS if ml or kind != "pipeline"],
        faults=query.faults,
        narrowed_project=projects.names([wanted.project_id]).get(wanted.project_id)
        if wanted.project_id
        else None,
        narrowed_actor=accounts.emails([wanted.actor_id]).get(wanted.actor_id) if wanted.actor_id else None,
    )
    return Response(text)


def offered(names: Sequence[str], chosen: str) -> list[str]:
    """What a select offers: also what is chosen, though nothing is called so any more."""
    return sorted({*names, chosen} - {""})


@dataclass(frozen=True)
class Line:
    """An event with what its ids stand for: names, pages, and the histories of its subject and actor."""

    event: AuditEvent
    subject_name: str
    subject_page: str | None
    subject_history: str
    actor_history: str
    project_name: str | None


def lines(events: Sequence[AuditEvent], *, ml: bool) -> list[Line]:
    """One query for the names of projects and one for those of people, however many events."""
    subjects = {
        kind: {_id(e.subject_id) for e in events if e.subject_type == kind} for kind in ("project", "user")
    }
    project_ids = {event.project_id for event in events} | subjects["project"]
    named = {
        "project": projects.names([found for found in project_ids if found]),
        "user": accounts.emails([found for found in subjects["user"] if found]),
    }
    made = []
    for event in events:
        subject_id = _id(event.subject_id)
        name = named.get(event.subject_type, {}).get(subject_id) if subject_id else None
        actor = {"actor": str(event.actor_id)} if event.actor_id else {"kind": event.actor_kind}
        subject = {"subject_type": event.subject_type, "subject": event.subject_id}
        made.append(
            Line(
                event,
                subject_name=name or event.subject_id,
                subject_page=_page_of(event, subject_id, name, ml=ml),
                subject_history=url_for("admin.list_events", **subject),  # type: ignore[arg-type]
                actor_history=url_for("admin.list_events", **actor),  # type: ignore[arg-type]
                project_name=named["project"].get(event.project_id) if event.project_id else None,
            )
        )
    return made


def _page_of(event: AuditEvent, subject_id: UUID | None, name: str | None, *, ml: bool) -> str | None:
    """The page of the subject, where it has one and is still there."""
    if event.subject_type == "pipeline_key" and ml:
        return url_for("admin.show_pipeline_key", key_id=event.subject_id)
    if subject_id is None:
        return None
    if event.subject_type == "project" and name is not None:
        return url_for("admin.show_project", project_id=subject_id)
    if event.subject_type == "user" and name is not None:
        return url_for("admin.show_user", user_id=subject_id)
    if event.subject_type == "image":
        return url_for("web.show_image", image_id=subject_id)
    if event.subject_type == "analysis" and ml:
        return url_for("web.show_analysis", analysis_id=subject_id)
    return None


# --- reading the query -------------------------------------------------------------------------------------------


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _minute(text: str, otherwise: str) -> datetime | None:
    """A moment as a form sends it, in UTC unless it says otherwise, to the minute, which is all that a form shows.
    `otherwise` is the time of a day without one.
    """
    whole = f"{text}T{otherwise}" if len(text) == 10 else text
    try:
        moment = datetime.fromisoformat(whole)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment = moment.replace(second=0, microsecond=0)
        return (moment + timedelta(minutes=1)) - timedelta(minutes=1)  # the calendar's last minute has no end
    except (ValueError, OverflowError):
        return None


def _shown(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%dT%H:%M}" if moment and moment.year >= 1000 else ""
