"""Claiming queued analyses, and keeping them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flask import Response, current_app, g, request

from app import access, signing, storage
from app.errors import AlreadyClaimed, IllegalTransition, InvalidPayload, LeaseLost, StorageUnavailable
from app.guards import body_may_be_empty, principal, switched_on_by
from app.models import Analysis, Role
from app.openapi import Answer, operation
from app.pipeline import commit, lease_proof, pipeline
from app.responses import answer, base_url
from app.schemas.base import load
from app.schemas.leases import (
    Claim,
    ClaimedAnalysesOut,
    ClaimedOut,
    ClaimNext,
    Heartbeat,
    HeartbeatOut,
    claimed_out,
    heartbeat_out,
)
from app.services import leases

claiming = switched_on_by("ML_PIPELINE_PULL_ENABLED")


@pipeline.post("/analyses/<uuid:analysis_id>/claim")
@operation(
    "Analyses",
    {200: Answer(ClaimedOut, says="The analysis, leased to this worker.")},
    role="editor",
    body=Claim,
    example={"worker_id": "gpu-3", "lease_seconds": 120},
    parameters=("Idempotency-Key",),
    raises=(AlreadyClaimed, IllegalTransition, StorageUnavailable),
)
@claiming
def claim_analysis(analysis_id: UUID) -> Response:
    """Takes one queued analysis; it is `processing` then, and this worker's.

    The same worker with the same request again gets the same lease, while it holds.
    """
    analysis = access.analysis_for(
        principal(), analysis_id, Role.EDITOR
    )  # with all of its image, which is answered
    values, ignored = load(Claim, g.body)
    [body] = _claimed([leases.claim(analysis, _wanted(values))])
    return answer(body | _noted(ignored))


@pipeline.post("/analyses:claim")
@operation(
    "Analyses",
    {200: Answer(ClaimedAnalysesOut, says="Those that this worker has now; none where none is queued.")},
    role="editor",
    body=ClaimNext,
    example={"worker_id": "gpu-3", "models": ["leaf-net"], "max": 2},
    parameters=("Idempotency-Key",),
    raises=(StorageUnavailable,),
)
@claiming
def claim_analyses() -> Response:
    """Takes the next queued analyses: the highest priority first, then the oldest.

    The same `Idempotency-Key` again gets the same leases, those that still hold.
    """
    values, ignored = load(ClaimNext, g.body)
    among, most = access.claimable(principal()), values["max"] or 1
    found = leases.claim_next(_wanted(values), among, models=values["models"], most=most)
    return answer({"analyses": _claimed(found)} | _noted(ignored))


@pipeline.post("/analyses/<uuid:analysis_id>/heartbeat")
@operation(
    "Analyses",
    {200: HeartbeatOut},
    role="editor",
    parameters=("X-ML-Lease-Token",),
    raises=(LeaseLost, InvalidPayload),
)
@claiming
@body_may_be_empty
def keep_analysis(analysis_id: UUID) -> Response:
    """Extends a lease by as many seconds as it was claimed for.

    Where somebody canceled the analysis meanwhile, the answer says so and nothing is extended.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, swap=True)
    _, ignored = load(Heartbeat, g.body)
    ends, canceled = leases.heartbeat(analysis, lease_proof())
    commit()
    return answer(heartbeat_out(ends, canceled) | _noted(ignored))


def _wanted(values: Mapping[str, Any]) -> leases.Claim:
    seconds = values["lease_seconds"] or current_app.config["ML_LEASE_SECONDS"]
    return leases.Claim(principal(), values["worker_id"], seconds, request.headers.get("Idempotency-Key"))


def _claimed(found: Sequence[Analysis]) -> list[dict[str, Any]]:
    """Commits, and answers with the leases. The storage signs addresses when nothing is held any more."""
    secret, told = current_app.config["SECRET_KEY"], []
    for analysis in found:
        token = signing.lease_token(secret, analysis.id, analysis.lease_epoch)
        path, content_type = analysis.image.storage_path, analysis.image.content_type
        told.append((claimed_out(analysis, token), path, content_type))
    commit()
    store, seconds = storage.current(), current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"]
    for body, path, content_type in told:
        signed = store.download_url(path, seconds, base_url(), content_type=content_type)
        body["image"]["download_url"] = signed.url
    return [body for body, _, _ in told]


def _noted(ignored: list[str]) -> dict[str, Any]:
    return {"ignored": ignored} if ignored else {}
