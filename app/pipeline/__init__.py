"""The signed API that pipelines write through."""

from flask import Blueprint, current_app, g, request

from app import guards
from app.extensions import db
from app.services import nonces, swapping
from app.services.leases import Proof

pipeline = Blueprint("pipeline", __name__, url_prefix="/api")
pipeline.before_request(guards.pipeline_caller)


@pipeline.teardown_request
def _forget(_error: BaseException | None) -> None:
    """What was collected and not committed, because it was refused."""
    swapping.drop()


def commit() -> None:
    """Keeps what was done, and that this signature has been used for it, both or neither.

    Raises Replay, and NeedsLock in a view with `@swaps`.
    """
    nonces.spend(g.uses)
    if not swapping.end():
        db.session.commit()


def lease_proof() -> Proof:
    """What this request shows of a lease."""
    return Proof(request.headers.get("X-ML-Lease-Token"), current_app.config["SECRET_KEY"])


from app.pipeline import analyses, annotations, artifacts, echo, imports, leases  # noqa: E402

__all__ = [
    "analyses",
    "annotations",
    "artifacts",
    "commit",
    "echo",
    "imports",
    "lease_proof",
    "leases",
    "pipeline",
]
