"""Members of a project: everyone in it sees them, owners manage them."""

from typing import Any
from uuid import UUID

from flask import Response, flash, render_template, request, url_for

from app import access
from app.errors import Conflict, InvalidPayload, NotFound
from app.extensions import db
from app.guards import principal
from app.models import Project, Role, User
from app.responses import see_other
from app.schemas.base import load
from app.schemas.forms import MemberForm, MemberRole, as_sent
from app.services import accounts, projects
from app.web import web


@web.get("/projects/<uuid:project_id>/members")
def list_members(project_id: UUID) -> Response:
    return members_page(access.project_for(principal(), project_id))


def members_page(project: Project, status: int = 200, **form: Any) -> Response:
    """Where there are more than a page lists, `q` finds the others."""
    wanted = request.args.get("q", "").replace("\0", "").strip()[:255]
    text = render_template(
        "members/list.html",
        project=project,
        members=projects.members(project, wanted),
        total=projects.member_count(project),
        listed=projects.LISTED,
        wanted=wanted,
        role=access.role_in(principal(), project.id),
        roles=list(Role),
        **form,
    )
    return Response(text, status)


@web.post("/projects/<uuid:project_id>/members")
def add_member(project_id: UUID) -> Response:
    project = access.project_for(principal(), project_id, Role.OWNER)
    try:
        form, _ = load(MemberForm, request.form)
    except InvalidPayload as error:
        return members_page(project, 422, errors=error.errors, sent=as_sent(request.form))
    user = accounts.find(form["email"])
    if user is None:
        reason = "There is no account with this address. An admin can make one."
        return members_page(
            project, 422, errors=[{"field": "email", "reason": reason}], sent=as_sent(request.form)
        )
    try:
        held = projects.member(project, user.id)
    except NotFound:
        return set_role(project, user, form["role"])
    reason = f"{user.email} is a member already, as {held.role}. Change the role in the list below."
    return members_page(
        project, 409, errors=[{"field": "email", "reason": reason}], sent=as_sent(request.form)
    )


@web.post("/projects/<uuid:project_id>/members/<uuid:user_id>")
def change_member(project_id: UUID, user_id: UUID) -> Response:
    project = access.project_for(principal(), project_id, Role.OWNER)
    member = projects.member(project, user_id)
    try:
        form, _ = load(MemberRole, request.form)
    except InvalidPayload as error:
        return members_page(project, 422, errors=error.errors)
    return set_role(project, member.user, form["role"])


def set_role(project: Project, user: User, role: Role) -> Response:
    """The last owner's refusal is shown on the page."""
    try:
        projects.set_member(project, user, role, by=principal())
    except Conflict as error:
        db.session.rollback()
        return members_page(project, 409, errors=[{"field": "", "reason": error.detail}])
    db.session.commit()
    flash(f"{user.email} is now {'a' if role is Role.VIEWER else 'an'} {role} of this project.")
    return see_other(url_for("web.list_members", project_id=project.id))


@web.post("/projects/<uuid:project_id>/members/<uuid:user_id>/remove")
def remove_member(project_id: UUID, user_id: UUID) -> Response:
    project = access.project_for(principal(), project_id, Role.OWNER)
    try:
        projects.remove_member(project, user_id, by=principal())
    except Conflict as error:
        db.session.rollback()
        return members_page(project, 409, errors=[{"field": "", "reason": error.detail}])
    db.session.commit()
    flash("The member has been removed.")
    if access.role_in(principal(), project.id) is None:
        return see_other(url_for("web.list_projects"))
    return see_other(url_for("web.list_members", project_id=project.id))
