"""Projects: the list a person starts from, and the gallery of one project's images."""

from typing import Any
from uuid import UUID

from flask import Response, current_app, flash, render_template, request, url_for

from app import access
from app.errors import InvalidPayload
from app.extensions import db
from app.guards import principal
from app.models import Project, Role
from app.responses import asked_by_htmx, page_or, see_other
from app.schemas.base import load
from app.schemas.forms import ProjectForm, as_sent
from app.services import counting, projects
from app.web import web
from app.web.gallery import Gallery, project_cards, read_query
from app.web.session import moment


@web.get("/")
def list_projects() -> Response:
    return projects_page()


def projects_page(status: int = 200, **form: Any) -> Response:
    rows = projects.listing(access.projects_of(principal()), principal())
    cards = project_cards(rows, moment(), ml=current_app.config["ML_ANALYSIS_ENABLED"])
    images = counting.added(card.totals.images for card in cards)
    return Response(render_template("projects/list.html", cards=cards, images=images, **form), status)


@web.post("/projects")
def create_project() -> Response:
    try:
        form, _ = load(ProjectForm, request.form)
        project = projects.create(form["name"], form["description"], by=principal())
    except InvalidPayload as error:
        db.session.rollback()
        return projects_page(422, errors=error.errors, sent=as_sent(request.form))
    db.session.commit()
    flash(f"The project “{project.name}” has been created. Now add its first images.")
    return see_other(url_for("web.show_project", project_id=project.id))


@web.get("/projects/<uuid:project_id>")
def show_project(project_id: UUID) -> Response:
    return project_page(*access.project_and_role(principal(), project_id))


def project_page(project: Project, role: Role | None, status: int = 200, **more: Any) -> Response:
    """The gallery; as the answer to a poll that names the version shown, 204 when nothing changed."""
    ml = current_app.config["ML_ANALYSIS_ENABLED"]
    gallery = Gallery.load(project, read_query(request.args, ml=ml), moment(), ml=ml)
    version = request.args.get("version")
    if version and version == gallery.version and asked_by_htmx():
        return Response(status=204)
    page = ("projects/show.html", "projects/_gallery.html")
    return page_or(*page, status, project=project, gallery=gallery, role=role, **more)
