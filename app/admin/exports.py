"""Exports of many analyses: counted on the page, then downloaded by a form that leaves an audit row."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, current_app, g, render_template, request

from app import access, exports, storage
from app.admin import admin
from app.errors import InvalidPayload, NotFound
from app.exports import Selection
from app.extensions import db
from app.guards import ml_feature, principal
from app.models import Project, Status
from app.responses import download
from app.schemas.admin import NO_DAY, ExportForm
from app.schemas.base import load
from app.schemas.forms import as_sent
from app.services import analyses, audit, projects

OFFERED = 200  # projects and models in the form


@admin.get("/exports")
@ml_feature
def show_exports() -> Response:
    """The form; with `count` in the query also how much it would be."""
    if "count" not in request.args:
        return exports_page(request.args)
    try:
        selection, _, _ = read_selection(request.args)
    except InvalidPayload as error:
        return exports_page(request.args, error)
    return exports_page(request.args, counts=exports.count(selection))


@admin.post("/exports/download")
@ml_feature
def download_analyses() -> Response:
    db.session.rollback()
    g.writes = False  # counting takes a while, and keeps no writer waiting
    try:
        selection, project, form = read_selection(request.form)
    except InvalidPayload as error:
        return exports_page(request.form, error)
    counts = exports.count(selection)
    db.session.rollback()
    files = storage.current()
    if exports.FORMATS[form].shows_artifacts:
        files.check()
    subject = project or principal().user
    after = {
        "filters": selection.as_json(),
        "format": form,
        "analyses": counts.analyses,
        "annotations": counts.annotations if selection.annotations else 0,
    }
    assert subject is not None  # the guard lets nobody in without an account
    g.writes = True
    audit.record(principal(), audit.EXPORTED, subject, after=after, project_id=selection.project_id)
    now: datetime = current_app.extensions["clock"]()
    file = exports.of_selection(selection, project, form, files, now.astimezone(UTC))
    db.session.commit()
    g.writes = False  # what is sent is only read
    return download(file, file.headers)


def read_selection(sent: Mapping[str, str]) -> tuple[Selection, Project | None, str]:
    """What is to be exported, the project if it is one, the format. Raises InvalidPayload."""
    form, _ = load(ExportForm(), sent)
    try:
        project = access.project_for(principal(), form["project"]) if form["project"] else None
    except NotFound:
        raise InvalidPayload(errors=[{"field": "project", "reason": "There is no such project."}]) from None
    selection = Selection(
        project_id=form["project"],
        model_name=form["model"],
        status=form["status"],
        created_from=form["created_from"],
        created_to=form["created_to"],
        annotations=form["annotations"],
    )
    return selection, project, form["format"]


def offered_projects(chosen: str) -> dict[str, str]:
    """The names of the first projects by their ids, and that of the chosen one, wherever its name puts it."""
    found = projects.names(limit=OFFERED)
    with suppress(ValueError):
        found |= projects.names([UUID(chosen)])
    return {str(project_id): name for project_id, name in found.items()}


def exports_page(sent: Mapping[str, str], error: InvalidPayload | None = None, **more: Any) -> Response:
    """What is wrong stands beside the fields, which keep what was sent, but for what a field of days cannot hold."""
    errors = {entry["field"]: entry["reason"] for entry in error.errors or []} if error else {}
    text = render_template(
        "admin/exports/show.html",
        sent={name: value for name, value in as_sent(sent).items() if errors.get(name) != NO_DAY},
        errors=errors,
        projects=offered_projects(sent.get("project", "")),
        models=analyses.models_in_use(limit=OFFERED),
        offered=OFFERED,
        statuses=tuple(Status),
        **more,
    )
    return Response(text, error.status if error else 200)
