"""Files of other tools, taken as a bulk request is."""

from uuid import UUID

from flask import Response, current_app, g, request

from app import access, importers
from app.errors import Conflict, LeaseLost, TooManyAnnotations
from app.extensions import db
from app.geometry import Frame
from app.guards import principal, takes_file
from app.importers.query import ImportQuery
from app.models import Role
from app.openapi import Answer, operation
from app.pipeline import pipeline
from app.pipeline.annotations import name_of_batch, store
from app.schemas.base import load
from app.schemas.receipts import ReceiptOut

FILES = ("application/x-ndjson", "text/plain", "application/octet-stream")


@pipeline.post("/analyses/<uuid:analysis_id>/annotations:import")
@operation(
    "Annotations",
    {200: Answer(ReceiptOut, says="The receipt, with what else there is to say of the file.")},
    role="editor",
    query=ImportQuery,
    parameters=("Idempotency-Key", "X-ML-Lease-Token"),
    files=("application/json", *FILES),
    raises=(TooManyAnnotations, Conflict, LeaseLost),
)
@takes_file(*FILES)
def import_annotations(analysis_id: UUID) -> Response:
    """Stores what a file of another tool says of the image, all or nothing; safe to send again.

    The file is the body as it is. What it says is validated and stored as a bulk request is; the answer names what of
    it is kept otherwise than it was sent, what is refused, what is left out, and why.
    """
    analysis = access.analysis_for(principal(), analysis_id, Role.EDITOR)
    query, ignored = load(ImportQuery, request.args.to_dict())
    ignored = [*importers.unread(query["format"], request.args), *ignored]
    image = analysis.image
    target = importers.Target(
        analysis_id=analysis_id,
        image_id=image.id,
        filename=image.filename,
        frame=Frame(image.width, image.height),
        names=query["names"],
        called=query["called"],
        keypoints=query["keypoints"],
        normalized=query["normalized"],
        tracks=query["tracks"],
    )
    db.session.rollback()  # nothing is held while the file is read
    batch = name_of_batch()
    bulk = importers.load_file(
        g.body,
        query["format"],
        target,
        mode=query["mode"],
        batch=batch,
        at_most=current_app.config["ML_MAX_BULK_ANNOTATIONS"],
        skips=query["on_invalid"] == "skip",
    )
    return store(analysis_id, bulk, ignored, batch=batch, dry_run=query["dry_run"])
