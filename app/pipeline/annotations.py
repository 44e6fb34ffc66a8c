"""Annotations in bulk: all or nothing, safe to retry."""

import hashlib
from uuid import UUID

from flask import Response, current_app, g, request

from app import access
from app.annotations import TYPES
from app.errors import Conflict, TooManyAnnotations
from app.extensions import db
from app.geometry import Frame
from app.guards import principal
from app.models import Role
from app.openapi import Answer, operation
from app.pipeline import pipeline
from app.responses import answer
from app.schemas.annotations import BulkIn, ReceiptOut, load_bulk, receipt_out
from app.schemas.base import load
from app.schemas.queries import BulkQuery
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
    parameters=("Idempotency-Key",),
    limits={"annotations": ("maxItems", "ML_MAX_BULK_ANNOTATIONS")},
    raises=(TooManyAnnotations, Conflict),
)
def store_annotations(analysis_id: UUID) -> Response:
    """Stores annotations, all or none of them; safe to send again.

    An item whose `client_id` is held with the same content counts as unchanged; with other content it is a conflict,
    unless `mode` is `upsert` or `replace`.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR)
    frame = Frame(analysis.image.width, analysis.image.height)
    db.session.rollback()  # nothing is held while the payload is validated
    query, ignored = load(BulkQuery(), request.args.to_dict())
    batch = request.headers.get("Idempotency-Key") or hashlib.sha256(request.get_data()).hexdigest()[:32]
    most = current_app.config["ML_MAX_BULK_ANNOTATIONS"]
    bulk = load_bulk(g.body, analysis_id=analysis_id, frame=frame, batch=batch, at_most=most)
    counts, ids = annotations.store_bulk(
        analysis, bulk.items, bulk.mode, dry_run=query["dry_run"], by=principal()
    )
    db.session.commit()
    return answer(receipt_out(counts, ids, bulk, ignored))
