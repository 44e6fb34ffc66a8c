"""Projects as JSON."""

from uuid import UUID

from flask import Response, g

from app import access
from app.api import api
from app.extensions import db
from app.guards import principal
from app.models import Project, Role
from app.openapi import Answer, operation
from app.responses import answer
from app.schemas.base import load
from app.schemas.projects import CreateProject, ProjectOut, ProjectWrittenOut, project_out
from app.services import overviews, projects


@api.get("/projects")
@operation("Projects", {200: Answer(ProjectOut, many=True, says="All of them.")}, role="")
def list_projects() -> Response:
    """The projects you may read."""
    rows = projects.listing(access.projects_of(principal()), principal())
    counts = overviews.images([project.id for project, _ in rows])
    return answer([project_out(project, role, counts[project.id]) for project, role in rows])


@api.post("/projects")
@operation(
    "Projects",
    {201: ProjectWrittenOut},
    role="",
    body=CreateProject,
    example={"name": "Leaves", "description": "Photographs of the greenhouse."},
)
def create_project() -> Response:
    """Makes a project; you are its owner."""
    values, ignored = load(CreateProject, g.body)
    project = projects.create(values["name"], values["description"] or "", by=principal())
    body = project_out(project, Role.OWNER, 0)
    db.session.commit()
    return answer(body | ({"ignored": ignored} if ignored else {}), 201)


@api.get("/projects/<uuid:project_id>")
@operation("Projects", {200: ProjectOut})
def show_project(project_id: UUID) -> Response:
    """A project, and what you are in it."""
    project = access.project_for(principal(), project_id)
    return answer(project_out(project, _role(project), projects.image_count(project)))


def _role(project: Project) -> Role:
    return access.role_in(principal(), project.id) or Role.VIEWER
