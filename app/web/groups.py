"""Groups: those of a project, one with its analyses, and what is done to all of one after a look at what it touches."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, flash, render_template, request, url_for

from app import access, exports, storage
from app.errors import InvalidPayload, NotFound
from app.extensions import db
from app.guards import ml_feature, principal
from app.models import Analysis, Group, Project, Role, Status
from app.models.groups import Counts
from app.responses import asked_by_htmx, page_or, see_other
from app.schemas.base import load
from app.schemas.queries import GroupQuery
from app.services import cancels, groups
from app.stretches import Stretch, stretch
from app.web import web

PAGE_SIZE = 25  # analyses of a group on one page
SHOWN = 20  # of what would be canceled


@dataclass(frozen=True)
class Listing:
    """A page of the groups of a project, each with what is in it."""

    project: Project
    stretch: Stretch[Group]
    counts: Mapping[UUID, Counts]

    @property
    def is_running(self) -> bool:
        return not all(counts.is_done for counts in self.counts.values())

    @property
    def version(self) -> str:
        return _version([(str(one), _numbers(counts)) for one, counts in self.counts.items()])

    def address(self, **more: str) -> str:
        return url_for("web.list_groups", project_id=self.project.id, **_place(), **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Shown:
    """A group and a page of its analyses, or of those in one status."""

    group: Group
    counts: Counts
    status: Status | None
    stretch: Stretch[Analysis]

    @property
    def is_running(self) -> bool:
        return not self.counts.is_done

    @property
    def version(self) -> str:
        """Changes whenever the page would look different."""
        rows = [(str(row.id), row.revision) for row in self.stretch.rows]
        return _version([_numbers(self.counts), *rows])

    def address(self, **more: str) -> str:
        return group_address(self.group, self.status, **_place(), **more)


def group_address(group: Group, status: Status | None = None, **more: str) -> str:
    filled = more | ({"status": status.value} if status else {})
    return url_for("web.show_group", project_id=group.project_id, group_id=group.group_id, **filled)  # type: ignore[arg-type]


def _place() -> dict[str, str]:
    """Where in the list the page is that is asked for."""
    return {name: request.args[name] for name in ("older", "newer") if name in request.args}


def _numbers(counts: Counts) -> list[int]:
    return [*counts.by_status.values(), counts.annotations]


def _version(shown: Sequence[Any]) -> str:
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]


@web.get("/projects/<uuid:project_id>/groups")
@ml_feature
def list_groups(project_id: UUID) -> Response:
    """The groups, the one that began last first; as the answer to a poll 204 when nothing changed."""
    project = access.project_for(principal(), project_id)
    address = partial(url_for, "web.list_groups", project_id=project.id)
    found = stretch(request.args, address, partial(groups.page, project.id))
    listing = Listing(project, found, groups.counts([group.id for group in found.rows]))
    if request.args.get("version") == listing.version and asked_by_htmx():
        return Response(status=204)
    return page_or("groups/list.html", "groups/_list.html", listing=listing, project=project)


@web.get("/projects/<uuid:project_id>/group")
@ml_feature
def show_group(project_id: UUID) -> Response:
    """A group and its analyses, newest first; as the answer to a poll 204 when nothing changed."""
    if "group_id" not in request.args:
        return _to_list(project_id)
    project, group = _group(project_id, request.args)
    named = request.args.get("status", "")
    status = Status(named) if named in list(Status) else None
    load_page = partial(groups.analyses_of, group, status)
    found = stretch(request.args, partial(group_address, group, status), load_page, PAGE_SIZE)
    shown = Shown(group, groups.counts([group.id])[group.id], status, found)
    version = request.args.get("version")
    if version == shown.version and asked_by_htmx():
        return Response(status=204)
    role = access.role_in(principal(), project.id)
    page = ("groups/show.html", "groups/_group.html")
    return page_or(*page, shown=shown, project=project, role=role, polled=bool(version))


@web.get("/projects/<uuid:project_id>/group/cancel")
@ml_feature
def preview_cancel(project_id: UUID) -> Response:
    """What canceling would touch, and the form that does it."""
    if "group_id" not in request.args:
        return _to_list(project_id)
    project, group = _group(project_id, request.args, Role.EDITOR)
    counts = groups.counts([group.id])[group.id]
    canceled = cancels.preview(group.id, counts.pending, shown=0)
    touched = groups.first_pending(group.id, SHOWN)
    text = render_template(
        "groups/cancel.html",
        project=project,
        group=group,
        counts=counts,
        canceled=canceled,
        touched=touched,
        back=group_address(group),
    )
    return Response(text)


@web.post("/projects/<uuid:project_id>/group/cancel")
@ml_feature
def cancel_group(project_id: UUID) -> Response:
    """The page of the group, with what was canceled; or the look at what is left, which cancels more."""
    _, group = _group(project_id, request.form, Role.EDITOR)
    row_id, name, back = group.id, group.group_id, group_address(group)
    again = url_for("web.preview_cancel", project_id=group.project_id, group_id=name)
    number = 0
    for batch in cancels.cancel(row_id, storage.current(), by=principal()):
        db.session.commit()
        number += batch.number
    left = groups.counts([row_id])[row_id].pending
    flash(_told(name, number, left))
    return see_other(again if number and left else back)


def _told(name: str, number: int, left: int) -> str:
    if not number:
        return f"Nothing of “{name}” was left to cancel."
    done = f"{number:,} {'analysis' if number == 1 else 'analyses'} of “{name}” canceled."
    return f"{done} {left:,} {'has' if left == 1 else 'have'} not ended: cancel again." if left else done


@web.get("/projects/<uuid:project_id>/group/export")
@ml_feature
def preview_export(project_id: UUID) -> Response:
    """What an export would hold, and the form that downloads it."""
    if "group_id" not in request.args:
        return _to_list(project_id)
    project, group = _group(project_id, request.args)
    counts = groups.counts([group.id])[group.id]
    text = render_template(
        "groups/export.html",
        project=project,
        group=group,
        counts=counts,
        formats={name: f"{one.title}: {one.keeps}" for name, one in exports.FORMATS.items()},
        back=group_address(group),
    )
    return Response(text)


def _group(project_id: UUID, sent: Mapping[str, str], role: Role = Role.VIEWER) -> tuple[Project, Group]:
    """The group that a query or form names. What no group can be called is as good as one that is not there."""
    project = access.project_for(principal(), project_id, role)
    try:
        query, _ = load(GroupQuery, {"group_id": sent.get("group_id", "")})
    except InvalidPayload:
        raise NotFound("There is no such group in this project.") from None
    return project, access.group_for(principal(), project.id, query["group_id"], role)


def _to_list(project_id: UUID) -> Response:
    """An address without a group, as is left of it by a form that is out of date, leads to all of them."""
    return see_other(url_for("web.list_groups", project_id=project_id))
