"""A view of an image to take away: as a drawing that needs nothing else (SVG), or as a picture (PNG)."""

import re
from uuid import UUID

from flask import Response, current_app, render_template, request

from app import access, storage
from app.errors import InternalError, Overloaded
from app.guards import principal
from app.overlay.sheet import MAX_PIXELS
from app.rasteriser import Busy, NotRasterised, png_of, turn
from app.responses import ATTACHMENT_HEADERS
from app.storage.base import disposition
from app.web import web
from app.web.images import wanted_analysis
from app.web.sheets import Gathered, drawn, gathered
from app.web.view import read_view

SVG, PNG = "image/svg+xml", "image/png"
PNG_SIDE = 2048  # of the picture in it, in pixels: drawing four times as many takes up to twenty seconds
# XML 1.0, production 2: what no document may hold, however it is written
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@web.get("/images/<uuid:image_id>/view.svg")
def download_svg(image_id: UUID) -> Response:
    found = _found(image_id)
    return _attached(_drawing(found), SVG, f"{_name(found)}.svg")


@web.get("/images/<uuid:image_id>/view.png")
def download_png(image_id: UUID) -> Response:
    found = _found(image_id)
    try:
        with turn():
            png = png_of(_drawing(found, nearest="optimizeSpeed", most=PNG_SIDE))
    except Busy as error:
        raise Overloaded("Another view is being drawn as a picture.") from error
    except NotRasterised as error:
        current_app.logger.error("a drawing could not be made into pixels", exc_info=error)
        raise InternalError(
            "The picture could not be drawn. The drawing (SVG) can still be taken."
        ) from error
    return _attached(png, PNG, f"{_name(found)}.png")


def _found(image_id: UUID) -> Gathered:
    image = access.image_for(principal(), image_id)
    return gathered(image, read_view(request.args), wanted_analysis(), request.args.get("box", ""))


def _drawing(found: Gathered, nearest: str = "pixelated", most: int = MAX_PIXELS) -> str:
    """`nearest` is the word for pixels of masks that stay squares: browsers and resvg have different ones."""
    sheet = drawn(found, storage.current(), most)
    text = render_template("overlay/standalone.svg", sheet=sheet, nearest=nearest)
    return well_formed(text)


def well_formed(text: str) -> str:
    """What XML forbids is shown as what cannot be shown."""
    return _NOT_XML.sub("\ufffd", text)


def _name(found: Gathered) -> str:
    """The image's name without its ending, and the model's, last chosen first."""
    stem = found.filename.rpartition(".")[0] or found.filename
    return f"{stem[:100]}_{found.shown[-1].name.split(' ')[0][:60]}" if found.shown else stem[:100]


def _attached(content: str | bytes, content_type: str, filename: str) -> Response:
    response = Response(content, content_type=content_type)
    response.headers["Content-Disposition"] = disposition(content_type, filename, inline=False)
    response.headers.update(ATTACHMENT_HEADERS)
    return response
