"""Annotations turned into coloured, labelled layers in the viewBox of the upright image.

Numbers only: the angle brackets are in `templates/overlay/*.svg`. Every coordinate is in pixels of the
upright image, rounded to 0.1 (whole numbers are `int`, so that they print without `.0`). The SVG has
`viewBox="{{ layer.view_box }}"`; a palette index `k` is drawn with the CSS class `k0` … `k9`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.annotations import TYPES
from app.geometry import Frame, Points, Polygon, Raster, Rect, clamp, shape_bounds, union
from app.overlay.labels import Wanted, font_size, place_labels
from app.overlay.parts import (
    PALETTE,
    AnnotationLike,
    ClassPath,
    Item,
    Label,
    Layers,
    StoredBitmap,
    VectorLayer,
    class_index,
)
from app.overlay.paths import lines_path, number, polygon_path, shape_path

__all__ = [
    "PALETTE",
    "AnnotationLike",
    "ClassPath",
    "Item",
    "Label",
    "Layers",
    "StoredBitmap",
    "VectorLayer",
    "class_index",
    "font_size",
    "layers_of",
    "masks_of",
    "title_of",
    "vector_layer",
]

TILE = 500


def vector_layer(annotations: Iterable[AnnotationLike], frame: Frame, budget: int = 2000) -> VectorLayer:
    """The SVG layer of these annotations over an image of this frame.

    Boxes are cut to the image; polygons lose points that matter less than half a pixel. Above `budget`
    annotations there is one path per class and tile instead of an element each, because a browser slows down.
    """
    undrawn: Counter[str] = Counter()
    drawings = []
    received = 0
    for annotation in annotations:
        received += 1
        drawing = _drawing(annotation, frame)
        if isinstance(drawing, str):
            undrawn[drawing] += 1
        else:
            drawings.append(drawing)
    size = font_size(frame)
    grouped = len(drawings) > budget
    return VectorLayer(
        width=frame.width,
        height=frame.height,
        items=() if grouped else tuple(_item(drawing) for drawing in drawings),
        paths=_class_paths(drawings) if grouped else (),
        labels=place_labels(_wanted(drawings), frame),
        font_size=size,
        dot_radius=number(size * 0.3),
        received=received,
        drawn=len(drawings),
        undrawn=dict(undrawn),
    )


def layers_of(annotations: Iterable[AnnotationLike]) -> Layers:
    """Which layers there are to draw, without drawing them."""
    vector = masks = False
    bitmaps = []
    for annotation in annotations:
        kind = _layer_kind(annotation)
        vector = vector or kind == "vector"
        masks = masks or kind == "masks"
        if kind in ("heatmap", "mask") and annotation.storage_path:
            bitmaps.append(_stored(annotation, annotation.storage_path))
    return Layers(vector, masks, tuple(bitmaps))


def masks_of(annotations: Iterable[AnnotationLike], frame: Frame) -> list[tuple[Raster, int]]:
    """The run-length masks and their palette indexes, for `bitmaps.mask_layer`."""
    return [
        (shape, class_index(annotation.class_name))
        for annotation in annotations
        if _layer_kind(annotation) == "masks"
        for shape in TYPES[annotation.annotation_type].shapes(annotation.data, frame)
        if isinstance(shape, Raster)
    ]


def title_of(annotation: AnnotationLike) -> str:
    """What a person calls it: the class and its confidence, or the type."""
    name = annotation.class_name
    if name is None:
        known = TYPES.get(annotation.annotation_type)
        name = known.title if known else annotation.annotation_type
    return name if annotation.confidence is None else f"{name} {float(annotation.confidence):.2f}"


# --- one annotation


@dataclass(frozen=True, slots=True)
class _Drawing:
    annotation: AnnotationLike
    shapes: Sequence[Rect | Polygon | Points]
    box: Rect
    index: int


def _layer_kind(annotation: AnnotationLike) -> Literal["vector", "masks", "heatmap", "mask", "none"]:
    kind = annotation.annotation_type
    if kind == "segmentation":
        return {"rle": "masks", "png": "mask"}.get(annotation.data["format"], "vector")  # type: ignore[return-value]
    if kind == "heatmap":
        return "heatmap"
    return "vector" if kind in TYPES and TYPES[kind].drawn_as == "vector" else "none"


def _stored(annotation: AnnotationLike, storage_path: str) -> StoredBitmap:
    data = annotation.data
    return StoredBitmap(
        annotation_id=str(annotation.id),
        kind="heatmap" if annotation.annotation_type == "heatmap" else "mask",
        index=class_index(annotation.class_name),
        title=title_of(annotation),
        storage_path=storage_path,
        color_map=data.get("color_map"),
        vmin=data.get("vmin"),
        vmax=data.get("vmax"),
        unit=data.get("unit"),
    )


def _drawing(annotation: AnnotationLike, frame: Frame) -> _Drawing | str:
    """The shapes to draw, or why there are none."""
    kind = _layer_kind(annotation)
    if kind == "none":
        return "nothing to draw"
    if kind != "vector":
        return "drawn as a picture"
    shapes = TYPES[annotation.annotation_type].shapes(annotation.data, frame)
    drawn: list[Rect | Polygon | Points] = []
    boxes: list[Rect] = []
    for shape in shapes:
        box = shape_bounds(shape, frame)
        inside = clamp(box, frame) if box is not None else None
        if inside is not None and not isinstance(shape, Raster):
            drawn.append(inside if isinstance(shape, Rect) else shape)
            boxes.append(inside)
    whole = union(boxes)
    if whole is None:
        return "outside the image" if shapes else "nothing to draw"
    return _Drawing(annotation, drawn, whole, class_index(annotation.class_name))


def _item(drawing: _Drawing) -> Item:
    box, first = drawing.box, drawing.shapes[0]
    x, y = number(box.x_min), number(box.y_min)
    width, height = number(box.x_max - x), number(box.y_max - y)
    known: dict[str, Any] = {
        "annotation_id": str(drawing.annotation.id),
        "index": drawing.index,
        "title": title_of(drawing.annotation),
        "x": x,
        "y": y,
        "width": width,
        "height": height,
    }
    if isinstance(first, Rect):
        return Item(kind="rect", **known)
    if isinstance(first, Points):
        dots = tuple((number(x), number(y)) for x, y in first.points)
        lines = lines_path(first)
        return Item(kind="points", dots=dots, paths=(lines,) if lines else (), **known)
    paths = tuple(polygon_path(shape) for shape in drawing.shapes if isinstance(shape, Polygon))
    return Item(kind="polygon", paths=paths, **known)


def _class_paths(drawings: Sequence[_Drawing]) -> tuple[ClassPath, ...]:
    """One path per class, kind and tile of the middle of the bounds; a browser can leave out a tile."""
    groups: dict[tuple[str | None, Literal["area", "line"], int, int], list[_Drawing]] = {}
    for drawing in drawings:
        box = drawing.box
        column, row = int((box.x_min + box.x_max) / 2 // TILE), int((box.y_min + box.y_max) / 2 // TILE)
        kind: Literal["area", "line"] = "line" if isinstance(drawing.shapes[0], Points) else "area"
        groups.setdefault((drawing.annotation.class_name, kind, row, column), []).append(drawing)
    return tuple(
        ClassPath(
            kind=kind,
            index=class_index(name),
            d="".join(shape_path(shape) for drawing in group for shape in drawing.shapes),
            count=len(group),
            title=f"{name or 'without a class'}: {len(group)}",
        )
        for (name, kind, _, _), group in groups.items()
    )


def _wanted(drawings: Sequence[_Drawing]) -> Iterable[Wanted]:
    """The surest and largest annotations first."""
    for one in sorted(drawings, key=_importance, reverse=True):
        yield Wanted(str(one.annotation.id), one.index, title_of(one.annotation), one.box)


def _importance(drawing: _Drawing) -> tuple[float, float]:
    confidence = drawing.annotation.confidence
    return float(confidence) if confidence is not None else 0.0, drawing.box.width * drawing.box.height
