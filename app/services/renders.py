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
from typing import Any
from uuid import UUID

from app.bitmaps import color_map_named, colour_mask, mask_layer, recolour
from app.errors import InvalidPayload, NotFound
from app.geometry import Frame
from app.imaging import DECODING, make_preview
from app.overlay import PALETTE, masks_of
from app.overlay.parts import StoredBitmap
from app.storage import Storage

PREVIEW_SIDE = 640
LARGEST_ARTIFACT = 64 * 1024 * 1024
KEPT = 2
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


def _coloured(bitmap: StoredBitmap, storage: Storage) -> bytes:
    with storage.open(bitmap.storage_path) as stream:
        if stream.info.size > LARGEST_ARTIFACT:
            raise InvalidPayload(f"The artifact is larger than {LARGEST_ARTIFACT} bytes and is not drawn.")
        png = stream.read()
    if bitmap.kind == "heatmap":
        return recolour(png, bitmap.color_map)
    return colour_mask(png, bitmap.index, PALETTE)


def masks(analysis_id: UUID, revision: int, said: Sequence[Any], frame: Frame, storage: Storage) -> str:
    """The key of all run-length masks of an analysis in one picture; `said` are its annotations."""
    place = f"renders/analyses/{analysis_id}/masks"
    return _newest(place, str(revision), lambda: mask_layer(masks_of(said, frame), frame, PALETTE), storage)


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
