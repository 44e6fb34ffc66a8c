"""Pictures that are laid over an image: answered with a signed address in the object store, where they are kept."""

from uuid import UUID

from flask import Response, current_app, redirect

from app import access, storage
from app.errors import NotFound
from app.extensions import db
from app.geometry import Frame
from app.guards import ml_feature, principal
from app.overlay import layers_of
from app.responses import base_url
from app.services import annotations, renders
from app.web import web


@web.get("/annotations/<uuid:annotation_id>/layer.png")
@ml_feature
def show_layer(annotation_id: UUID) -> Response:
    annotation = access.annotation_for(principal(), annotation_id)
    analysis_id = annotation.analysis_id
    bitmaps = layers_of([annotation]).bitmaps
    if not bitmaps:
        raise NotFound("This annotation has no picture of its own.")
    db.session.rollback()  # nothing is held while the layer is made
    return to_stored(renders.layer(analysis_id, bitmaps[0], storage.current()))


@web.get("/analyses/<uuid:analysis_id>/masks.png")
@ml_feature
def show_mask_layer(analysis_id: UUID) -> Response:
    analysis = access.analysis_for(principal(), analysis_id)
    revision, frame = analysis.revision, Frame(analysis.image.width, analysis.image.height)
    said = annotations.of_analysis(analysis)
    if not layers_of(said).masks:
        raise NotFound("This analysis has no masks.")
    db.session.rollback()  # nothing is held while the layer is made
    return to_stored(renders.masks(analysis_id, revision, said, frame, storage.current()))


def to_stored(key: str) -> Response:
    """The browser fetches it from the store itself, for as long as the address is signed."""
    expires_in = current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"]
    signed = storage.current().download_url(
        key, expires_in, base_url(), content_type=renders.PNG, inline=True
    )
    response: Response = redirect(signed.url, 302)  # type: ignore[assignment]
    response.headers["Cache-Control"] = "private, no-cache"
    return response
