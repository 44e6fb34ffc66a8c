"""One analysis: its address, cancelling it, taking it away as a file."""

from uuid import UUID

from flask import Response, request

from app import access, exports, storage
from app.errors import IllegalTransition
from app.extensions import db
from app.guards import ml_feature, principal
from app.models import Role
from app.responses import answer, asked_by_htmx, download, page_or, see_other
from app.schemas.base import load
from app.schemas.queries import ExportQuery
from app.services import analyses, artifacts
from app.web import scene, web
from app.web.view import read_view


@web.get("/analyses/<uuid:analysis_id>")
@ml_feature
def show_analysis(analysis_id: UUID) -> Response:
    """The image page with this analysis chosen."""
    analysis = access.analysis_for(principal(), analysis_id)
    shown = scene.build(principal(), analysis.image, read_view(request.args), analysis.id)
    return page_or("images/show.html", "images/_viewer.html", scene=shown, image=analysis.image)


@web.post("/analyses/<uuid:analysis_id>/cancel")
@ml_feature
def cancel_analysis(analysis_id: UUID) -> Response:
    """The image page again; an analysis that ended meanwhile stays as it ended, and the page shows how."""
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR)
    wanted = artifacts.paths(analysis.id)
    db.session.rollback()  # nothing is held while the storage is asked
    found = artifacts.look_up_if_possible(wanted, storage.current())
    try:
        analyses.cancel(analysis, found, by=principal())
        db.session.commit()
    except IllegalTransition:
        db.session.rollback()
    view = read_view(request.form)
    if not asked_by_htmx():
        return see_other(view.address(analysis.image, analysis.id))
    shown = scene.build(principal(), analysis.image, view, analysis.id)
    return page_or(
        "images/show.html", "images/_viewer.html", scene=shown, image=analysis.image, changed=[analysis]
    )


@web.get("/analyses/<uuid:analysis_id>/export")
@ml_feature
def export_analysis(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id)
    query, _ = load(ExportQuery, request.args.to_dict())
    if query["manifest"]:
        return answer(exports.manifest_of_analysis(analysis, query["format"]))
    file = exports.of_analysis(analysis, query["format"], storage.current())
    return download(file, file.headers)
