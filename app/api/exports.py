"""An analysis as a file."""

from uuid import UUID

from flask import Response, request

from app import access, exports, storage
from app.api import api
from app.guards import ml_feature, principal
from app.responses import download
from app.schemas.base import load
from app.schemas.queries import ExportQuery


@api.get("/analyses/<uuid:analysis_id>/export")
@ml_feature
def export_analysis(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id)
    query, _ = load(ExportQuery(), request.args.to_dict())
    return download(exports.of_analysis(analysis, query["format"], storage.current()))
