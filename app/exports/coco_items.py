"""One annotation as COCO has it, and the categories (cocodataset.org/#format-data, and #format-results)."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from app.annotations import TYPES
from app.geometry import (
    Frame,
    Polygon,
    Raster,
    Rect,
    bounds,
    filled,
    polygon_area,
    raster_area,
    raster_box,
    resized,
    shape_bounds,
    text_from_runs,
    union,
)

Drop: TypeAlias = Callable[[str], None]
Item: TypeAlias = dict[str, Any]
Schema: TypeAlias = tuple[tuple[str | None, ...], tuple[tuple[int, int], ...]]

NO_CLASS = "unlabeled"
VISIBLE = 2


class Categories:
    """Numbers from 1, in the order in which the classes come.

    The keypoints of a class are those of its first annotation that has some; where a later one has others, that is a
    category of its own, and its name has a number behind it.
    """

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._of_class: dict[str | None, dict[str, Any]] = {}
        self._of_schema: dict[tuple[str | None, Schema], dict[str, Any]] = {}
        self._names: set[str] = set()

    def of(self, class_name: str | None, schema: Schema | None = None) -> dict[str, Any]:
        if schema is None:
            return self._of_class.get(class_name) or self._new(class_name)
        if (class_name, schema) not in self._of_schema:
            found = self._of_class.get(class_name)
            row = self._new(class_name) if found is None or "keypoints" in found else found
            names, lines = schema
            row["keypoints"] = [name or f"keypoint_{n}" for n, name in enumerate(names, 1)]
            row["skeleton"] = [[a + 1, b + 1] for a, b in lines]
            self._of_schema[class_name, schema] = row
        return self._of_schema[class_name, schema]

    def _new(self, class_name: str | None) -> dict[str, Any]:
        wanted = name = class_name or NO_CLASS
        number = 1
        while name in self._names:
            number += 1
            name = f"{wanted} ({number})"
        row = {"id": len(self.rows) + 1, "name": name, "supercategory": ""}
        if name != class_name:
            row["loupe_class"] = class_name
        self._names.add(name)
        self.rows.append(row)
        self._of_class.setdefault(class_name, row)
        return row


def annotation_of(row: Any, frame: Frame, categories: Categories, drop: Drop) -> Item | None:
    """As it stands in a dataset, without `id` and `image_id`; None when there is no place for it."""
    item = _placed(row, frame, categories, drop, as_result=False)
    if item is not None:
        item["iscrowd"] = int((row.data.get("extra") or {}).get("iscrowd") == 1)
        if row.confidence is not None:
            item["score"] = row.confidence
    return item


def result_of(row: Any, frame: Frame, categories: Categories, drop: Drop) -> Item | None:
    """As it stands in a list of results: every mask as run lengths, every annotation with a score."""
    item = _placed(row, frame, categories, drop, as_result=True)
    if item is not None:
        if row.confidence is None:
            drop("no_score")
        item["score"] = 1.0 if row.confidence is None else row.confidence
    return item


def _placed(row: Any, frame: Frame, categories: Categories, drop: Drop, *, as_result: bool) -> Item | None:
    data, kind = row.data, row.annotation_type
    shapes = TYPES[kind].shapes(data, frame)
    schema = None
    if kind == "keypoint":
        schema, item = _keypoints(row, drop)
    elif not shapes:
        drop(kind)
        return None
    elif isinstance(shapes[0], Raster):
        if shapes[0].runs is None:
            drop(kind if kind == "heatmap" else "png_mask")
            return None
        item = _mask(shapes[0], data, frame, drop)
    elif isinstance(shapes[0], Polygon):
        item = _outlined([shape for shape in shapes if isinstance(shape, Polygon)], frame, drop, as_result)
    else:
        item = _boxed(shape_bounds(shapes[0], frame))
    category = categories.of(row.class_name, schema)
    named = ((key, getattr(row, key)) for key in KEPT)
    kept = {"loupe_id": row.id, **{key: value for key, value in named if value is not None}}
    extra = {"extra": data["extra"]} if "extra" in data else {}
    return {"category_id": category["id"], **item, **kept, **extra}


KEPT = ("analysis_id", "annotation_type", "client_id", "ordering", "storage_path", "created_at")


def _boxed(box: Rect | None, area: float | None = None) -> Item:
    """`[x, y, width, height]`; zeros for what covers nothing."""
    if box is None:
        return {"bbox": [0.0, 0.0, 0.0, 0.0], "area": 0.0}
    width, height = box.width, box.height
    return {"bbox": [box.x_min, box.y_min, width, height], "area": width * height if area is None else area}


def _mask(raster: Raster, data: dict[str, Any], frame: Frame, drop: Drop) -> Item:
    stretched = resized(raster, frame)
    if stretched is not raster:
        drop("mask_size")
    text = data["counts"] if stretched is raster and isinstance(data["counts"], str) else None
    sent = {f"sent_{key}": data[key] for key in ("bbox", "area") if key in data}
    return _rle(stretched, text) | sent


def _rle(raster: Raster, text: str | None = None) -> Item:
    assert raster.runs is not None
    box = raster_box(raster)
    whole = None if box is None else Rect(*map(float, box))
    size = [raster.height, raster.width]
    return {
        **_boxed(whole, raster_area(raster)),
        "segmentation": {"size": size, "counts": text if text is not None else text_from_runs(raster.runs)},
    }


def _outlined(polygons: Sequence[Polygon], frame: Frame, drop: Drop, as_result: bool) -> Item:
    """Polygons as they are, where nothing is cut out of them and the format takes them; else the pixels they cover."""
    box, holes = union(bounds(polygon.points) for polygon in polygons), any(one.holes for one in polygons)
    if as_result or holes:
        raster = filled(polygons, frame)
        if raster is not None:
            drop("outline")
            return _rle(raster) | {"bbox": _boxed(box)["bbox"]}
        drop("holes" if holes and not as_result else "mask")
    if as_result:
        return _boxed(box)
    area = sum(polygon_area(Polygon(polygon.points)) for polygon in polygons)
    rings = [[value for point in polygon.points for value in point] for polygon in polygons]
    return {**_boxed(box, area), "segmentation": rings}


def _keypoints(row: Any, drop: Drop) -> tuple[Schema, Item]:
    """`[x, y, v, …]`, with the box around those that are seen."""
    points = row.data["keypoints"]
    seen = [_visibility(point) for point in points]
    names = tuple(point.get("name") for point in points)
    if None in names:
        drop("keypoint_names")
    if any("extra" in point for point in points):
        drop("keypoint_extra")
    box = bounds((point["x"], point["y"]) for point, v in zip(points, seen, strict=True) if v)
    flat = [value for point, v in zip(points, seen, strict=True) for value in (point["x"], point["y"], v)]
    item = {**_boxed(box), "keypoints": flat, "num_keypoints": sum(v > 0 for v in seen)}
    if any("confidence" in point for point in points):
        item["keypoint_scores"] = [point.get("confidence") for point in points]
    lines = tuple((a, b) for a, b in row.data.get("skeleton", ()))
    return (names, lines), item


def _visibility(point: dict[str, Any]) -> int:
    """COCO's 0, 1 or 2; true and nothing said are 2, false is 0."""
    visible = point.get("visible", True)
    return VISIBLE if visible is True else int(visible)
