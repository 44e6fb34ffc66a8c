"""Azure AI Vision: Image Analysis 4.0, and 3.2 with its Detect and Tag operations.

https://learn.microsoft.com/azure/ai-services/computer-vision: boxes are `{x, y, w, h}` in pixels of the image that was
sent, whose size stands in `metadata`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from app.importers.base import Found, Json, Taken, Target, frame_of, json_file, not_this_format
from app.importers.reading import Unfit, each, head, json_object, kept, under, without

VALUES = ("objectsResult", "tagsResult", "peopleResult", "denseCaptionsResult")
"""Those of 4.0, each with a list of `values`."""


def read_answer(file: Any, target: Target) -> Found:
    """One answer, of either version."""
    readers = _readers(file.get("metadata"), target) if isinstance(file, dict) else {}
    if not isinstance(file, dict) or not readers.keys() & file.keys():
        not_this_format(
            f"This is no answer of Azure AI Vision: one of {', '.join(_readers(None, target))} is needed."
        )
    yield from head(file, readers, "", "says something of the answer or the whole image")
    for key, read in readers.items():
        if file.get(key) is None:
            continue
        if key not in VALUES:
            yield from each(file[key], key, read)
        elif isinstance(file[key], dict):
            yield from head(file[key], ("values",), key, "says something of the answer or the whole image")
            yield from each(file[key].get("values"), under(key, "values"), read)
        else:
            not_this_format("Must be an object with values.", key)


def _readers(metadata: Any, target: Target) -> dict[str, Callable[[str, Json], Found]]:
    size = metadata if isinstance(metadata, dict) else {}
    frame = frame_of(size.get("width"), size.get("height"), target.frame)
    return {
        "objectsResult": partial(_tagged, frame=frame),
        "peopleResult": partial(_boxed, frame=frame, name="person"),
        "denseCaptionsResult": partial(_boxed, frame=frame, name="caption"),
        "tagsResult": _tag,
        "objects": partial(_object, frame=frame),
        "faces": partial(_face, frame=frame),
        "brands": partial(_brand, frame=frame),
        "tags": _tag,
    }


def _taken(place: str, name: Any, score: Any, box: Any, field: str, frame: Json, rest: Json) -> Taken:
    """A box `{x, y, w, h}`; of faces `{left, top, width, height}`."""
    sides = json_object(box, field)
    keys = ("left", "top", "width", "height") if "left" in sides else ("x", "y", "w", "h")
    data = {"bbox": [sides.get(key) for key in keys], "format": "xywh"} | frame | kept(rest)
    about = {"annotation_type": "bounding_box", "class_name": name, "confidence": score}
    return Taken(place, {**about, "data": data})


def _tagged(place: str, entry: Json, *, frame: Json) -> Found:
    """Of 4.0: the likeliest tag is the class; all are kept where there is more to them."""
    tags = entry.get("tags")
    if not isinstance(tags, list) or not tags:
        raise Unfit("tags", "must be a list, and not empty")
    first = json_object(tags[0], "tags.0")
    is_all = len(tags) == 1 and not without(first, ("name", "confidence"))
    rest = without(entry, ("boundingBox", "tags")) | ({} if is_all else {"tags": tags})
    box = entry.get("boundingBox")
    yield _taken(place, first.get("name"), first.get("confidence"), box, "boundingBox", frame, rest)


def _boxed(place: str, entry: Json, *, frame: Json, name: str) -> Found:
    rest = without(entry, ("boundingBox", "confidence"))
    yield _taken(place, name, entry.get("confidence"), entry.get("boundingBox"), "boundingBox", frame, rest)


def _object(place: str, entry: Json, *, frame: Json) -> Found:
    """Of 3.2: `object` is the class; its parents are kept."""
    rest = without(entry, ("rectangle", "object", "confidence"))
    yield _taken(
        place, entry.get("object"), entry.get("confidence"), entry.get("rectangle"), "rectangle", frame, rest
    )


def _brand(place: str, entry: Json, *, frame: Json) -> Found:
    rest = without(entry, ("rectangle", "name", "confidence"))
    yield _taken(
        place, entry.get("name"), entry.get("confidence"), entry.get("rectangle"), "rectangle", frame, rest
    )


def _face(place: str, entry: Json, *, frame: Json) -> Found:
    rest = without(entry, ("faceRectangle",))
    yield _taken(place, "face", None, entry.get("faceRectangle"), "faceRectangle", frame, rest)


def _tag(place: str, entry: Json) -> Found:
    name, score = entry.get("name"), entry.get("confidence")
    if score is None:
        raise Unfit("confidence", "is missing")
    data = {"topk": [{"class": name, "confidence": score}]} | kept(without(entry, ("name", "confidence")))
    yield Taken(
        place, {"annotation_type": "classification", "class_name": name, "confidence": score, "data": data}
    )


FORMAT = json_file("Azure AI Vision: Image Analysis 4.0 and 3.2", read_answer)
