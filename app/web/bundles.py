"""Provenance bundles to take away."""

from uuid import UUID

from flask import Response, request

from app import access
from app.bundles import contents
from app.guards import ml_feature, principal
from app.responses import download
from app.schemas.base import load
from app.schemas.queries import BundleQuery, GroupBundleQuery
from app.web import web


@web.get("/analyses/<uuid:analysis_id>/bundle")
@ml_feature
def bundle_analysis(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id)
    query, _ = load(BundleQuery, request.args.to_dict())
    return download(contents.of_analysis(analysis, contents.making(query["images"])))


@web.get("/projects/<uuid:project_id>/bundle")
@ml_feature
def bundle_group(project_id: UUID) -> Response:
    project = access.project_for(principal(), project_id)
    query, _ = load(GroupBundleQuery, request.args.to_dict())
    group = access.group_for(principal(), project.id, query["group_id"])
    return download(contents.of_group(group, contents.making(query["images"])))
