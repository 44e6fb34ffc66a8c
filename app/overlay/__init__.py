"""Annotations turned into coloured, labelled layers in the viewBox of the upright image.

Numbers only: the angle brackets are in `templates/overlay/*.svg`. Every coordinate is in pixels of the upright image,
rounded to 0.1, or to 0.01 where the image is seen larger than four times (whole numbers are `int`, so that they print
without `.0`). A palette index `k` is drawn with the CSS class `k0` … `k9`.

`plan` decides what is drawn of an analysis and how, `draw` draws it, `labels` writes on it.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from app.annotations import TYPES
from app.geometry import Frame, Rect, clamp
from app.overlay.colours import PALETTE, Colours
from app.overlay.labels import FONT_SIZE, Wanted, place_labels
from app.overlay.parts import (
    AnnotationLike,
    ClassPath,
    Item,
    Label,
    Run,
    StoredBitmap,
    VectorLayer,
    name_and_confidence,
    title_of,
)
from app.overlay.paths import pen_for
from app.overlay.plan import Plan, boxes_apart, plan, rows_needed
from app.overlay.shapes import box_paths, boxes_of, class_paths, items_at, runs, shapes_of
from app.overlay.snapshot import BOX, KINDS, RLE, UNSURE, Indexes, Snapshot
from app.overlay.tiles import tiles_in
from app.overlay.window import Window

__all__ = [
    "PALETTE",
    "AnnotationLike",
    "ClassPath",
    "Colours",
    "Item",
    "Label",
    "Plan",
    "Snapshot",
    "StoredBitmap",
    "VectorLayer",
    "Window",
    "bitmaps_of",
    "boxes_apart",
    "draw",
    "font_size",
    "labels",
    "plan",
    "rows_needed",
    "shapes_of",
    "title_of",
]

MOST_LABELLED = 1_200  # are tried, the surest and largest first
STROKE = 1.3  # CSS pixels
NONE = np.empty(0, dtype=np.int64)
_TITLES = [TYPES[kind].title if kind in TYPES else TYPES["segmentation"].title for kind in KINDS]


def draw(
    snapshot: Snapshot,
    wanted: Plan,
    rows: Iterable[AnnotationLike],
    window: Window,
    frame: Frame,
    named: tuple[Indexes, Sequence[str]] | None = None,
) -> VectorLayer:
    """The SVG of a plan; `rows` are those that `rows_needed` asked for. Where elements have ids, `named` are those of
    `boxes_apart` that are there still, with theirs."""
    pen = pen_for(window.zoom)
    shapes = [row for row in rows if _layer_kind(row) == "vector"]
    drawn: Sequence[Run] = ()
    paths: Sequence[ClassPath] = ()
    if wanted.tier == "elements":
        boxes, ids = named or _nameless(boxes_apart(snapshot, wanted))
        made = boxes_of(snapshot, boxes, ids, frame, pen)
        drawn = runs(made, snapshot.positions[boxes], items_at(shapes, frame, pen, snapshot.colours))
    elif wanted.tier == "paths":
        boxes = wanted.vector[snapshot.kinds[wanted.vector] == BOX]
        # at most half of the paths for each, as they are put together apart
        most = wanted.most_paths // 2
        paths = (
            *box_paths(snapshot, boxes, frame, pen, most),
            *class_paths(shapes, frame, pen, snapshot.colours, most),
        )
    return VectorLayer(
        runs=tuple(drawn),
        paths=tuple(paths),
        tiles=tiles_in(window, frame) if wanted.tier == "tiles" else (),
        stroke=round(STROKE / window.zoom, 3),
    )


def _nameless(boxes: Indexes) -> tuple[Indexes, Sequence[str]]:
    return boxes, [""] * len(boxes)


def font_size(window: Window) -> float:
    """The height of label text in pixels of the image: the same on the screen at every zoom."""
    return round(FONT_SIZE / window.zoom, 2)


def labels(
    snapshot: Snapshot,
    wanted: Plan,
    window: Window,
    frame: Frame,
    *,
    boxes: bool = True,
    bitmaps: bool = True,
) -> tuple[Label, ...]:
    """The names of shapes, and then those of masks, the surest and largest first; as many as there is room for.

    Without `boxes` none of shapes, without `bitmaps` none of masks.
    """
    seen = clamp(window.rect, frame)
    if seen is None:
        return ()
    named = (wanted.vector if boxes else NONE, wanted.masks if bitmaps else NONE)
    chosen = np.concatenate([snapshot.by_importance(some, MOST_LABELLED) for some in named])
    return place_labels((_wanted(snapshot, one, frame) for one in chosen.tolist()), seen, font_size(window))


def _wanted(snapshot: Snapshot, one: int, frame: Frame) -> Wanted:
    name, sure = snapshot.names[snapshot.classes[one]], float(snapshot.confidence[one])
    title = _TITLES[int(snapshot.kinds[one])]
    text = name_and_confidence(title if name is None else name, None if sure == UNSURE else sure)
    bounds = Rect(
        *(float(side[one]) for side in (snapshot.x_min, snapshot.y_min, snapshot.x_max, snapshot.y_max))
    )
    return Wanted(
        snapshot.colours[name], text, clamp(bounds, frame) or bounds, int(snapshot.kinds[one]) == RLE
    )


def bitmaps_of(annotations: Iterable[AnnotationLike], colours: Colours) -> tuple[StoredBitmap, ...]:
    """Those that have a picture of their own in the storage."""
    return tuple(
        _stored(annotation, annotation.storage_path, colours[annotation.class_name])
        for annotation in annotations
        if annotation.storage_path and _layer_kind(annotation) in ("heatmap", "mask")
    )


def _layer_kind(annotation: AnnotationLike) -> Literal["vector", "masks", "heatmap", "mask", "none"]:
    kind = annotation.annotation_type
    if kind == KINDS[BOX]:
        return "vector"
    if kind == "segmentation":
        return {"rle": "masks", "png": "mask"}.get(annotation.data["format"], "vector")  # type: ignore[return-value]
    if kind == "heatmap":
        return "heatmap"
    return "vector" if kind in TYPES and TYPES[kind].drawn_as == "vector" else "none"


def _stored(annotation: AnnotationLike, storage_path: str, index: int) -> StoredBitmap:
    data = annotation.data
    return StoredBitmap(
        annotation_id=str(annotation.id),
        kind="heatmap" if annotation.annotation_type == "heatmap" else "mask",
        index=index,
        title=title_of(annotation),
        storage_path=storage_path,
        color_map=data.get("color_map"),
        vmin=data.get("vmin"),
        vmax=data.get("vmax"),
        unit=data.get("unit"),
    )
