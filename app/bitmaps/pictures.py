"""Pictures laid over an image: composed masks, coloured heatmaps, re-encoded segmentations. PNG in, PNG out.

Everything a pipeline stored is decoded and written anew, so that nothing of a hostile file reaches a browser.
A palette PNG with a tRNS chunk is a fraction of an RGBA one in bytes and in time.
"""

import io
import math
import struct
import zlib
from collections.abc import Sequence
from typing import BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.bitmaps.color_maps import Bytes, color_map_named, spread
from app.errors import InvalidPayload

MAX_PIXELS = 100_000_000
MAX_SIDE = 4096
"""Of a layer, in pixels: what is larger is drawn smaller in proportion, and stretched again by the browser."""

# As in imaging: Pillow warns above this, and warning filters belong to the process, not to a thread.
# The limit that counts is checked in `_opened`.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

BAND = 256
"""Rows of a layer made at once, so that of a large picture only one copy is ever in memory."""

Bits: TypeAlias = NDArray[np.bool_]
Values: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]

FILL_ALPHA, EDGE_ALPHA = 140, 255
SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST_LABEL = 64


def recolour(source: BinaryIO | bytes, color_map: str | None, low: int = 0, high: int = 100) -> bytes:
    """A heatmap PNG ready to lay over an image; `color_map` as `color_map_named` understands it.

    Grey pictures become 8-bit index PNGs with the colour map as palette, more opaque the higher the value. `low`
    and `high` are per cent of the range of values: what is below is clear, what is above has the last colour.
    The 65536 values of 16 bits become 256 steps between `low` and `high`, so that a narrow range shows what all of
    it together cannot. A picture with colours of its own (RGB, palette) is written again as it is. Neither side is
    above 4096 afterwards. Raises InvalidPayload for anything but a sound PNG of at most 100 megapixels.
    """
    picture = _shrunk(_opened(source), averaged=True)
    values, alpha = _labels(picture)
    if values is None:
        return _encoded(_in_colour(picture))
    name = color_map_named(color_map)
    if values.dtype == np.uint16:
        steps, (table, alphas) = _steps(values, low, high), spread(name, 0, 100)
    else:
        steps, (table, alphas) = _grey(values, picture.mode), spread(name, low, high)
    if alpha is None:
        return palette_png(steps, table, alphas)
    colours = np.frombuffer(table, dtype=np.uint8).reshape(256, 3)[steps]
    opacity = np.minimum(np.frombuffer(alphas, dtype=np.uint8)[steps], alpha)
    return _encoded(Image.fromarray(np.dstack([colours, opacity]), "RGBA"))


def _steps(values: Values, low: int, high: int) -> Bytes:
    """16 bits as 256 steps from `low` to `high` per cent of their range."""
    span = 65535 * (high - low)
    wide = (values.astype(np.int64) * 100 - 65535 * low) * 255
    return ((np.clip(wide, 0, span * 255) + span // 2) // span).astype(np.uint8)


def with_colours(layer: bytes, color_map: str, low: int, high: int) -> bytes:
    """A layer that `recolour` made of an 8-bit grey heatmap, over all of its range, in other colours.

    Only the chunks PLTE and tRNS are replaced; no pixel is decoded. https://www.w3.org/TR/png-3/
    """
    table, alphas = spread(color_map, low, high)
    replaced, parts, at = {b"PLTE": table, b"tRNS": alphas}, [layer[:8]], 8
    while at < len(layer):
        end = at + 12 + int.from_bytes(layer[at : at + 4], "big")
        kind = layer[at + 4 : at + 8]
        parts.append(_chunk(kind, replaced[kind]) if kind in replaced else layer[at:end])
        at = end
    return b"".join(parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


GREY, GREY_ALPHA = 0, 4
HEADER = 33
"""Bytes of a PNG until the end of its first chunk, which says its size and kind."""


def kind_of(header: bytes) -> Literal["grey", "deep", "coloured"]:
    """What the first `HEADER` bytes of a PNG say of its values.

    `grey`: of up to 8 bits, which `with_colours` understands once it is a layer. `deep`: grey of 16 bits or with an
    alpha channel, which is made from its values each time. `coloured` it is already. What is no PNG counts as
    grey, and is refused when it is drawn.
    """
    if len(header) < HEADER or header[:8] != SIGNATURE or header[12:16] != b"IHDR":
        return "grey"
    depth, colours = header[24], header[25]
    if colours not in (GREY, GREY_ALPHA):
        return "coloured"
    return "grey" if colours == GREY and depth <= 8 else "deep"


def colour_mask(source: BinaryIO | bytes, index: int, palette: Sequence[str]) -> bytes:
    """A segmentation PNG ready to lay over an image: 0 is transparent, the rest half transparent in a colour.

    A grey picture is one thing in the colour at `index`; when it holds several values, none above 64, they
    are labels, and label n has the colour n - 1 steps after `index`. Pictures in colour keep theirs, with
    black (or what is transparent already) transparent. Size and errors are those of `recolour`.
    """
    picture = _shrunk(_opened(source), averaged=False)
    values, alpha = _labels(picture)
    if values is None:
        return _encoded(_without_black(_in_colour(picture)))
    if alpha is not None:
        values = np.where(alpha > 0, values, 0)
    top = int(values.max(initial=0))
    several = top <= LARGEST_LABEL and np.unique(values).size > 2
    labels = (values if several else values > 0).astype(np.uint8)
    chosen = [palette[(index + step) % len(palette)] for step in range(top if several else 1)]
    table = bytes(3) + b"".join(bytes.fromhex(colour.removeprefix("#")) for colour in chosen)
    return palette_png(labels, table, bytes([0]) + bytes([FILL_ALPHA] * len(chosen)))


def mask_of(source: BinaryIO | bytes) -> Bits:
    """The pixels that `colour_mask` colours, (height, width). Size and errors are those of `recolour`."""
    picture = _shrunk(_opened(source), averaged=False)
    values, alpha = _labels(picture)
    if values is None:
        return np.asarray(np.asarray(_without_black(_in_colour(picture)))[..., 3] > 0)
    return np.asarray(values > 0 if alpha is None else (values > 0) & (alpha > 0))


_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    OverflowError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def _opened(source: BinaryIO | bytes) -> Image.Image:
    """The decoded picture, or InvalidPayload; its size is checked before any pixel is."""
    try:
        picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=["PNG"])
        if picture.width * picture.height > MAX_PIXELS:
            raise InvalidPayload(f"The picture has more than {MAX_PIXELS} pixels.")
        picture.load()
    except _BROKEN:
        raise InvalidPayload("The artifact is not a sound PNG picture.") from None
    return picture


def _shrunk(picture: Image.Image, *, averaged: bool) -> Image.Image:
    """The picture with neither side above 4096: pixels averaged where colours allow it, or picked."""
    factor = MAX_SIDE / max(picture.size)
    if factor >= 1:
        return picture
    size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
    if not averaged or picture.mode in ("1", "P") or "transparency" in picture.info:
        return picture.resize(size, Image.Resampling.NEAREST)
    small, step = Image.new(picture.mode, size), picture.height / size[1]
    for top in range(0, size[1], BAND):
        bottom = min(top + BAND, size[1])
        first, last = top * step, min(bottom * step, picture.height)
        above = math.floor(first)
        strip = picture.crop((0, above, picture.width, math.ceil(last)))
        inside = (0, first - above, picture.width, last - above)
        small.paste(strip.resize((size[0], bottom - top), Image.Resampling.BOX, box=inside), (0, top))
    return small


def _labels(picture: Image.Image) -> tuple[Values | None, Bytes | None]:
    """The values of a grey picture as they are, and its alpha; None for one in colour."""
    mode = picture.mode
    if mode == "LA":
        grey, alpha = picture.split()
        return np.asarray(grey, dtype=np.uint8), np.asarray(alpha, dtype=np.uint8)
    if mode in ("1", "L"):
        return np.asarray(picture, dtype=np.uint8), None
    if mode.startswith("I"):
        return np.clip(np.asarray(picture), 0, 65535).astype(np.uint16), None
    return None, None


def _grey(values: Values, mode: str) -> Bytes:
    """Values of up to 8 bits as 0 to 255."""
    return (values * 255 if mode == "1" else values).astype(np.uint8)


def _in_colour(picture: Image.Image) -> Image.Image:
    """A copy without metadata: RGB, or RGBA where anything is transparent."""
    clear = "A" in picture.mode or "transparency" in picture.info
    return Image.fromarray(np.asarray(picture.convert("RGBA" if clear else "RGB")))


def _without_black(picture: Image.Image) -> Image.Image:
    if picture.mode == "RGBA":
        return picture
    colours = np.asarray(picture)
    alpha = np.where(colours.any(axis=2), FILL_ALPHA, 0).astype(np.uint8)
    return Image.fromarray(np.dstack([colours, alpha]), "RGBA")


def palette_png(values: Bytes, table: bytes, alphas: bytes) -> bytes:
    picture = Image.fromarray(np.ascontiguousarray(values), "L")
    picture.putpalette(table)
    return _encoded(picture, transparency=alphas)


def _encoded(picture: Image.Image, **more: bytes) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=3, **more)
    return out.getvalue()
