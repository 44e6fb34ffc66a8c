"""One entry of a COCO file: a thing as its mask, or else its box, and its keypoints beside it.

What Loupe itself exported says of which type it was, and becomes that again as far as COCO kept it (docs/exports.md).
"""

from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any

from app.annotations.keypoint import MAX_LINES
from app.importers import loupe
from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Refused,
    Target,
    Told,
    class_of,
    extra,
    not_this_format,
    thing,
    third_of_keypoints,
)
from app.importers.reading import Unfit, kept, numbers, one, without

OWN = frozenset({"image_id", "category_id", "bbox", "segmentation", "keypoints", "score"})
COLUMNS = ("client_id", "ordering", "storage_path", "created_at", "analysis_id")
EXPORTED = OWN | {
    *COLUMNS,
    *("id", "loupe_id", "annotation_type", "extra", "iscrowd", "area", "sent_bbox", "sent_area"),
    *("num_keypoints", "keypoint_scores"),
}
"""The keys of an entry that Loupe wrote."""


def text_of(number: Any) -> str:
    """An id as text; 7 and 7.0 are the same one."""
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


def by_id(categories: Any) -> dict[str, Json]:
    """The categories, whose skeletons count from 0: all annotations of one share it.

    Raises InvalidPayload where two that are not the same have one id.
    """
    found: dict[str, Json] = {}
    for index, entry in enumerate(categories if isinstance(categories, list) else ()):
        if isinstance(entry, dict) and "id" in entry:
            category = entry | {"skeleton": _from_zero(entry.get("skeleton"))}
            if found.setdefault(number := text_of(entry["id"]), category) != category:
                not_this_format(f"The id {number:.40} is that of several categories.", f"categories.{index}")
    return found


def _from_zero(lines: Any) -> Any:
    """Lines whose ends are counted from 1 in the file; as they are where there are too many, which is refused later."""
    if not isinstance(lines, list) or len(lines) > MAX_LINES:
        return lines
    return [
        [end - 1 if isinstance(end, int) else end for end in line] if isinstance(line, list) else line
        for line in lines
    ]


def read_entry(
    place: str, entry: Json, frame: Json, categories: Mapping[str, Json], target: Target, third: str | None
) -> Found:
    number = entry.get("category_id")
    category = categories.get(text_of(number), {})
    names = target.names if category.get("name") is None else {text_of(number): category["name"]}
    class_name, told = class_of(place, None if number is None else text_of(number), names)
    yield from told
    if analysis_of(entry) is not None:
        class_name = category.get("loupe_class", class_name)
        yield from one(
            place, entry, lambda place, entry: _exported(place, entry, class_name, frame, category, target)
        )
        return
    about = {"class_name": class_name, "confidence": entry.get("score")}
    if entry.get("iscrowd") not in (None, 0, False):
        yield Told(place, "is a crowd: `iscrowd` is kept in `data.extra`")
    mask, flat = entry.get("segmentation"), entry.get("keypoints")
    keypoints = None
    if flat:
        if not isinstance(flat, list) or len(flat) % 3:
            yield Refused(place, "keypoints", "must be a list of x, y and a third number each")
            return
        if any(flat[2::3]):
            keypoints = _keypoints(flat, category, third) | frame | extra(entry, OWN)
        else:
            yield LeftOut(place, "has keypoints of which none is labelled")
    if isinstance(mask, list) and mask:
        polygons = {"format": "polygon", "polygons": mask}
        kept = extra(entry, OWN - {"bbox"})
        yield from thing(place, about, ("segmentation", polygons | frame | kept), keypoints)
    elif isinstance(mask, dict):
        yield from thing(place, about, ("segmentation", _run_lengths(mask, entry)), keypoints)
    elif mask not in (None, []):
        yield Refused(place, "segmentation", "must be polygons, or an object with counts and size")
    elif entry.get("bbox"):
        box = {"bbox": entry["bbox"], "format": "xywh"} | frame | extra(entry, OWN)
        yield from thing(place, about, ("bounding_box", box), keypoints)
    elif keypoints:
        yield from thing(place, about, None, keypoints)
    else:
        yield Refused(place, "", "has neither bbox nor segmentation nor keypoints that are labelled")


def _run_lengths(mask: Json, entry: Json) -> Json:
    """`bbox` and `area` have a place of their own there."""
    beside = {name: entry[name] for name in ("bbox", "area") if entry.get(name) is not None}
    kept = extra({**mask, **entry}, OWN | {"counts", "size", "area"})
    return {"format": "rle", "counts": mask.get("counts"), "size": mask.get("size"), **beside, **kept}


def _keypoints(flat: list[Any], category: Json, third: str | None) -> Json:
    """With the category's names and lines."""
    names = category.get("keypoints")
    third = third or third_of_keypoints(flat[2::3])
    points = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    named = zip_longest(points, names[: len(flat) // 3] if isinstance(names, list) else [])
    data: Json = {
        "keypoints": [
            {**({"name": name} if name is not None else {}), "x": x, "y": y, third: value}
            for (x, y, value), name in named
        ]
    }
    lines = category.get("skeleton")
    if isinstance(lines, list) and lines:
        data["skeleton"] = lines
    return data


# --- what Loupe exported -----------------------------------------------------------------------------------------


def analysis_of(entry: Json) -> str | None:
    """Of which analysis Loupe exported it; None for an entry of anything else."""
    is_own = isinstance(entry.get("loupe_id"), str) and entry.get("annotation_type") in (
        "bounding_box",
        *SHAPES,
    )
    return str(entry.get("analysis_id")) if is_own else None


def _exported(place: str, entry: Json, class_name: Any, frame: Json, category: Json, target: Target) -> Found:
    """The annotation that it was. The box beside a mask or keypoints was made of these, and so were the areas."""
    kind = entry["annotation_type"]
    data = SHAPES[kind](entry, category) if kind in SHAPES else None
    if data is None:
        if kind != "bounding_box":
            yield Told(place, f"was a {kind} whose shape the export lacks: its box is taken")
        x, y, width, height = numbers(entry.get("bbox"), 4, "bbox")
        kind, data = "bounding_box", {"x_min": x, "y_min": y, "x_max": x + width, "y_max": y + height}
    elif kind == "polygon" and "counts" in data:
        yield Told(place, "was a polygon, of which the export has the pixels: it is a segmentation")
        kind = "segmentation"
    data |= {} if "counts" in data else frame
    before = entry["extra"] if isinstance(entry.get("extra"), dict) else {}
    item = {name: entry[name] for name in COLUMNS if name in entry} | {
        "id": entry["loupe_id"],
        "annotation_type": kind,
        "class_name": class_name,
        "confidence": entry.get("score"),
        "data": data | kept(before, entry=without(entry, EXPORTED)),
    }
    yield from loupe.annotation(place, item, target)


def _mask(entry: Json, _: Json) -> Json | None:
    mask = entry.get("segmentation")
    if isinstance(mask, dict):
        sent = {name: entry[f"sent_{name}"] for name in ("bbox", "area") if f"sent_{name}" in entry}
        return {"format": "rle", "counts": mask.get("counts"), "size": mask.get("size"), **sent}
    return {"format": "polygon", "polygons": mask} if mask else None


def _outline(entry: Json, category: Json) -> Json | None:
    data = _mask(entry, category)
    if data is None or "counts" in data:
        return data
    rings = data["polygons"]
    if not isinstance(rings, list) or len(rings) != 1 or not isinstance(rings[0], list) or len(rings[0]) % 2:
        raise Unfit("segmentation", "must be one outline, as that of a polygon")
    return {"points": [[x, y] for x, y in zip(rings[0][::2], rings[0][1::2], strict=True)]}


def _points(entry: Json, category: Json) -> Json:
    flat, scores = entry.get("keypoints"), entry.get("keypoint_scores")
    if not isinstance(flat, list) or len(flat) % 3:
        raise Unfit("keypoints", "must be a list of x, y and a third number each")
    data = _keypoints(flat, category, "visible")
    if scores is not None and (not isinstance(scores, list) or 3 * len(scores) != len(flat)):
        raise Unfit("keypoint_scores", "must be as many as the keypoints")
    for point, score in zip(data["keypoints"], scores or (), strict=False):
        point |= {} if score is None else {"confidence": score}
    return data


SHAPES: dict[str, Callable[[Json, Json], Json | None]] = {
    "segmentation": _mask,
    "polygon": _outline,
    "keypoint": _points,
}
