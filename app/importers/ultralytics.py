"""Ultralytics, https://docs.ultralytics.com/modes/predict/#working-with-results: what `Results.to_json()` writes.

A list of things, in pixels unless it was written with `normalize=True`, which the file does not say: a box by two
corners or, turned, by four; an outline as `segments`; `keypoints`, whose `visible` is how sure the model is of each.
What has none of these is a class of the image, and all such together are one classification. The number of a class
that has a name is kept beside it.
"""

from collections.abc import Collection
from typing import Any

from app.importers.base import (
    Found,
    Json,
    Refused,
    Taken,
    Target,
    Told,
    extra,
    json_file,
    not_this_format,
    objects,
    thing,
)
from app.importers.columns import class_named
from app.importers.reading import Unfit, says_nothing

SHAPES = ("box", "segments", "keypoints")
OWN = frozenset({"name", "class", "confidence", *SHAPES})
AXES = frozenset({"x", "y", "visible"})
KNOWN = {
    "box": {f"{axis}{corner}" for axis in "xy" for corner in "1234"},
    "segments": AXES,
    "keypoints": AXES,
}
CORNERS = {"x1": "x_min", "y1": "y_min", "x2": "x_max", "y2": "y_max"}


def read(file: Any, target: Target) -> Found:
    """The entries of one image."""
    if not isinstance(file, list):
        not_this_format("This is no JSON of Ultralytics results: a list is needed.")
    scale = {"normalized": True} if target.normalized else {}
    classes: list[Json] = []
    first = ""
    for one in objects(file, ""):
        if isinstance(one, Refused):
            yield one
            continue
        place, entry = one
        try:
            name, told, number = class_named(
                place, entry.get("class"), target.names, "class", entry.get("name")
            )
        except Unfit as fault:
            yield Refused(place, fault.field, fault.reason)
            continue
        yield from told
        about = {"class_name": name, "confidence": entry.get("confidence")}
        if not all(says_nothing(entry.get(part)) for part in SHAPES):
            yield from _thing(place, about, entry, number, scale)
        else:
            first = first or place
            rest = extra(entry, OWN, **number)
            classes.append({"class": name, "confidence": entry.get("confidence"), **rest})
    if classes:
        best = {"class_name": classes[0]["class"], "confidence": classes[0]["confidence"]}
        yield Taken(first, {**best, "annotation_type": "classification", "data": {"topk": classes}})


def _thing(place: str, about: Json, entry: Json, number: Json, scale: Json) -> Found:
    parts = {part: {} if says_nothing(entry.get(part)) else entry[part] for part in SHAPES}
    for part, value in parts.items():
        if not isinstance(value, dict):
            yield Refused(place, part, "must be an object")
            return
    box, outline, points = parts.values()
    for part, value in {"segments": outline, "keypoints": points}.items():
        lists = [value[axis] for axis in ("x", "y", "visible") if axis in value]
        if value and (len(lists) < 2 or not _are_as_long(lists)):
            yield Refused(place, part, "must have lists of x and y that are as long as each other")
            return
    if outline and not outline["x"]:
        yield Told(place, "has an empty outline, so its box is taken")
    if box and not scale and all(_is_share(value) for value in box.values()):
        yield Told(place, "has a box within one pixel; if the numbers go from 0 to 1, say `normalized`")
    unknown = {part: rest for part, value in parts.items() if (rest := _without(value, KNOWN[part]))}
    more = number | unknown
    kept = extra(entry, OWN, **more) | scale
    shape = None
    if outline and outline["x"]:
        flat = [value for point in zip(outline["x"], outline["y"], strict=True) for value in point]
        beside = extra(entry, OWN, **(more | ({"box": box} if box else {}))) | scale
        shape = ("segmentation", {"format": "polygon", "polygons": [flat]} | beside)
    elif box:
        shape = ("polygon", _turned(box) | kept) if "x3" in box else ("bounding_box", _upright(box) | kept)
    yield from thing(place, about, shape, {"keypoints": _points(points)} | kept if points else None)


def _are_as_long(lists: list[Any]) -> bool:
    return all(isinstance(one, list) and len(one) == len(lists[0]) for one in lists)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _without(value: Json, known: Collection[str]) -> Json:
    return {key: inner for key, inner in value.items() if key not in known}


def _upright(box: Json) -> Json:
    return {own: box.get(theirs) for theirs, own in CORNERS.items()}


def _turned(box: Json) -> Json:
    return {"points": [[box.get(f"x{corner}"), box.get(f"y{corner}")] for corner in range(1, 5)]}


def _points(points: Json) -> list[Json]:
    names = {"x": "x", "y": "y", "visible": "confidence"}
    columns = [points[theirs] for theirs in names if theirs in points]
    keys = [own for theirs, own in names.items() if theirs in points]
    return [dict(zip(keys, point, strict=True)) for point in zip(*columns, strict=True)]


FORMAT = json_file("Ultralytics results, JSON", read)
