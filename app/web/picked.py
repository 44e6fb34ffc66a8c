"""The one annotation that somebody points at: what is known of it, its outline, where it stands in the table."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np

from app import overlay, storage
from app.annotations import TYPES
from app.errors import InvalidPayload, NotFound, StorageUnavailable
from app.geometry import Points, Polygon, Raster, Rect, Shape, contains, outlines
from app.overlay.masks import outline_path
from app.overlay.paths import pen_for
from app.services import annotations, masks
from app.web.drawing import Subject
from app.web.release import release

MOST_TRIED = 60  # what lies under a point, the smallest first
SLACK = 6.0  # CSS pixels beside a line that still count as on it


@dataclass(frozen=True)
class Picked:
    """`d` is the outline, in pixels of the image, empty when it has no place in it, and then there are no `bounds`.

    `page` of the table holds its row, None when it is filtered out.
    """

    row: Any
    d: str
    bounds: Rect | None
    page: int | None

    @property
    def title(self) -> str:
        return overlay.title_of(self.row)


def picked(subject: Subject, annotation_id: UUID, sort: str, page_size: int) -> Picked | None:
    """An annotation by its id; None when this analysis has no such one."""
    row = annotations.by_id(subject.analysis.id, annotation_id)
    if row is None:
        return None
    bounds = None if row.x_min is None else Rect(row.x_min, row.y_min, row.x_max, row.y_max)
    d = _outline(subject, row, bounds) if bounds else ""
    return Picked(row, d, bounds, _page(subject, row, sort, page_size))


def under(subject: Subject, x: float, y: float, previous: UUID | None) -> UUID | None:
    """What is at a point of the image: the smallest, or of several the one after `previous`. None when nothing is."""
    found: list[UUID] = [row.id for row in hits(subject, x, y)]
    if not found:
        return None
    return found[(found.index(previous) + 1) % len(found)] if previous in found else found[0]


def hits(subject: Subject, x: float, y: float) -> list[Any]:
    """The annotations at a point of the image, the smallest first."""
    snapshot, slack = subject.snapshot, SLACK / subject.window.zoom
    near = snapshot.at(x, y, slack, subject.plan.shown, MOST_TRIED)
    positions = snapshot.positions[near].tolist()
    rows = {row.position: row for row in annotations.at(subject.analysis.id, sorted(positions))}
    return [
        rows[position]
        for position in positions
        if position in rows and _is_hit(subject, rows[position], x, y, slack)
    ]


def _is_hit(subject: Subject, row: Any, x: float, y: float, slack: float) -> bool:
    return any(contains(shape, x, y, slack, subject.frame) for shape in _shapes(subject, row))


def _page(subject: Subject, row: Any, sort: str, page_size: int) -> int | None:
    index = subject.snapshot.place_of(row.position)
    if index is None or not subject.plan.shown[index]:
        return None
    order = subject.snapshot.ordered(np.flatnonzero(subject.plan.shown), sort)
    return int(np.flatnonzero(order == index)[0]) // page_size + 1


def _outline(subject: Subject, row: Any, bounds: Rect) -> str:
    """What is drawn around it: its own border; of keypoints and heatmaps their bounds."""
    pen = pen_for(subject.window.zoom)
    shapes = _shapes(subject, row)
    borders = [shape for shape in shapes if isinstance(shape, Rect | Polygon)]
    rasters = [shape for shape in shapes if isinstance(shape, Raster) and shape.runs is not None]
    if rasters:
        return "".join(outline_path(outlines(raster, subject.frame)) for raster in rasters)
    if borders and not any(isinstance(shape, Points) for shape in shapes):
        return "".join(pen.shape(shape) for shape in borders)
    return pen.shape(bounds)


def _shapes(subject: Subject, row: Any) -> Sequence[Shape]:
    """Those of an annotation. Of a mask in the storage its pixels: none where it is not there or cannot be drawn."""
    if row.annotation_type != "segmentation" or row.data["format"] != "png":
        return TYPES[row.annotation_type].shapes(row.data, subject.frame)
    release()  # nothing is held while the storage is read
    with suppress(NotFound, InvalidPayload, StorageUnavailable):
        return [masks.stored(row.storage_path, storage.current())]
    return []
