"""What a drawing has inside it: the part of an image that is looked at, and its layers, as data addresses.

Call these outside any transaction: the pictures come from the storage, and cutting one may take a second.
"""

import io
import math
from base64 import b64encode
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import numpy as np
from PIL import Image, ImageCms

from app.bitmaps import color_map_named
from app.geometry import Frame, Rect, clamp
from app.imaging import DECODING, FORMATS
from app.overlay.colours import Colours
from app.overlay.filters import Filter
from app.overlay.masks import shown_masks
from app.overlay.parts import StoredBitmap
from app.overlay.sheet import MAX_PIXELS, Embedded
from app.overlay.snapshot import Mask, Snapshot
from app.overlay.window import Tile, Window
from app.services import renders
from app.services.renders import Original
from app.storage import Storage

LOSSLESS = 4_000_000
"""Pixels up to which a part of a PNG stays one; above, a JPEG is a tenth of it."""


def picture(original: Original, region: Rect, storage: Storage, most: int = MAX_PIXELS) -> Embedded:
    """The part of an image, at full resolution as long as neither side is above `most`, without its metadata.

    Raises NotFound when the image is not in the storage.
    """
    with storage.open(original.storage_path) as stream:
        source = io.BytesIO(stream.read())
    with DECODING, Image.open(source, formats=FORMATS) as whole:
        size, factor = whole.size, most / max(region.width, region.height)
        if factor < 0.5:  # a JPEG is decoded at a fraction of its size
            whole.draft("RGB", (math.ceil(size[0] * factor), math.ceil(size[1] * factor)))
        lossless = whole.format != "JPEG"
        part = _in_srgb(_part(whole, region, Frame(*size), most))
    return Embedded(_data_address(part, lossless=lossless), region)


def layer(
    analysis_id: UUID,
    bitmap: StoredBitmap,
    colours: tuple[str, int, int],
    region: Rect,
    frame: Frame,
    storage: Storage,
) -> Embedded:
    """A heatmap or mask of a pipeline; `colours` are a colour map, "" for its own, and the range in per cent.

    Raises NotFound and InvalidPayload as `renders.layer` does.
    """
    if bitmap.kind == "heatmap":
        name, low, high = colours
        named = name or color_map_named(bitmap.color_map)
        png = renders.heatmap(analysis_id, bitmap, named, low, high, storage)
    else:
        with storage.open(renders.layer(analysis_id, bitmap, storage)) as stream:
            png = stream.read()
    return _laid_over(png, region, frame, bitmap.kind, bitmap.title)


def masks(rows: Sequence[Any], chosen: Filter, region: Rect, frame: Frame, colours: Colours) -> Embedded:
    """The run-length masks among these that pass the filter, as one picture."""
    png = renders.mask_part(shown_masks(rows, frame, chosen, colours), frame, region)
    return Embedded(_address(renders.PNG, png), region, "mask", "Masks")


def outlines(snapshot: Snapshot, among: Mask, window: Window) -> Embedded:
    """The outlines of very many shapes as one picture, whose pixels are at most a unit of the sheet wide."""
    span = 2.0**window.level
    across, down = math.ceil(window.width / span) * span, math.ceil(window.height / span) * span
    tile = Tile(window.level, 0, 0, Rect(window.x, window.y, window.x + across, window.y + down))
    return Embedded(_address(renders.PNG, renders.outlines(snapshot, among, tile)), tile.rect, "outlines")


def _laid_over(png: bytes, region: Rect, frame: Frame, kind: str, title: str) -> Embedded:
    """The pixels of a layer that meet the region, in the place where these are: no pixel is cut or moved."""
    with DECODING, Image.open(io.BytesIO(png), formats=["PNG"]) as whole:
        across, down = frame.width / whole.width, frame.height / whole.height
        left, top = math.floor(region.x_min / across), math.floor(region.y_min / down)
        right, bottom = math.ceil(region.x_max / across), math.ceil(region.y_max / down)
        box = left, top, min(right, whole.width), min(bottom, whole.height)
        if box != (0, 0, *whole.size):
            png = _png(
                whole.crop(box), **({"transparency": t} if (t := whole.info.get("transparency")) else {})
            )
    place = Rect(box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    return Embedded(_address("image/png", png), place, kind, title)


def _part(whole: Image.Image, region: Rect, frame: Frame, most: int) -> Image.Image:
    """The region in at most `most` pixels a side; `frame` is the size of the image, which may be decoded smaller."""
    scale = whole.width / frame.width, whole.height / frame.height
    box = (
        region.x_min * scale[0],
        region.y_min * scale[1],
        min(region.x_max * scale[0], whole.width),
        min(region.y_max * scale[1], whole.height),
    )
    factor = min(1.0, most / max(region.width, region.height))
    size = max(1, round(region.width * factor)), max(1, round(region.height * factor))
    if factor == 1.0 and whole.size == tuple(frame):
        return whole.crop((round(box[0]), round(box[1]), round(box[2]), round(box[3])))
    if whole.mode in ("P", "1"):
        whole = whole.convert("RGBA" if "transparency" in whole.info else "RGB")
    return whole.resize(size, Image.Resampling.BOX, box=box, reducing_gap=3.0)


def _in_srgb(part: Image.Image) -> Image.Image:
    """In the colours that every program shows alike: RGB, or RGBA where it is transparent."""
    if part.mode.startswith("I"):  # 16 bits: the upper eight, as browsers show them
        return Image.fromarray((np.asarray(part) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    mode = "RGBA" if part.has_transparency_data else "RGB"
    profile = part.info.get("icc_profile")
    if profile and part.mode in ("RGB", "RGBA", "L", "CMYK"):
        target = ImageCms.createProfile("sRGB")
        with suppress(OSError, ImageCms.PyCMSError):  # a broken profile: the numbers as they are
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                part, source, target, outputMode=mode if part.mode == mode else "RGB"
            )
            if converted is not None:
                return converted
    return part.convert(mode)


def _data_address(part: Image.Image, *, lossless: bool) -> str:
    if part.mode == "RGBA" or (lossless and part.width * part.height <= LOSSLESS):
        return _address("image/png", _png(part))
    out = io.BytesIO()
    part.save(out, "JPEG", quality=92, subsampling=0)
    return _address("image/jpeg", out.getvalue())


def _png(part: Image.Image, **more: Any) -> bytes:
    out = io.BytesIO()
    part.info.pop("icc_profile", None)
    part.save(out, "PNG", compress_level=3, **more)
    return out.getvalue()


def _address(content_type: str, content: bytes) -> str:
    return f"data:{content_type};base64,{b64encode(content).decode()}"


def whole_pixels(region: Rect, frame: Frame) -> Rect | None:
    """The region grown to whole pixels, inside the image; None when nothing of it is."""
    inside = clamp(region, frame)
    if inside is None or not (inside.width and inside.height):
        return None
    left, top = math.floor(inside.x_min), math.floor(inside.y_min)
    return Rect(left, top, math.ceil(inside.x_max), math.ceil(inside.y_max))
