"""Exports of many analyses: counted on the page, then downloaded at once, or written in the background and kept."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID

from flask import Response, current_app, g, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from app import access, exports, storage
from app.admin import admin
from app.errors import InvalidPayload, NotFound
from app.exports import FORMATS, FORMATS_OF_MANY, KEPT_ONLY, Selection
from app.extensions import db
from app.guards import ml_feature, principal
from app.models import Export, Project, Status
from app.models.columns import new_id
from app.responses import download
from app.schemas.admin import NO_DAY, ExportForm
from app.schemas.base import load
from app.schemas.forms import as_sent
from app.services import analyses, audit, kept_exports, projects
from app.stretches import Stretch, stretch

OFFERED = 200  # projects and models in the form
LARGE = 100_000  # annotations, or analyses without them: from here on it is offered in the background first
COLUMNS = tuple(
    dict.fromkeys(exports.columns_of_many(annotations=True) + exports.columns_of_many(annotations=False))
)


@dataclass(frozen=True)
class Wanted:
    """What is to be exported, the project if it is one, the format and its columns, none for all."""

    selection: Selection
    project: Project | None
    format: str
    columns: Sequence[str]

    @property
    def is_kept_only(self) -> bool:
        """Whether it is written in the background only."""
        return self.format in KEPT_ONLY

    @property
    def is_everything(self) -> bool:
        """Whether it is all that the project holds."""
        return self.is_kept_only and KEPT_ONLY[self.format].is_everything


@admin.get("/exports")
@ml_feature
def show_exports() -> Response:
    """The form, and what is kept; with `count` in the query also how much it would be."""
    sent = sent_fields(request.args)
    if "count" not in sent:
        return exports_page(sent)
    try:
        wanted = read_selection(sent)
    except InvalidPayload as error:
        return exports_page(sent, error)
    db.session.rollback()  # none is open while it is counted
    counts = exports.count(wanted.selection)
    size = exports.estimate(wanted.selection, wanted.format, counts, now(), wanted.columns)
    many = counts.annotations if wanted.selection.annotations else counts.analyses
    return exports_page(
        sent, counts=counts, size=size, wanted=wanted, is_large=many >= LARGE, export_id=new_id()
    )


@admin.post("/exports/download")
@ml_feature
def download_analyses() -> Response:
    db.session.rollback()
    g.writes = False  # counting takes a while, and keeps no writer waiting
    sent = sent_fields(request.form)
    try:
        wanted = read_selection(sent)
        if wanted.is_kept_only:
            raise InvalidPayload(
                errors=[{"field": "format", "reason": "This is written in the background only."}]
            )
    except InvalidPayload as error:
        return exports_page(sent, error)
    selection, project_name = wanted.selection, wanted.project.name if wanted.project else None
    db.session.rollback()
    counts = exports.count(selection)
    files = storage.current()
    if FORMATS[wanted.format].shows_artifacts:
        files.check()
    # counts again, so it is before the transaction that writes
    file = exports.of_selection(selection, project_name, wanted.format, files, now(), wanted.columns)
    subject = wanted.project or principal().user
    after = {
        "filters": selection.as_json(),
        "format": wanted.format,
        "columns": list(wanted.columns) or None,
        "analyses": counts.analyses,
        "annotations": counts.annotations if selection.annotations else 0,
    }
    assert subject is not None  # the guard lets nobody in without an account
    g.writes = True
    audit.record(principal(), audit.EXPORTED, subject, after=after, project_id=selection.project_id)
    db.session.commit()
    g.writes = False  # what is sent is only read
    return download(file, file.headers)


def now() -> datetime:
    moment: datetime = current_app.extensions["clock"]()
    return moment.astimezone(UTC)


def sent_fields(sent: MultiDict[str, str]) -> dict[str, str]:
    """The columns are ticked one by one, or stand in one field."""
    return sent.to_dict() | ({"columns": " ".join(sent.getlist("columns"))} if "columns" in sent else {})


def read_selection(sent: Mapping[str, str]) -> Wanted:
    """Raises InvalidPayload."""
    form, _ = load(ExportForm, sent)
    try:
        project = access.project_for(principal(), form["project"]) if form["project"] else None
    except NotFound:
        raise InvalidPayload(errors=[{"field": "project", "reason": "There is no such project."}]) from None
    selection = Selection(
        project_id=form["project"],
        group_id=form["group"],
        model_name=form["model"],
        status=form["status"],
        created_from=form["created_from"],
        created_to=form["created_to"],
        annotations=form["annotations"],
    )
    if form["format"] not in FORMATS_OF_MANY:
        raise InvalidPayload(errors=[{"field": "format", "reason": "Choose a format."}])
    kept = KEPT_ONLY.get(form["format"])
    if kept and kept.is_everything:
        refuse_parts(selection)
    elif kept and not selection.annotations:
        raise InvalidPayload(errors=[{"field": "what", "reason": "A bundle has the annotations in it."}])
    takes_columns = not kept and FORMATS[form["format"]].has_columns
    return Wanted(selection, project, form["format"], read_columns(form) if takes_columns else ())


def refuse_parts(selection: Selection) -> None:
    """Everything of a project is all of it."""
    if selection.project_id is None:
        raise InvalidPayload(
            errors=[{"field": "project", "reason": "Everything is that of one project: choose it."}]
        )
    if selection != Selection(project_id=selection.project_id):
        reason = "Everything is a whole project: leave group, model, status, days and what as they were."
        raise InvalidPayload(errors=[{"field": "format", "reason": reason}])


def read_columns(form: Mapping[str, Any]) -> Sequence[str]:
    """Those that such a file has and that are chosen, in its order; none where that is all of them."""
    chosen, there = set(form["columns"].split()), exports.columns_of_many(annotations=form["annotations"])
    found = [name for name in there if name in chosen]
    if chosen - set(COLUMNS) or (chosen and not found):
        raise InvalidPayload(errors=[{"field": "columns", "reason": "Choose columns that such a file has."}])
    return () if len(found) == len(there) else found


def kept_list(args: Mapping[str, str]) -> dict[str, Any]:
    """A page of what is kept, its version, and how much of it has not ended; polled while something has not."""
    log: Stretch[Export] = stretch(args, partial(url_for, "admin.show_kept_exports"), kept_exports.page)
    told = [
        (
            row.id,
            row.state,
            row.attempt,
            row.error,
            row.analyses_done,
            row.annotations_done,
            row.bytes_written,
        )
        for row in log.rows
    ]
    version = sha256(repr(told).encode()).hexdigest()[:16]
    open_ids = [str(row.id) for row in log.rows if not row.has_ended]
    place = {name: args[name] for name in ("older", "newer") if args.get(name)}
    address = url_for("admin.show_kept_exports", version=version, open=" ".join(open_ids), **place)  # type: ignore[arg-type]
    return {"log": log, "version": version, "poll_address": address if open_ids else None}


def offered_projects(chosen: str) -> dict[str, str]:
    """The names of the first projects by their ids, and that of the chosen one, wherever its name puts it."""
    found = projects.names(limit=OFFERED)
    with suppress(ValueError):
        found |= projects.names([UUID(chosen)])
    return {str(project_id): name for project_id, name in found.items()}


def exports_page(sent: Mapping[str, str], error: InvalidPayload | None = None, **more: Any) -> Response:
    text = render_template("admin/exports/show.html", **page_values(sent, error), **more)
    return Response(text, error.status if error else 200)


def page_values(sent: Mapping[str, str], error: InvalidPayload | None = None) -> dict[str, Any]:
    """What is wrong stands beside the fields, which keep what was sent, but for what a field of days cannot hold."""
    errors = {entry["field"]: entry["reason"] for entry in error.errors or []} if error else {}
    return {
        "sent": {name: value for name, value in as_sent(sent).items() if errors.get(name) != NO_DAY},
        "errors": errors,
        "projects": offered_projects(sent.get("project", "")),
        "models": analyses.models_in_use(limit=OFFERED),
        "offered": OFFERED,
        "statuses": tuple(Status),
        "formats": FORMATS_OF_MANY,
        "format_choices": [(name, f"{one.title}: {one.keeps}") for name, one in FORMATS_OF_MANY.items()],
        "columns": {name: name for name in COLUMNS},
        "ticked": sent.get("columns", "").split(),
        "kept": kept_list(sent),
        "keep_days": current_app.config["ML_EXPORT_KEEP_DAYS"],
    }
