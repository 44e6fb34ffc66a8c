"""Analyses as a file: one, or those of a project."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from flask import Response, current_app, request

from app import access, exports, storage
from app.api import api
from app.errors import StorageUnavailable
from app.exports import FORMATS, Selection, manifests
from app.extensions import db
from app.guards import ml_feature, open_to_pipelines, principal
from app.openapi import Answer, operation
from app.responses import answer, download
from app.schemas.analyses import ExportOut
from app.schemas.base import load
from app.schemas.queries import ExportOfProject, ExportQuery

TYPES = tuple(dict.fromkeys(format.content_type.partition(";")[0] for format in FORMATS.values()))
OTHER_TYPES = tuple(one for one in TYPES if one != "application/json")
COCO = {"type": "object", "required": ["images", "annotations", "categories"]}
COCO_RESULTS = {"type": "array", "items": {"type": "object", "required": ["image_id", "category_id"]}}
MANIFEST = {"type": "object", "required": ["format", "keeps", "dropped"]}
FILE = "The file. `X-ML-Export-Dropped` says what its format cannot carry."
HEADERS = ("Content-Disposition", manifests.HEADER)


@api.get("/analyses/<uuid:analysis_id>/export")
@operation(
    "Analyses",
    {
        200: Answer(
            ExportOut,
            types=OTHER_TYPES,
            besides=(
                COCO,
                COCO_RESULTS,
                MANIFEST,
            ),  # of `format=coco`, `format=coco-results` and `manifest=1`
            says=FILE,
            headers=HEADERS,
        )
    },
    query=ExportQuery,
    raises=(StorageUnavailable,),
)
@open_to_pipelines
def export_analysis(analysis_id: UUID) -> Response:
    """An analysis as a file, with its annotations and what became of its artifacts.

    JSON and NDJSON have every field. CSV has one row an annotation: its fields, then the flat columns of every type; a
    text cell that begins with `= + - @ '`, one of these in full width, tab, CR or LF has a `'` before it. What a format
    cannot carry is told in `X-ML-Export-Dropped`, and counted in the file or, with `manifest=1`, beside it.
    """
    analysis = access.analysis_for(principal(), analysis_id)
    query, _ = load(ExportQuery, request.args.to_dict())
    if query["manifest"]:
        return answer(exports.manifest_of_analysis(analysis, query["format"]))
    file = exports.of_analysis(analysis, query["format"], storage.current())
    return download(file, file.headers)


@api.get("/projects/<uuid:project_id>/export")
@operation(
    "Analyses",
    {200: Answer(types=TYPES, says=FILE, headers=HEADERS)},
    query=ExportOfProject,
    raises=(StorageUnavailable,),
)
@ml_feature
def export_project(project_id: UUID) -> Response:
    """The analyses of a project as a file, oldest first: all, or those of a group, a model, a status, some days.

    As an analysis alone is exported; each format says what it adds for many. Analyses made after the export began are
    left out. A group that the project does not have is no empty file but 404.
    """
    project = access.project_for(principal(), project_id)
    query, _ = load(ExportOfProject, request.args.to_dict())
    if query["group_id"]:
        access.group_for(principal(), project.id, query["group_id"])
    selection, name = _selection(project.id, query), project.name
    form, now = query["format"], _now()
    db.session.rollback()  # none is open while the storage is asked, while it is counted, or while it is sent
    if query["manifest"]:
        return answer(exports.manifest_of_selection(selection, form, now))
    files = storage.current()
    if FORMATS[form].shows_artifacts:
        files.check()
    file = exports.of_selection(selection, name, form, files, now)
    return download(file, file.headers)


def _selection(project_id: UUID, query: dict[str, Any]) -> Selection:
    return Selection(
        project_id=project_id,
        model_name=query["model"] or "",
        status=query["status"],
        created_from=query["created_from"],
        created_to=query["created_to"],
        annotations=query["annotations"],
        group_id=query["group_id"] or "",
    )


def _now() -> datetime:
    now: datetime = current_app.extensions["clock"]()
    return now.astimezone(UTC)
