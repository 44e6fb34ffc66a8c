"""Projects: all of them, who made them, what they hold; their members are managed on the project's own page."""

from functools import partial
from typing import Any
from uuid import UUID

from flask import Response, current_app, flash, render_template, request, url_for

from app import access
from app.admin import admin
from app.admin.paging import listing, read_page, read_text
from app.errors import InvalidPayload
from app.extensions import db
from app.guards import principal
from app.models import Project, Role
from app.responses import see_other
from app.schemas.admin import NewProjectForm
from app.schemas.base import load
from app.schemas.forms import ProjectForm, as_sent
from app.services import accounts, counting, overviews, projects


@admin.get("/projects")
def list_projects() -> Response:
    return projects_page()


def projects_page(status: int = 200, **form: Any) -> Response:
    """`errors` and `sent` are those of the form for a new project."""
    text = read_text(request.args, "q")
    found = listing("admin.list_projects", {"q": text}, read_page(request.args), partial(projects.page, text))
    ids = [project.id for project in found.rows]
    return Response(
        render_template(
            "admin/projects/list.html",
            listing=found,
            members=overviews.members(ids),
            totals=counting.totals_of(ids, current_app.extensions["clock"]()),
            **form,
        ),
        status,
    )


@admin.post("/projects/new")
def create_project() -> Response:
    try:
        form, _ = load(NewProjectForm, request.form)
        owner = accounts.find(form["owner"])
        if owner is None:
            raise InvalidPayload(
                errors=[{"field": "owner", "reason": "There is no account with this address."}]
            )
        project = projects.create(form["name"], form["description"], by=principal(), owner=owner)
    except InvalidPayload as error:
        db.session.rollback()
        return projects_page(422, errors=by_field(error), sent=as_sent(request.form))
    db.session.commit()
    flash(f"The project “{project.name}” has been made. {owner.email} owns it.")
    return see_other(url_for("admin.show_project", project_id=project.id))


@admin.get("/projects/<uuid:project_id>")
def show_project(project_id: UUID) -> Response:
    return project_page(access.project_for(principal(), project_id, Role.OWNER))


def project_page(project: Project, status: int = 200, **form: Any) -> Response:
    text = render_template(
        "admin/projects/show.html",
        project=project,
        members=projects.members(project),
        member_count=projects.member_count(project),
        totals=counting.totals(project.id, current_app.extensions["clock"]()),
        **form,
    )
    return Response(text, status)


@admin.post("/projects/<uuid:project_id>")
def change_project(project_id: UUID) -> Response:
    project = access.project_for(principal(), project_id, Role.OWNER)
    try:
        form, _ = load(ProjectForm, request.form)
        projects.change(project, form["name"], form["description"], by=principal())
    except InvalidPayload as error:
        db.session.rollback()
        return project_page(project, 422, errors=by_field(error), sent=as_sent(request.form))
    db.session.commit()
    flash("The project has been changed.")
    return see_other(url_for("admin.show_project", project_id=project.id))


def by_field(error: InvalidPayload) -> dict[str, str]:
    return {entry["field"]: entry["reason"] for entry in error.errors or []}
