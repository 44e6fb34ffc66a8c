"""Annotations in bulk: all or nothing, safe to retry."""

import hashlib
from uuid import UUID

from flask import Response, current_app, g, request

from app import access
from app.annotations import TYPES
from app.errors import Conflict, LeaseLost, TooManyAnnotations
from app.extensions import db
from app.geometry import Frame
from app.guards import principal
from app.models import Role
from app.openapi import Answer, operation
from app.pipeline import commit, lease_proof, pipeline
from app.responses import answer
from app.schemas.annotations import Bulk, BulkIn, load_bulk
from app.schemas.base import load
from app.schemas.queries import BulkQuery
from app.schemas.receipts import ReceiptOut, notes_to_keep, receipt_out, source_of
from app.services import annotations


@pipeline.post("/analyses/<uuid:analysis_id>/annotations:bulk")
@operation(
    "Annotations",
    {200: Answer(ReceiptOut, says="The receipt; its size depends on this request only.")},
    role="editor",
    query=BulkQuery,
    body=BulkIn,
    example={
        "annotations": [
            {
                "client_id": "box-1",
                "annotation_type": "bounding_box",
                "class_name": "leaf",
                "confidence": 0.93,
                "data": TYPES["bounding_box"].example,
            }
        ]
    },
    parameters=("Idempotency-Key", "X-ML-Lease-Token"),
    limits={"annotations": ("maxItems", "ML_MAX_BULK_ANNOTATIONS")},
    raises=(TooManyAnnotations, Conflict, LeaseLost),
)
def store_annotations(analysis_id: UUID) -> Response:
    """Stores annotations, all or none of them; safe to send again.

    An item whose `client_id` is held with the same content counts as unchanged; with other content it is a conflict,
    unless `mode` is `upsert` or `replace`. The answer names the items that are kept otherwise than they were sent.
    With `on_invalid=skip` the valid items are stored and the others named.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR)
    frame = Frame(analysis.image.width, analysis.image.height)
    db.session.rollback()  # nothing is held while the payload is validated
    query, ignored = load(BulkQuery, request.args.to_dict())
    batch = name_of_batch()
    most = current_app.config["ML_MAX_BULK_ANNOTATIONS"]
    skips = query["on_invalid"] == "skip"
    bulk = load_bulk(g.body, analysis_id=analysis_id, frame=frame, batch=batch, at_most=most, skips=skips)
    return store(analysis_id, bulk, ignored, batch=batch, dry_run=query["dry_run"])


def name_of_batch() -> str:
    """What items without a `client_id` are named after."""
    return request.headers.get("Idempotency-Key") or hashlib.sha256(request.get_data()).hexdigest()[:32]


def store(analysis_id: UUID, bulk: Bulk, ignored: list[str], *, batch: str, dry_run: bool) -> Response:
    """What was validated is stored and committed; the receipt. `ignored` are parameters of the query."""
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR, hold=True)
    counts, ids = annotations.store_bulk(
        analysis,
        bulk.items,
        bulk.mode,
        batch=batch,
        notes=notes_to_keep(bulk, ignored),
        dry_run=dry_run,
        by=principal(),
        proof=lease_proof(),
        source=source_of(bulk),
    )
    commit()
    return answer(receipt_out(counts, ids, bulk, ignored))
