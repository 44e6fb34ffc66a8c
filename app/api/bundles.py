"""Provenance bundles, and the keys that sign them."""

from uuid import UUID

from flask import Response, current_app, request

from app import access
from app.api import api
from app.bundles import contents, keys
from app.errors import LimitReached, StorageUnavailable
from app.guards import ml_feature, principal
from app.openapi import binary, operation
from app.responses import answer, download
from app.schemas.base import load
from app.schemas.bundles import BundleKeysOut
from app.schemas.queries import BundleQuery, GroupBundleQuery

ZIP = binary("application/zip", says="The bundle.", headers=("Content-Disposition",))


@api.get("/analyses/<uuid:analysis_id>/bundle")
@operation("Analyses", {200: ZIP}, query=BundleQuery, raises=(StorageUnavailable,))
@ml_feature
def bundle_analysis(analysis_id: UUID) -> Response:
    """An analysis as one signed zip: what is known of it, its annotations, its files, its audit trail.

    A manifest has the size and the hash of every file, so that any change shows; the image is in it with `images`, and
    else only its hash.
    """
    analysis = access.analysis_for(principal(), analysis_id)
    query, _ = load(BundleQuery, request.args.to_dict())
    return download(contents.of_analysis(analysis, contents.making(query["images"])))


@api.get("/projects/<uuid:project_id>/bundle")
@operation("Groups", {200: ZIP}, query=GroupBundleQuery, raises=(LimitReached, StorageUnavailable))
@ml_feature
def bundle_group(project_id: UUID) -> Response:
    """All that is left of a group as one signed zip, each analysis as it is alone."""
    project = access.project_for(principal(), project_id)
    query, _ = load(GroupBundleQuery, request.args.to_dict())
    group = access.group_for(principal(), project.id, query["group_id"])
    return download(contents.of_group(group, contents.making(query["images"])))


@api.get("/bundle-keys")
@operation("Analyses", {200: BundleKeysOut}, role="")
@ml_feature
def list_bundle_keys() -> Response:
    """The public keys of bundles, newest first. The first signs; what the others signed is still this server's."""
    found = keys.from_config(current_app.config)
    listed = [{"key_id": key.id, "algorithm": "Ed25519", "public_key": key.public} for key in found]
    return answer({"keys": listed})
