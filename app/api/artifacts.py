"""Artifacts: a signed address to download one, or its bytes."""

from flask import Response, current_app, request

from app import access, storage
from app.api import api
from app.errors import Deleted, InvalidPayload, NotFound, StorageUnavailable
from app.extensions import db
from app.guards import open_to_pipelines, principal
from app.openapi import binary, operation
from app.responses import ATTACHMENT_HEADERS, answer, base_url, stored_file
from app.schemas.artifacts import ArtifactDownloadOut
from app.schemas.base import load
from app.schemas.queries import ArtifactQuery
from app.services import artifacts
from app.storage.base import SERVED_TYPES, served_type

ARTIFACT_TYPES = (*SERVED_TYPES.values(), served_type(None))
RAISES = (NotFound, Deleted, StorageUnavailable)


@api.get("/ml/artifacts/download")
@operation("Artifacts", {200: ArtifactDownloadOut}, query=ArtifactQuery, raises=RAISES)
@open_to_pipelines
def download_artifact() -> Response:
    """A signed address to download an artifact from."""
    path, content_type, ignored = _artifact()
    signed = storage.current().download_url(
        path,
        current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"],
        base_url(),
        content_type=content_type,
        filename=path.rsplit("/", 1)[-1],
    )
    body = {"url": signed.url, "expires_at": signed.expires_at.isoformat()}
    return answer(body | ({"ignored": ignored} if ignored else {}))


@api.get("/ml/artifacts/content")
@operation(
    "Artifacts",
    {200: binary(*ARTIFACT_TYPES, says="The bytes.", headers=("Content-Disposition",))},
    query=ArtifactQuery,
    raises=RAISES,
)
@open_to_pipelines
def artifact_content() -> Response:
    """The bytes of an artifact, streamed."""
    path, content_type, _ = _artifact()
    response = stored_file(storage.current(), path, content_type, filename=path.rsplit("/", 1)[-1])
    response.headers.update(ATTACHMENT_HEADERS)
    return response


def _artifact() -> tuple[str, str, list[str]]:
    """Path and content type of the artifact the query names, if it is there and the caller may read it.

    The third are the parameters that mean nothing here.
    """
    query, ignored = load(ArtifactQuery, request.args.to_dict())
    analysis_id = artifacts.analysis_of(query["path"])
    if analysis_id is None:
        reason = "must be ml_outputs/{analysis_id}/{file name}"
        raise InvalidPayload(errors=[{"field": "path", "reason": reason}])
    analysis = access.analysis_for(principal(), analysis_id)
    artifact = artifacts.at(analysis, query["path"])
    if artifact is None:
        raise NotFound("There is no such artifact.")
    path, content_type = artifact.storage_path, artifact.content_type
    db.session.rollback()  # nothing is held while the storage is asked
    if storage.current().stat(path) is None:
        raise NotFound("There is no such artifact.")
    return path, content_type, ignored
