"""What is drawn of an analysis in a window, and how: decided from its snapshot, before any row is read.

A browser draws two thousand elements without a thought, and twenty thousand shapes when they are put together in paths;
beyond that it gets pictures. What is in view decides, so that zooming in ends with elements again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from app.geometry import Frame, Rect, clamp
from app.overlay.filters import Filter
from app.overlay.snapshot import BOX, HEATMAP, NOWHERE, PNG, RLE, Indexes, Mask, Snapshot
from app.overlay.window import Window

Tier: TypeAlias = Literal["elements", "paths", "tiles"]
ELEMENTS = 2_000
"""Shapes that are elements of their own, of all analyses of a page together; each takes up to six of SVG."""
GROUPED = 20_000
"""Shapes that are put together in paths."""
PATHS = 600
"""Into so many paths at most."""
PICTURES = 50
"""Heatmaps and masks with pictures of their own: each is fetched for itself."""

OUT_OF_VIEW = "outside the view"
OUTSIDE = "outside the image"
SHAPELESS = "without a shape"
BEYOND = f"beyond the first {PICTURES} pictures"


@dataclass(frozen=True, eq=False)
class Plan:
    """`shown` passes the filter. `vector` are the shapes to draw in this window, `pictures` what is laid over it, each
    with a picture of its own, `masks` the run-length masks that are seen. `hidden` says what is left out by choice, and
    `undrawn` what cannot be drawn: reason → how many."""

    shown: Mask
    tier: Tier
    vector: Indexes
    pictures: Indexes
    masks: Indexes
    received: int
    hidden: Mapping[str, int]
    undrawn: Mapping[str, int]
    most_paths: int = PATHS

    @property
    def drawn(self) -> int:
        return len(self.vector) + self.in_bitmaps

    @property
    def in_bitmaps(self) -> int:
        return len(self.pictures) + len(self.masks)


def tier_of(count: int) -> Tier:
    return "elements" if count <= ELEMENTS else "paths" if count <= GROUPED else "tiles"


def plan(snapshot: Snapshot, chosen: Filter, window: Window, frame: Frame, layers: int = 1) -> Plan:
    """Received are the drawn, the hidden and the undrawn, each once. So many `layers` share what a page may hold."""
    shown, hidden = snapshot.passing(chosen)
    nowhere = shown & (snapshot.x_min == np.float32(NOWHERE))
    shapes = shown & snapshot.is_vector & ~nowhere
    runs = shown & (snapshot.kinds == RLE) & ~nowhere
    placed = (shapes | runs) & snapshot.inside(frame)
    seen = clamp(window.rect, frame) or Rect(0, 0, 0, 0)
    in_view = placed & snapshot.meeting(seen) if seen != Rect(0, 0, *frame) else placed
    vector = np.flatnonzero(in_view & snapshot.is_vector)
    pictures = np.flatnonzero(shown & ((snapshot.kinds == PNG) | (snapshot.kinds == HEATMAP)))
    undrawn = {
        OUTSIDE: _count((shapes | runs) & ~placed),
        SHAPELESS: _count(shown & (snapshot.kinds > HEATMAP)) + _count(nowhere & (snapshot.kinds <= RLE)),
        BEYOND: max(0, len(pictures) - PICTURES),
    }
    return Plan(
        shown=shown,
        tier=tier_of(len(vector) * layers),
        vector=vector,
        pictures=pictures[:PICTURES],
        masks=np.flatnonzero(in_view & (snapshot.kinds == RLE)),
        received=len(snapshot),
        hidden=_real({**hidden, OUT_OF_VIEW: _count(placed & ~in_view)}),
        undrawn=_real(undrawn),
        most_paths=PATHS // layers,
    )


def rows_needed(snapshot: Snapshot, wanted: Plan) -> Indexes:
    """Which of them cannot be drawn from the snapshot alone: of shapes, only boxes are their bounds."""
    if wanted.tier == "tiles":
        return wanted.pictures
    shapes = wanted.vector[snapshot.kinds[wanted.vector] != BOX]
    return np.union1d(shapes, wanted.pictures)


def boxes_apart(snapshot: Snapshot, wanted: Plan) -> Indexes:
    """The boxes that are elements of their own, which carry an id."""
    if wanted.tier != "elements":
        return np.empty(0, dtype=np.int64)
    return np.asarray(wanted.vector[snapshot.kinds[wanted.vector] == BOX])


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


def _real(counts: Mapping[str, int]) -> dict[str, int]:
    return {reason: number for reason, number in counts.items() if number}
