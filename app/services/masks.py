"""Masks: the run-length ones of an analysis, and the pixels of one that is a PNG in the storage."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row

from app.bitmaps import mask_of
from app.errors import NotFound
from app.extensions import db
from app.geometry import Raster, Rect, runs_of
from app.imaging import DECODING
from app.kept import Kept
from app.models import Analysis, Annotation
from app.services.renders import artifact
from app.storage import Storage

KEPT_BYTES = 8 * 1024 * 1024
OVERHEAD = 1_000
"""Bytes that one takes beyond its run lengths: 400 with a short path, up to 980 with the longest there may be."""


def _size(raster: Raster) -> int:
    return OVERHEAD + (0 if raster.runs is None else raster.runs.nbytes)


_kept: Kept[Raster] = Kept(KEPT_BYTES, _size)


def of_analysis(analysis: Analysis, part: Rect | None = None) -> Sequence[Row[Any]]:
    """Segmentations in the order of insertion; only what its bounds let meet the part, where one is given."""
    statement = select(
        Annotation.annotation_type,
        Annotation.class_name,
        Annotation.confidence,
        Annotation.data,
        Annotation.position,
    ).where(Annotation.analysis_id == analysis.id, Annotation.annotation_type == "segmentation")
    if part is not None:
        statement = statement.where(
            Annotation.x_min < part.x_max,
            Annotation.x_max > part.x_min,
            Annotation.y_min < part.y_max,
            Annotation.y_max > part.y_min,
        )
    return db.session.execute(statement.order_by(Annotation.position)).all()


def stored(storage_path: str, storage: Storage) -> Raster:
    """The pixels of a segmentation PNG, as run lengths. Call it outside any transaction.

    Raises NotFound when the pipeline has not uploaded it, InvalidPayload when it is no PNG that can be drawn.
    """
    source = storage.stat(storage_path)
    if source is None:
        raise NotFound("The pipeline has not uploaded this mask.")

    def make() -> Raster:
        with DECODING:
            bits = mask_of(artifact(storage_path, storage))
        return Raster(bits.shape[1], bits.shape[0], runs_of(bits))

    return _kept.get(f"{storage_path} {source.etag}", make)
