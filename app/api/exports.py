"""An analysis as a file."""

from uuid import UUID

from flask import Response, request

from app import access, exports, storage
from app.api import api
from app.errors import StorageUnavailable
from app.guards import open_to_pipelines, principal
from app.openapi import Answer, operation
from app.responses import download
from app.schemas.analyses import ExportOut
from app.schemas.base import load
from app.schemas.queries import ExportQuery


@api.get("/analyses/<uuid:analysis_id>/export")
@operation(
    "Analyses",
    {200: Answer(ExportOut, types=("text/csv",), says="The file.", headers=("Content-Disposition",))},
    query=ExportQuery,
    raises=(StorageUnavailable,),
)
@open_to_pipelines
def export_analysis(analysis_id: UUID) -> Response:
    """An analysis as a file, with its annotations and what became of its artifacts.

    JSON has every field. CSV has one row an annotation: its fields, then the flat columns of every type; a text cell
    that begins with `= + - @ '`, tab or CR has a `'` before it.
    """
    analysis = access.analysis_for(principal(), analysis_id)
    query, _ = load(ExportQuery(), request.args.to_dict())
    return download(exports.of_analysis(analysis, query["format"], storage.current()))
