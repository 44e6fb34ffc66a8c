"""Pictures made from what is stored: previews of images, layers to lay over them. Each is made once and kept.

They stand under `renders/` in the storage, named after what they were made from, so that a change makes a new one.
Call these outside any transaction: making one may take a second.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.bitmaps import colour_mask, mask_layer, recolour
from app.errors import NotFound
from app.geometry import Frame
from app.imaging import make_preview
from app.overlay import PALETTE, masks_of
from app.overlay.parts import StoredBitmap
from app.storage import Storage

PREVIEW_SIDE = 640
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
    """The key of a heatmap or mask, coloured. Raises NotFound when the pipeline has not uploaded it."""
    source = storage.stat(bitmap.storage_path)
    if source is None:
        raise NotFound("The pipeline has not uploaded this layer.")
    key = f"renders/analyses/{analysis_id}/{bitmap.annotation_id}-{source.etag[:32]}.png"
    if storage.stat(key) is None:
        with storage.open(bitmap.storage_path) as stream:
            storage.put(key, _coloured(bitmap, stream.read()), PNG)
    return key


def _coloured(bitmap: StoredBitmap, png: bytes) -> bytes:
    if bitmap.kind == "heatmap":
        return recolour(png, bitmap.color_map)
    return colour_mask(png, bitmap.index, PALETTE)


def masks(analysis_id: UUID, revision: int, said: Sequence[Any], frame: Frame, storage: Storage) -> str:
    """The key of all run-length masks of an analysis in one picture; `said` are its annotations."""
    key = f"renders/analyses/{analysis_id}/masks-{revision}.png"
    if storage.stat(key) is None:
        storage.put(key, mask_layer(masks_of(said, frame), frame, PALETTE), PNG)
    return key
