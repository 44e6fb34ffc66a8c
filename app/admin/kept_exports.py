"""Exports that are written in the background: asked for, watched, downloaded, canceled and deleted."""

from datetime import timedelta
from uuid import UUID

from flask import Response, current_app, flash, g, render_template, request, url_for

from app import access, exports, ranges, storage
from app.admin import admin
from app.admin.exports import exports_page, kept_list, now, read_selection, sent_fields
from app.errors import Conflict, InvalidPayload, NotFound
from app.extensions import db
from app.guards import ml_feature, principal
from app.models import Export, ExportState
from app.responses import asked_by_htmx, see_other
from app.schemas.admin import NewExportForm
from app.schemas.base import load
from app.services import kept_exports
from app.storage import Storage


@admin.post("/exports/new")
@ml_feature
def ask_for_export() -> Response:
    db.session.rollback()
    g.writes = False  # counting takes a while, and keeps no writer waiting
    sent = sent_fields(request.form)
    try:
        wanted = read_selection(sent)
        form, _ = load(NewExportForm, sent)
    except InvalidPayload as error:
        return exports_page(sent, error)
    project_name, at = wanted.project.name if wanted.project else None, now()
    db.session.rollback()
    counts = exports.count(wanted.selection)
    estimated = exports.estimate(wanted.selection, wanted.format, counts, at, wanted.columns)
    name, content_type = exports.name_of_selection(project_name, wanted.format, at)
    asked = kept_exports.Asked(
        selection=wanted.selection.as_json(),
        format=wanted.format,
        columns=wanted.columns,
        analyses=counts.analyses,
        annotations=counts.annotations if wanted.selection.annotations else 0,
        estimated_bytes=estimated,
        filename=name,
        content_type=content_type,
    )
    g.writes = True
    kept_exports.ask(form["export_id"], asked, wanted.project, at, by=principal())
    db.session.commit()
    flash("The export is being written. This page says how far it is.")
    return see_other(url_for("admin.show_exports") + "#kept")


@admin.get("/exports/kept")
@ml_feature
def show_kept_exports() -> Response:
    """The answer to a poll: 204 when nothing changed, otherwise the list, and what has ended since."""
    if not asked_by_htmx():
        return exports_page(request.args)
    kept = kept_list(request.args)
    if request.args.get("version") == kept["version"]:
        return Response(status=204)
    followed = set(request.args.get("open", "").split())
    ended = [export for export in kept["log"].rows if export.has_ended and str(export.id) in followed]
    values = {"keep_days": keep().days, "formats": exports.FORMATS_OF_MANY, "kept": kept, "ended": ended}
    return Response(render_template("admin/exports/_kept.html", **values))


@admin.get("/exports/<uuid:export_id>/file")
@ml_feature
def download_export(export_id: UUID) -> Response:
    """The file, or a part of it; what is sent is written down before the first byte."""
    db.session.rollback()
    g.writes = request.method == "GET"
    export = access.export_for(principal(), export_id)
    file = served(export)
    part = ranges.part_asked_for(file)
    if request.method == "GET" and not ranges.is_known(file):
        asked = f"{part[0]}-{part[1] - 1}" if part else None
        kept_exports.record_download(export, asked, by=principal())
    dropped = exports.losses_of_kept(export)
    db.session.commit()
    g.writes = False
    response = ranges.send(storage.current(), file, part)
    response.headers.update(dropped)
    return response


@admin.post("/exports/<uuid:export_id>/cancel")
@ml_feature
def cancel_export(export_id: UUID) -> Response:
    export = access.export_for(principal(), export_id)
    try:
        kept_exports.cancel(export, now(), keep(), by=principal())
        db.session.commit()
        flash("The export has been canceled.")
    except Conflict as refused:
        db.session.rollback()
        flash(refused.detail)
    return see_other(url_for("admin.show_exports") + "#kept")


@admin.post("/exports/<uuid:export_id>/delete")
@ml_feature
def delete_export(export_id: UUID) -> Response:
    export = access.export_for(principal(), export_id)
    try:
        kept_exports.delete(export, by=principal())
        db.session.commit()
        delete_files(export_id, storage.current())
        flash("The export has been deleted.")
    except Conflict as refused:
        db.session.rollback()
        flash(refused.detail)
    return see_other(url_for("admin.show_exports") + "#kept")


def delete_files(export_id: UUID, files: Storage) -> None:
    files.delete([found.key for found in files.listed(f"exports/{export_id}/")])


def served(export: Export) -> ranges.Served:
    if export.state != ExportState.DONE or export.storage_path is None:
        raise NotFound("There is no file of this export.")
    assert export.size_bytes is not None and export.sha256 is not None and export.finished_at is not None
    return ranges.Served(
        export.storage_path,
        export.size_bytes,
        export.sha256,
        export.content_type,
        export.filename,
        export.finished_at,
    )


def keep() -> timedelta:
    return timedelta(days=current_app.config["ML_EXPORT_KEEP_DAYS"])
