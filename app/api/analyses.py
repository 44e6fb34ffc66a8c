"""Analyses and their annotations as JSON."""

from typing import Any
from uuid import UUID

import orjson
from flask import Response, request

from app import access
from app.api import api
from app.guards import open_to_pipelines, principal
from app.openapi import operation
from app.responses import answer
from app.schemas.analyses import AnalysesPageOut, AnalysisDetailOut, ProjectAnalysesOut, analysis_out
from app.schemas.annotations import AnnotationsPageOut
from app.schemas.base import load
from app.schemas.queries import AnnotationPage, Page, ProjectAnalyses, ReceiptsQuery, cursor, place_of
from app.schemas.receipts import KeptReceiptsOut, kept_receipt_out
from app.services import analyses, annotations, listed, receipts
from app.services.annotation_rows import as_json, on_the_wire


@api.get("/images/<uuid:image_id>/analyses")
@operation("Analyses", {200: AnalysesPageOut}, query=Page)
@open_to_pipelines
def list_image_analyses(image_id: UUID) -> Response:
    """The analyses of an image, newest first, without their annotations."""
    image = access.image_for(principal(), image_id)
    page, ignored = load(Page, request.args.to_dict())
    rows = [analysis_out(row) for row in analyses.of_image(image, **page)]
    return _listed({"analyses": rows, "total": analyses.count_of_image(image)}, ignored)


@api.get("/projects/<uuid:project_id>/analyses")
@operation("Analyses", {200: ProjectAnalysesOut}, query=ProjectAnalyses)
@open_to_pipelines
def list_project_analyses(project_id: UUID) -> Response:
    """The analyses of a project, newest first, without their annotations.

    `next_cursor` leads to the next page of the same query.
    """
    project = access.project_for(principal(), project_id)
    query, ignored = load(ProjectAnalyses, request.args.to_dict())
    after, limit = query.pop("cursor"), query.pop("limit")
    rows, more = listed.page(project.id, listed.Wanted(**query), limit=limit, after=after)
    place = place_of(rows[-1]) if more else None
    return _listed({"analyses": [analysis_out(row) for row in rows], "next_cursor": place}, ignored)


@api.get("/analyses/<uuid:analysis_id>")
@operation("Analyses", {200: AnalysisDetailOut})
@open_to_pipelines
def show_analysis(analysis_id: UUID) -> Response:
    """An analysis with all its annotations."""
    analysis = access.analysis_for(principal(), analysis_id)
    parts = [as_json(rows) for rows in annotations.of_analysis(analysis)]
    return answer(analysis_out(analysis) | {"annotations": orjson.Fragment(b"[%b]" % b",".join(parts))})


@api.get("/analyses/<uuid:analysis_id>/annotations")
@operation("Annotations", {200: AnnotationsPageOut}, query=AnnotationPage)
@open_to_pipelines
def list_annotations(analysis_id: UUID) -> Response:
    """The annotations of an analysis, a page at a time.

    Without `sort` they come in the order of insertion; `-` before a sort turns it round. `next_cursor` belongs to the
    query it came from.
    """
    analysis = access.analysis_for(principal(), analysis_id)
    query, ignored = load(AnnotationPage, request.args.to_dict())
    skip, limit, after = query.pop("skip"), query.pop("limit"), query.pop("cursor")
    wanted = annotations.Wanted(**query)
    rows, total, last = annotations.page(analysis, wanted, skip=skip, limit=limit, after=after)
    body = {
        "annotations": on_the_wire(rows),
        "total": total,
        "next_cursor": cursor(last) if last else None,
    }
    return _listed(body, ignored)


@api.get("/analyses/<uuid:analysis_id>/receipts")
@operation("Annotations", {200: KeptReceiptsOut}, query=ReceiptsQuery)
@open_to_pipelines
def list_receipts(analysis_id: UUID) -> Response:
    """The receipts of the last bulk requests that changed something, newest first.

    An analysis keeps twenty, each with the beginning of what its answer said.
    """
    analysis = access.analysis_for(principal(), analysis_id)
    query, ignored = load(ReceiptsQuery, request.args.to_dict())
    rows = receipts.of_analysis(analysis.id, query["limit"])
    return _listed({"receipts": [kept_receipt_out(row) for row in rows]}, ignored)


def _listed(body: dict[str, Any], ignored: list[str]) -> Response:
    """The page, and the query parameters that mean nothing here, so that a typo shows."""
    return answer(body | ({"ignored": ignored} if ignored else {}))
