"""The photograph itself on the image page: as it is, or where it is large a small copy and tiles over it."""

from dataclasses import dataclass
from uuid import UUID

from flask import Response, request, url_for

from app import access, pyramids, storage
from app.extensions import db
from app.geometry import Frame
from app.guards import principal
from app.models import Image
from app.overlay.window import Window
from app.responses import stored_file
from app.services.pyramids import base, tile
from app.services.renders import Original
from app.storage import StoredObject
from app.web import web
from app.web.keeping import FOREVER


@dataclass(frozen=True)
class PlacedTile:
    """A tile and its place, in pixels of the image."""

    href: str
    x: float
    y: float
    width: float
    height: float


@web.get("/images/<uuid:image_id>/base")
def image_base(image_id: UUID) -> Response:
    original, frame = found(image_id)
    return kept(base(original, frame, storage.current()), original)


@web.get("/images/<uuid:image_id>/tiles/<int:level>/<int:column>/<int:row>")
def image_tile(image_id: UUID, level: int, column: int, row: int) -> Response:
    original, frame = found(image_id)
    return kept(tile(original, frame, level, column, row, storage.current()), original)


def found(image_id: UUID) -> tuple[Original, Frame]:
    """What the pieces are made from. The transaction has ended: nothing is held while they are made."""
    image = access.image_for(principal(), image_id)
    original = Original(image.id, image.sha256, image.storage_path)
    frame = Frame(image.width, image.height)
    db.session.rollback()
    return original, frame


def kept(piece: StoredObject, original: Original) -> Response:
    response = stored_file(storage.current(), piece.key, piece.content_type, etag=piece.etag)
    return for_good(response, original.sha256)


def for_good(response: Response, sha256: str) -> Response:
    """The answer, which a browser never asks for again when the address names the version of the image."""
    if request.args.get("v") == version(sha256):
        response.headers["Cache-Control"] = FOREVER
    return response


def version(sha256: str) -> str:
    return sha256[:16]


@web.app_template_global()
def is_in_pieces(image: Image) -> bool:
    """Whether an image is too large to be shown as one file."""
    return pyramids.is_large(Frame(image.width, image.height))


@web.app_template_global()
def picture_href(image: Image) -> str:
    """What is shown for an image: itself, or a copy of it that is quick to fetch."""
    endpoint = "web.image_base" if is_in_pieces(image) else "web.image_content"
    return url_for(endpoint, image_id=image.id, v=version(image.sha256))


@web.app_template_global()
def picture_tiles(image: Image, window: Window) -> list[PlacedTile]:
    """What is laid over that copy to be sharp in a window; nothing for an image that is shown as it is."""
    return [
        PlacedTile(
            url_for(
                "web.image_tile",
                image_id=image.id,
                level=tile.level,
                column=tile.column,
                row=tile.row,
                v=version(image.sha256),
            ),
            tile.rect.x_min,
            tile.rect.y_min,
            tile.rect.width,
            tile.rect.height,
        )
        for tile in pyramids.tiles_in(Frame(image.width, image.height), window)
    ]
