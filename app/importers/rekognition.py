"""Amazon Rekognition: answers of DetectLabels, DetectFaces, DetectCustomLabels, DetectText and DetectModerationLabels.

https://docs.aws.amazon.com/rekognition/latest/APIReference: boxes `{Left, Top, Width, Height}` and points `{X, Y}` go
from 0 to 1, confidences from 0 to 100.
"""

from collections.abc import Callable
from typing import Any

from app.importers.base import Found, Json, Taken, Target, Told, json_file, not_this_format
from app.importers.reading import Unfit, each, head, inner, json_object, kept, percent, says_nothing, without

PERCENTS = "has a confidence from 0 to 100, which is divided by 100"
NORMALIZED = {"normalized": True}
SIDES = ("Left", "Top", "Width", "Height")


def read_answer(file: Any, target: Target) -> Found:
    """One answer; what several operations say may stand in one object."""
    if not isinstance(file, dict) or not READERS.keys() & file.keys():
        not_this_format(f"This is no answer of Rekognition: one of {', '.join(READERS)} is needed.")
    yield from head(file, READERS, "", "says something of the answer or the whole image")
    for key, read in READERS.items():
        if key in file:
            yield from each(file[key], key, read)


def _box(entry: Json, field: str = "BoundingBox") -> Json:
    sides = json_object(entry.get(field), field)
    left, top, width, height = (sides.get(side) for side in SIDES)
    return {"bbox": [left, top, width, height], "format": "xywh", **NORMALIZED}


def _scored(place: str, entry: Json) -> Found:
    if entry.get("Confidence") is not None:
        yield Told(place, PERCENTS)


def _item(kind: str, name: Any, entry: Json, data: Json, *known: str, **more: Json) -> Json:
    score = percent(entry.get("Confidence"))
    data = data | kept(without(entry, ("Confidence", *known)), **more)
    return {"annotation_type": kind, "class_name": name, "confidence": score, "data": data}


def _label(place: str, label: Json) -> Found:
    """A box for each instance; the label itself is a class of the image. Its parents stand with both."""
    name = label.get("Name")
    yield from _class(place, label)
    of_label = without(label, ("Name", "Confidence", "Instances"))

    def instance(at: str, entry: Json) -> Found:
        yield from _scored(at, entry)
        yield Taken(at, _item("bounding_box", name, entry, _box(entry), "BoundingBox", label=of_label))

    instances = label.get("Instances")
    if not says_nothing(instances):
        yield from inner(instances, place, "Instances", instance)


def _class(place: str, label: Json) -> Found:
    name, score = label.get("Name"), percent(label.get("Confidence"))
    if score is None:
        raise Unfit("Confidence", "is missing")
    yield from _scored(place, label)
    topk = {"topk": [{"class": name, "confidence": score}]}
    yield Taken(place, _item("classification", name, label, topk, "Name", "Instances"))


def _custom_label(place: str, label: Json) -> Found:
    """With a box, or of the image as a whole."""
    box = (
        (label.get("Geometry") or {}).get("BoundingBox") if isinstance(label.get("Geometry"), dict) else None
    )
    if box is None:
        yield from _class(place, label)
        return
    yield from _scored(place, label)
    yield Taken(
        place, _item("bounding_box", label.get("Name"), label, _box({"BoundingBox": box}), "Name", "Geometry")
    )


def _face(place: str, face: Json) -> Found:
    """A box, and beside it the landmarks, which have names and no confidence."""
    yield from _scored(place, face)
    landmarks = face.get("Landmarks")
    yield Taken(place, _item("bounding_box", "Face", face, _box(face), "BoundingBox", "Landmarks"))
    if landmarks:
        if not isinstance(landmarks, list):
            raise Unfit("Landmarks", "must be a list")
        points = [json_object(point, f"Landmarks.{i}") for i, point in enumerate(landmarks)]
        data = {"keypoints": [*map(_landmark, points)]} | NORMALIZED
        score = percent(face.get("Confidence"))
        yield Taken(
            place, {"annotation_type": "keypoint", "class_name": "Face", "confidence": score, "data": data}
        )


def _landmark(point: Json) -> Json:
    named = {"name": point.get("Type"), "x": point.get("X"), "y": point.get("Y")}
    return named | kept(without(point, ("Type", "X", "Y")))


def _text(place: str, text: Json) -> Found:
    """The outline of a line or word, which may be turned; the text itself stays beside it."""
    geometry = json_object(text.get("Geometry"), "Geometry")
    yield from _scored(place, text)
    corners = geometry.get("Polygon")
    if corners is None:
        kind, data = "bounding_box", _box(geometry)
    else:
        if not isinstance(corners, list):
            raise Unfit("Geometry.Polygon", "must be a list")
        points = [json_object(point, f"Geometry.Polygon.{i}") for i, point in enumerate(corners)]
        kind, data = (
            "polygon",
            {"points": [[point.get("X"), point.get("Y")] for point in points]} | NORMALIZED,
        )
    of_box = without(geometry, ("Polygon",))
    yield Taken(place, _item(kind, text.get("Type"), text, data, "Type", "Geometry", geometry=of_box))


READERS: dict[str, Callable[[str, Json], Found]] = {
    "Labels": _label,
    "FaceDetails": _face,
    "CustomLabels": _custom_label,
    "TextDetections": _text,
    "ModerationLabels": _class,
}

FORMAT = json_file("Amazon Rekognition: answers of its Detect… operations", read_answer)
