"""Where a pipeline may put a file."""

from uuid import UUID

from flask import Response, current_app, g

from app import access, storage
from app.errors import Conflict, InvalidPayload, LeaseLost, StorageUnavailable
from app.guards import principal
from app.models import Role
from app.models.artifacts import CONTENT_TYPES
from app.openapi import operation
from app.pipeline import commit, lease_proof, pipeline
from app.responses import answer, base_url
from app.schemas.artifacts import Presign, UploadOut
from app.schemas.base import load
from app.services import artifacts, leases
from app.services.locking import lock


@pipeline.post("/analyses/<uuid:analysis_id>/artifacts/presign")
@operation(
    "Artifacts",
    {200: UploadOut},
    role="editor",
    body=Presign,
    example={"artifact_type": "heatmap", "filename": "heat.png"},
    limits={"size": ("maximum", "MAX_REQUEST_BYTES")},
    uploads=tuple(sorted(set(CONTENT_TYPES.values()))),
    parameters=("X-ML-Lease-Token",),
    raises=(Conflict, LeaseLost, StorageUnavailable),
)
def presign_artifact(analysis_id: UUID) -> Response:
    """An address to put an artifact at.

    One PUT of the bytes to `upload_url`, with exactly the `headers` of this answer, stores it. The same file name again
    is the same path with a fresh address.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, swap=True)
    values, ignored = load(Presign, g.body)
    most = current_app.config["MAX_REQUEST_BYTES"]
    if (values["size"] or 0) > most:
        raise InvalidPayload(errors=[{"field": "size", "reason": f"must be at most {most} bytes"}])
    lock(analysis)
    leases.require(analysis, lease_proof())
    filename = values["filename"] or artifacts.default_filename(values["artifact_type"])
    artifact = artifacts.announce(analysis, values["artifact_type"], filename, by=principal())
    path = artifact.storage_path
    upload = storage.current().upload_url(  # made here, the store is not asked
        path,
        artifact.content_type,
        current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"],
        base_url(),
        size=values["size"],
        sha256=values["sha256"],
    )
    body = {
        "upload_url": upload.url,
        "storage_path": path,
        "method": upload.method,
        "headers": upload.headers,
        "expires_at": upload.expires_at.isoformat(),
    }
    commit()
    return answer(body | ({"ignored": ignored} if ignored else {}))
