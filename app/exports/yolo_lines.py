"""One annotation as a line of a YOLO label file (docs.ultralytics.com/datasets: detect, segment and pose).

    detect    class x y width height
    segment   class x y x y …
    pose      class x y width height  x y v  x y v …

Everything is a share of the image's size, written as Ultralytics writes it, to six digits; x and y of a box are its
middle. With scores one stands at the end of each line, as its `save_txt(save_conf=True)` has it, and the `v` of a
keypoint is how sure the model is of it instead of whether it is seen.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from app.annotations import TYPES
from app.geometry import (
    Frame,
    Point,
    Polygon,
    Raster,
    Rect,
    bounds,
    clamp,
    cut,
    filled,
    has_exact_outlines,
    joined,
    outlines,
    raster_area,
)

Drop: TypeAlias = Callable[[str], None]

DETECT, SEGMENT = "detect", "segment"


def line_of(row: Any, frame: Frame, drop: Drop, *, scores: bool) -> tuple[str, str] | None:
    """The dataset it belongs to and its line without the class; None when there is no place for it."""
    kind, shapes = row.annotation_type, TYPES[row.annotation_type].shapes(row.data, frame)
    if kind == "keypoint":
        found = _pose(row.data["keypoints"], frame, drop, scores=scores)
        if found and row.data.get("skeleton"):
            drop("skeleton")
    elif not shapes:
        drop(kind)
        return None
    elif isinstance(shapes[0], Raster) and shapes[0].runs is None:
        drop(kind if kind == "heatmap" else "png_mask")
        return None
    elif isinstance(shapes[0], Rect):
        found = _detect(shapes[0], frame, drop)
    else:
        found = _segment(shapes, frame, drop)
    if found is None:
        return None
    dataset, numbers = found
    if scores and row.confidence is None:
        drop("no_score")
    if not scores and row.confidence is not None:
        drop("score")
    if "extra" in row.data:
        drop("extra")
    score = (1.0 if row.confidence is None else row.confidence,) if scores else ()
    return dataset, " ".join(f"{number:g}" for number in (*numbers, *score))


def _detect(box: Rect, frame: Frame, drop: Drop) -> tuple[str, list[float]] | None:
    inside = _inside(box, frame, drop)
    return (DETECT, _shares_of_box(inside, frame)) if inside else None


def _segment(shapes: Sequence[Any], frame: Frame, drop: Drop) -> tuple[str, list[float]] | None:
    if isinstance(shapes[0], Raster):
        rings: Sequence[Sequence[Point]] = outlines(shapes[0], frame)
        if not rings:
            drop("empty_mask")
            return None
        if not has_exact_outlines(shapes[0]):
            drop("coarse")
    else:
        whole = _rings(shapes, frame)
        rings = [ring for ring in (cut(ring, frame) for ring in whole) if ring]
        if not rings:
            drop("outside")
            return None
        if any(not _holds(ring, frame) for ring in whole):
            drop("cut")
    return SEGMENT, _shares(joined(rings), frame)


def _rings(polygons: Sequence[Polygon], frame: Frame) -> Sequence[Sequence[Point]]:
    """The rings that are the polygons when filled even-odd; parts that overlap are made one, on the pixels."""
    if len(polygons) > 1:
        together, *alone = (filled(some, frame) for some in (polygons, *([one] for one in polygons)))
        areas = [raster_area(one) for one in alone if one]
        if together and len(areas) == len(polygons) and raster_area(together) < sum(areas):
            return outlines(together, frame)
    return [ring for polygon in polygons for ring in (polygon.points, *polygon.holes)]


def _pose(
    points: Sequence[dict[str, Any]], frame: Frame, drop: Drop, *, scores: bool
) -> tuple[str, list[float]] | None:
    """A dataset for each number of keypoints: Ultralytics wants the same in all lines of one."""
    box = bounds((point["x"], point["y"]) for point in points if point.get("visible", True))
    if box is None:
        drop("unseen")
        return None
    inside = _inside(box, frame, drop, may_be_flat=True)
    if inside is None:
        return None
    numbers = _shares_of_box(inside, frame)
    for point in points:
        x, y = (min(max(point[axis], 0), side) for axis, side in zip("xy", frame, strict=True))
        numbers += [*_shares([(x, y)], frame), _third(point, scores=scores)]
    for what, lost in _lost_of_keypoints(points, scores=scores):
        if lost:
            drop(what)
    return f"pose{len(points)}", numbers


def _third(point: dict[str, Any], *, scores: bool) -> float:
    visible = point.get("visible", True)
    if scores:
        return float(point.get("confidence", bool(visible)))
    return 2 if visible is True else int(visible)


def _lost_of_keypoints(points: Sequence[dict[str, Any]], *, scores: bool) -> Iterable[tuple[str, bool]]:
    yield "keypoint_extra", any("extra" in point for point in points)
    if scores:
        yield "keypoint_visible", any("visible" in point for point in points)
        yield "no_keypoint_score", any("confidence" not in point for point in points)
    else:
        yield "keypoint_score", any("confidence" in point for point in points)


def _inside(box: Rect, frame: Frame, drop: Drop, *, may_be_flat: bool = False) -> Rect | None:
    """The part of the box in the image: numbers beyond 1 make Ultralytics leave out the whole file."""
    inside = clamp(box, frame)
    if inside is None or not (may_be_flat or (inside.width > 0 and inside.height > 0)):
        drop("outside")
        return None
    if inside != box:
        drop("cut")
    return inside


def _holds(ring: Sequence[Point], frame: Frame) -> bool:
    return all(0 <= x <= frame.width and 0 <= y <= frame.height for x, y in ring)


def _shares_of_box(box: Rect, frame: Frame) -> list[float]:
    middle = ((box.x_min + box.x_max) / 2, (box.y_min + box.y_max) / 2)
    return _shares([middle, (box.width, box.height)], frame)


def _shares(points: Sequence[Point], frame: Frame) -> list[float]:
    return [value for x, y in points for value in (x / frame.width, y / frame.height)]
