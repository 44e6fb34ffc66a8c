"""Pictures made from what is stored: previews of images, layers to lay over them. Each is made once and kept.

They stand under `renders/` in the storage, named after what they were made from, so that a change makes a new one;
of the layers that a change leaves behind only the last is kept.
Call these outside any transaction: making one may take a second.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from app.bitmaps import (
    HEADER,
    MAX_SIDE,
    color_map_named,
    colour_mask,
    kind_of,
    mask_layer,
    palette_png,
    recolour,
    with_colours,
)
from app.errors import InvalidPayload, NotFound, StorageUnavailable
from app.geometry import Frame, Raster, Rect
from app.imaging import DECODING, make_preview
from app.overlay.colours import PALETTE
from app.overlay.masks import MASK_PALETTE
from app.overlay.parts import StoredBitmap
from app.overlay.snapshot import Mask, Snapshot
from app.overlay.tiles import paint
from app.overlay.window import Tile
from app.storage import Storage

PREVIEW_SIDE = 640
LARGEST_ARTIFACT = 64 * 1024 * 1024
KEPT = 2
MASKS_FORM = "distinct"  # another word when the same masks come to be drawn differently
OUTLINE_ALPHA = 235
WEBP, PNG = "image/webp", "image/png"


@dataclass(frozen=True)
class Original:
    """A stored image: what a preview of it is made from."""

    id: UUID
    sha256: str
    storage_path: str


def preview(original: Original, storage: Storage) -> str:
    """The key of a small WEBP of an image. Raises NotFound when the image is not in the storage."""
    key = f"renders/images/{original.id}/{original.sha256[:16]}-{PREVIEW_SIDE}.webp"
    if storage.stat(key) is None:
        with storage.open(original.storage_path) as source:
            # Pillow wants to seek, and what comes over the network cannot
            storage.put(key, make_preview(io.BytesIO(source.read()), PREVIEW_SIDE), WEBP)
    return key


def layer(analysis_id: UUID, bitmap: StoredBitmap, storage: Storage) -> str:
    """The key of a heatmap or mask, coloured.

    Raises NotFound when the pipeline has not uploaded it, InvalidPayload when it is no PNG that can be drawn.
    """
    source = storage.stat(bitmap.storage_path)
    if source is None:
        raise NotFound("The pipeline has not uploaded this layer.")
    colours = color_map_named(bitmap.color_map) if bitmap.kind == "heatmap" else (bitmap.index, PALETTE)
    made_from = hashlib.sha256(repr((source.etag, bitmap.kind, colours)).encode()).hexdigest()[:32]
    place = f"renders/analyses/{analysis_id}/{bitmap.annotation_id}"
    return _newest(place, made_from, lambda: _coloured(bitmap, storage), storage)


def etag(bitmap: StoredBitmap, storage: Storage) -> str:
    """Of what the pipeline uploaded. Raises NotFound when it has not."""
    source = storage.stat(bitmap.storage_path)
    if source is None:
        raise NotFound("The pipeline has not uploaded this layer.")
    return source.etag


def heatmap(
    analysis_id: UUID, bitmap: StoredBitmap, color_map: str, low: int, high: int, storage: Storage
) -> bytes:
    """A heatmap in a colour map over a range, which is not stored; one that has colours already is as it is.

    Of 8-bit ones only the palette of the stored layer is replaced; others are made from their values again.
    """
    with storage.open(bitmap.storage_path) as stream:
        kind = kind_of(stream.read(HEADER))
    if kind == "deep":
        with DECODING:
            return recolour(artifact(bitmap.storage_path, storage), color_map, low, high)
    with storage.open(layer(analysis_id, bitmap, storage)) as stream:
        made = stream.read()
    return with_colours(made, color_map, low, high) if kind == "grey" else made


_KINDS: dict[tuple[str, int], str] = {}
MOST_KINDS = 10_000


def remembered(bitmap: StoredBitmap, revision: int) -> bool:
    """Whether `is_coloured` knows without asking the storage."""
    return (bitmap.storage_path, revision) in _KINDS


def is_coloured(bitmap: StoredBitmap, revision: int, storage: Storage) -> bool:
    """Whether a heatmap has colours of its own, so that a colour map and a scale say nothing of it.

    Only its header is read, once for each revision of its analysis. What was not uploaded yet, or cannot be reached
    now, counts as a heatmap like any other until it is there.
    """
    key = (bitmap.storage_path, revision)
    if key not in _KINDS:
        try:
            with storage.open(bitmap.storage_path) as stream:
                kind = kind_of(stream.read(HEADER))
        except (NotFound, StorageUnavailable):
            return False
        if len(_KINDS) >= MOST_KINDS:
            _KINDS.clear()
        _KINDS[key] = kind
    return _KINDS[key] == "coloured"


def _coloured(bitmap: StoredBitmap, storage: Storage) -> bytes:
    png = artifact(bitmap.storage_path, storage)
    if bitmap.kind == "heatmap":
        return recolour(png, bitmap.color_map)
    return colour_mask(png, bitmap.index, PALETTE)


def artifact(storage_path: str, storage: Storage) -> bytes:
    """What the pipeline uploaded. Raises NotFound, and InvalidPayload when it is too large to be drawn."""
    with storage.open(storage_path) as stream:
        if stream.info.size > LARGEST_ARTIFACT:
            raise InvalidPayload(f"The artifact is larger than {LARGEST_ARTIFACT} bytes and is not drawn.")
        return stream.read()


def masks(
    analysis_id: UUID, revision: int, shown: Sequence[tuple[Raster, int]], frame: Frame, storage: Storage
) -> str:
    """The key of all run-length masks of an analysis in one picture; their indexes are in MASK_PALETTE."""
    place = f"renders/analyses/{analysis_id}/masks"
    made_from = f"{revision}-{MASKS_FORM}"
    return _newest(place, made_from, lambda: mask_layer(shown, frame, MASK_PALETTE), storage)


def mask_part(
    shown: Sequence[tuple[Raster, int]], frame: Frame, part: Rect | None = None, side: int = MAX_SIDE
) -> bytes:
    """Masks over a part of the image, or all of it, which are not stored."""
    with DECODING:
        return mask_layer(shown, frame, MASK_PALETTE, part, side)


def outlines(snapshot: Snapshot, among: Mask, tile: Tile) -> bytes:
    """The outlines of very many shapes, which are not stored."""
    colours = b"".join(bytes.fromhex(colour[1:]) for colour in PALETTE)
    alphas = bytes([0]) + bytes([OUTLINE_ALPHA] * len(PALETTE))
    return palette_png(paint(snapshot, among, tile), bytes(3) + colours, alphas)


def _newest(place: str, made_from: str, make: Callable[[], bytes], storage: Storage) -> str:
    """The key of the picture at this place that is made from this; it is made when it is not there."""
    key = f"{place}-{made_from}.png"
    if storage.stat(key) is None:
        with DECODING:
            png = make()
        storage.put(key, png, PNG)
        _delete_older(place, key, storage)
    return key


def _delete_older(place: str, newest: str, storage: Storage) -> None:
    """Leaves the newest picture of a place, and the one before: a browser may be on its way to it.

    A text beside them lists them. Two pictures made in the same moment may miss each other in it, and then
    one stays behind; that is rarer, and cheaper, than a lock would be.
    """
    listing, keys = f"{place}.txt", [newest]
    with suppress(NotFound), storage.open(listing) as stream:
        keys = [key for key in stream.read().decode().split() if key != newest] + keys
    storage.put(listing, "\n".join(keys[-KEPT:]).encode(), "text/plain")
    storage.delete(keys[:-KEPT])
