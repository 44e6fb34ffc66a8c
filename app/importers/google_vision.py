"""Google Cloud Vision: `AnnotateImageResponse` as JSON (https://cloud.google.com/vision/docs/reference/rest/v1).

Objects have `normalizedVertices` from 0 to 1, all else `vertices` in pixels. A coordinate that is 0 is left out, as
JSON of Protocol Buffers does. What has an outline along the sides of the image becomes a box, else a polygon.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from app.importers.base import Found, Json, Taken, Target, json_file, not_this_format
from app.importers.columns import one_of_images
from app.importers.reading import Unfit, each, head, json_object, kept, without

NORMALIZED = {"normalized": True}
_NAMED = ("description", "name")


def read_response(file: Any, target: Target) -> Found:
    """One response, or `{responses: […]}` of which that of the image is read."""
    if isinstance(file, dict) and isinstance(file.get("responses"), list) and file["responses"]:
        yield from head(file, ("responses",), "", "says something of all responses")
        read = partial(_response, target=target)
        yield from one_of_images([*map(_located, file["responses"])], "responses", target, read)
    elif isinstance(file, dict) and READERS.keys() & file.keys():
        yield from _response("", file, target=target)
    else:
        not_this_format("This is no answer of Cloud Vision: `responses` or its annotations are needed.")


def _located(response: Any) -> Any:
    """With the address of its image, where the answer is of a batch of files, under a key that is looked at."""
    context = response.get("context") if isinstance(response, dict) else None
    if isinstance(context, dict) and isinstance(context.get("uri"), str):
        return {**response, "image": context["uri"]}
    return response


def _response(place: str, response: Json, *, target: Target) -> Found:
    if response.get("error"):
        raise Unfit("error", "is an error of the service, not what it saw")
    yield from head(
        response, (*READERS, "image", "context"), place, "is no list of things with a place or class"
    )
    for key, read in READERS.items():
        if key in response:
            yield from each(response[key], f"{place}.{key}" if place else key, read)


def _outline(poly: Any, field: str) -> tuple[str, Json]:
    """A box, where its four corners are those of one, else a polygon."""
    poly = json_object(poly, field)
    key = "normalizedVertices" if poly.get("normalizedVertices") else "vertices"
    vertices = poly.get(key)
    if not isinstance(vertices, list) or not vertices:
        raise Unfit(f"{field}.{key}", "must be a list, and not empty")
    corners = [json_object(vertex, f"{field}.{key}.{i}") for i, vertex in enumerate(vertices)]
    points = [[corner.get("x", 0), corner.get("y", 0)] for corner in corners]
    unit = NORMALIZED if key == "normalizedVertices" else {}
    if len(points) == 4:
        (x1, y1), (x2, y2), (x3, y3), (x4, y4) = points
        if (y1, x2, y3, x4) == (y2, x3, y4, x1):
            return "bounding_box", {"bbox": [x1, y1, x3, y3], "format": "xyxy", **unit}
    return "polygon", {"points": points, **unit}


def _placed(place: str, entry: Json, name: Any = None) -> Found:
    """An object, a logo, a landmark or a text."""
    kind, data = _outline(entry.get("boundingPoly"), "boundingPoly")
    own = next((key for key in _NAMED if key in entry), None) if name is None else None
    about = {"class_name": entry[own] if own else name, "confidence": entry.get("score")}
    data = data | kept(without(entry, ("boundingPoly", "score", own or "")))
    yield Taken(place, {**about, "annotation_type": kind, "data": data})


def _text(place: str, entry: Json) -> Found:
    """A text is no class: it stays beside its outline."""
    yield from _placed(place, entry, "text")


def _label(place: str, entry: Json) -> Found:
    name, score = entry.get("description"), entry.get("score")
    if score is None:
        raise Unfit("score", "is missing")
    data = {"topk": [{"class": name, "confidence": score}]} | kept(without(entry, ("description", "score")))
    yield Taken(
        place, {"annotation_type": "classification", "class_name": name, "confidence": score, "data": data}
    )


def _face(place: str, face: Json) -> Found:
    """The outline of a face and, beside it, its landmarks, whose depth is kept."""
    kind, data = _outline(face.get("boundingPoly"), "boundingPoly")
    about = {"class_name": "face", "confidence": face.get("detectionConfidence")}
    rest = without(face, ("boundingPoly", "detectionConfidence", "landmarks"))
    yield Taken(place, {**about, "annotation_type": kind, "data": data | kept(rest)})
    landmarks = face.get("landmarks")
    if landmarks:
        if not isinstance(landmarks, list):
            raise Unfit("landmarks", "must be a list")
        points = [_landmark(point, f"landmarks.{i}") for i, point in enumerate(landmarks)]
        confidence = face.get("landmarkingConfidence")
        beside = {"class_name": "face", "confidence": confidence, "annotation_type": "keypoint"}
        yield Taken(place, {**beside, "data": {"keypoints": points}})


def _landmark(landmark: Any, field: str) -> Json:
    landmark = json_object(landmark, field)
    at = json_object(landmark.get("position"), f"{field}.position")
    rest = kept(without(at, ("x", "y")), landmark=without(landmark, ("type", "position")))
    return {"name": landmark.get("type"), "x": at.get("x", 0), "y": at.get("y", 0)} | rest


READERS: dict[str, Callable[[str, Json], Found]] = {
    "localizedObjectAnnotations": _placed,
    "faceAnnotations": _face,
    "labelAnnotations": _label,
    "logoAnnotations": _placed,
    "landmarkAnnotations": _placed,
    "textAnnotations": _text,
}

FORMAT = json_file("Google Cloud Vision: its answers", read_response)
