"""Groups as JSON: what is in them, and canceling what has not ended."""

from urllib.parse import urlencode
from uuid import UUID

from flask import Response, request

from app import access, storage
from app.api import api
from app.extensions import db
from app.guards import body_may_be_empty, ml_feature, principal
from app.models import Group, Role
from app.openapi import operation
from app.responses import answer, base_url
from app.schemas.base import load
from app.schemas.groups import GroupCanceledOut, GroupOut, GroupsOut, canceled_out, group_out
from app.schemas.queries import CancelGroup, GroupQuery, GroupsPage, place_of
from app.services import cancels, groups

SHOWN = 100  # ids of what would be canceled


@api.get("/projects/<uuid:project_id>/groups")
@operation("Groups", {200: GroupsOut}, query=GroupsPage)
@ml_feature
def list_groups(project_id: UUID) -> Response:
    """The groups of a project, the one that began last first, each with what is in it.

    `next_cursor` leads to the next page.
    """
    project = access.project_for(principal(), project_id)
    query, ignored = load(GroupsPage, request.args.to_dict())
    rows, more = groups.page(project.id, limit=query["limit"], older_than=query["cursor"])
    counts = groups.counts([group.id for group in rows])
    body = {
        "groups": [group_out(group, counts[group.id], _analyses_url(group)) for group in rows],
        "next_cursor": place_of(rows[-1]) if more else None,
    }
    return answer(body | ({"ignored": ignored} if ignored else {}))


@api.get("/projects/<uuid:project_id>/group")
@operation("Groups", {200: GroupOut}, query=GroupQuery)
@ml_feature
def show_group(project_id: UUID) -> Response:
    """What is in a group: how many analyses in each status, and whether all of them have ended."""
    project = access.project_for(principal(), project_id)
    query, ignored = load(GroupQuery, request.args.to_dict())
    group = access.group_for(principal(), project.id, query["group_id"])
    body = group_out(group, groups.counts([group.id])[group.id], _analyses_url(group))
    return answer(body | ({"ignored": ignored} if ignored else {}))


@api.post("/projects/<uuid:project_id>/group:cancel")
@operation("Groups", {200: GroupCanceledOut}, role="editor", query=CancelGroup)
@ml_feature
@body_may_be_empty
def cancel_group(project_id: UUID) -> Response:
    """Cancels all of a group that has not ended; what has ended stays as it is.

    Each analysis is canceled as if it were alone: a worker that holds it is told with its next heartbeat, and nothing
    more of it is taken. The same again cancels what has come since, or nothing.
    """
    project = access.project_for(principal(), project_id, Role.EDITOR)
    query, ignored = load(CancelGroup, request.args.to_dict())
    group = access.group_for(principal(), project.id, query["group_id"], Role.EDITOR)
    row_id, name, dry_run = group.id, group.group_id, query["dry_run"]
    if dry_run:
        counts = groups.counts([row_id])[row_id]
        canceled = cancels.preview(row_id, counts.pending, shown=SHOWN)
    else:
        canceled = cancels.together(_canceled(row_id))
        counts = groups.counts([row_id])[row_id]
    body = canceled_out(name, counts, dry_run=dry_run, **vars(canceled))
    return answer(body | ({"ignored": ignored} if ignored else {}))


def _canceled(row_id: UUID) -> list[cancels.Canceled]:
    batches = []
    for batch in cancels.cancel(row_id, storage.current(), by=principal()):
        db.session.commit()
        batches.append(batch)
    return batches


def _analyses_url(group: Group) -> str:
    query = urlencode({"group_id": group.group_id})
    return f"{base_url()}/api/projects/{group.project_id}/analyses?{query}"
