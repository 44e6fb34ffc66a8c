"""Label Studio's tasks with predictions (https://labelstud.io/guide/predictions and /guide/task_format).

Coordinates are percents of the image. Boxes, polygons and keypoints keep them, in a frame of 100 × 100 that is scaled
to the image like any other; what is turned, and ellipses, are computed in pixels and become polygons.
"""

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from app.geometry import Frame
from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Parts,
    Taken,
    Target,
    Told,
    frame_of,
    json_file,
    not_this_format,
)
from app.importers.brush import decode_brush
from app.importers.masks import mask_data, size_of
from app.importers.reading import (
    Unfit,
    by_image,
    each,
    each_of_image,
    head,
    inner,
    is_number,
    json_object,
    kept,
    number,
    one,
    under,
    without,
)

PERCENT = {"image_width": 100, "image_height": 100}
UPLOADED = re.compile(r"(?<=/)[0-9a-f]{8}-(?=[^/]+$)")
CORNERS = 64  # of an ellipse as a polygon
MOST = 100 + 1e-6  # percent; a little more is rounding
_RESULT = frozenset({"type", "value", "original_width", "original_height", "image_rotation", "score"})


def read_tasks(file: Any, target: Target) -> Found:
    """`[task, …]`, one task, one prediction, or the list of results of one."""
    if isinstance(file, list) and file and all(isinstance(entry, dict) and "type" in entry for entry in file):
        yield from _results(file, "", target, {}, None)
    elif isinstance(file, list):
        yield from each_of_image(file, "", _images_of, target, partial(_task, target=target))
    elif isinstance(file, dict) and "result" in file:
        yield from one("", file, partial(_prediction, target=target, several=False))
    elif isinstance(file, dict) and "predictions" in file:
        yield from each_of_image([file], "", _images_of, target, partial(_task, target=target))
    else:
        not_this_format("This is no list of tasks: each has `data` and `predictions`.")


def split_tasks(file: Any) -> Parts | None:
    if isinstance(file, list) and not (
        file and all(isinstance(entry, dict) and "type" in entry for entry in file)
    ):
        return by_image(file, "", _images_of, _task)
    if isinstance(file, dict) and "predictions" in file and "result" not in file:
        return split_tasks([file])
    return None


def _images_of(task: Json) -> list[str]:
    """What stands in its data; of what was uploaded also the name that it had before."""
    data = task.get("data")
    names = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    return [*names, *(UPLOADED.sub("", name) for name in names if UPLOADED.search(name))]


def _task(place: str, task: Json, *, target: Target) -> Found:
    said = "says something of the task, not of what a model saw"
    yield from head(task, ("predictions", "annotations", "completions"), place, said)
    for key in ("annotations", "completions"):
        persons = task.get(key)
        for i, _ in enumerate(persons if isinstance(persons, list) else ()):
            yield LeftOut(under(under(place, key), i), "is a person's, not a prediction")
    predictions = task.get("predictions") or []
    several = isinstance(predictions, list) and len(predictions) > 1
    read = partial(_prediction, target=target, several=several)
    yield from inner(predictions, place, "predictions", read)


def _prediction(place: str, prediction: Json, *, target: Target, several: bool) -> Found:
    """Of several predictions, each annotation says which model it is of."""
    given = {key: prediction[key] for key in ("model_version",) if several and key in prediction}
    said = "says something of the prediction as a whole"
    yield from head(prediction, ("result", "score", *given), place, said)
    results = prediction.get("result")
    if not isinstance(results, list):
        raise Unfit("result", "must be a list")
    yield from _results(results, under(place, "result"), target, given, prediction.get("score"))


def _results(results: Any, path: str, target: Target, given: Json, score: Any) -> Found:
    labels = [entry for entry in results if _is(entry, "labels")] if isinstance(results, list) else []
    labelled = {entry["id"] for entry in labels if isinstance(entry.get("id"), str)}

    def read(place: str, entry: Json) -> Found:
        name = entry.get("id")
        if _is(entry, *SHAPES) and isinstance(name, str) and name in labelled:
            yield LeftOut(place, "is the region of a result of type labels, which is taken")
        else:
            yield from _result(place, entry, target, given, score)

    yield from each(results, path, read)


def _is(entry: Any, *kinds: str) -> bool:
    return isinstance(entry, dict) and entry.get("type") in kinds


def _result(place: str, entry: Json, target: Target, given: Json, score: Any) -> Found:
    kind = entry.get("type")
    if not isinstance(kind, str):
        raise Unfit("type", "must be a text")
    if kind == "relation":
        yield LeftOut(place, "is a relation between two results")
        return
    value = json_object(entry.get("value"), "value")
    if entry.get("image_rotation") not in (None, 0):
        raise Unfit("image_rotation", "a turned image is not understood: turn it back in the tool")
    item: Json = {"confidence": entry.get("score")}
    if item["confidence"] is None and score is not None:
        item["confidence"] = score
        yield Told(place, "has no score of its own, and is given that of its prediction")
    more = without(entry, _RESULT) | given
    yield from _reader(kind, value)(place, entry, value, item, more, target)


def _reader(kind: str, value: Json) -> Callable[..., Found]:
    """By the type's name; results of type `labels` tell by their keys."""
    if kind != "labels":
        return {**REGIONS, "choices": _choices}.get(kind, _other)
    shapes = {"rle": _brush, "points": _polygon, "radiusX": _ellipse, "width": _rectangle, "x": _keypoint}
    return next((read for key, read in shapes.items() if key in value), _other)


def _names_of(entry: Json) -> list[Any]:
    """The labels of a result; they stand under the name of its type."""
    value = entry.get("value")
    names = value.get(entry["type"]) if isinstance(value, dict) and entry["type"].endswith("labels") else None
    return names if isinstance(names, list) else [] if names is None else [names]


def _taken(
    place: str, kind: str, entry: Json, item: Json, data: Json, more: Json, known: tuple[str, ...]
) -> Found:
    """The annotation; of several labels the first is its class."""
    names = _names_of(entry)
    if len(names) > 1:
        yield Told(place, "has several labels: the first is the class, all are kept in extra.labels")
        more = more | {"labels": names}
    value = {key: one for key, one in entry["value"].items() if key != entry["type"]}
    data = data | kept(without(value, known), result=more)
    yield Taken(
        place, {"annotation_type": kind, "class_name": names[0] if names else None, **item, "data": data}
    )


def _rectangle(place: str, entry: Json, value: Json, item: Json, more: Json, target: Target) -> Found:
    known = ("x", "y", "width", "height", "rotation")
    if value.get("rotation") in (None, 0):
        _check_percents({f"value.{key}": value.get(key) for key in known[:4]})
        data = {key: value[key] for key in known[:4] if key in value} | PERCENT
        yield from _taken(place, "bounding_box", entry, item, data, more, known)
        return
    x, y, width, height, turn = (number(value.get(key), f"value.{key}") for key in known)
    frame = _frame(entry, target)
    across, down = width / 100 * frame.width, height / 100 * frame.height
    corners = [(0.0, 0.0), (across, 0.0), (across, down), (0.0, down)]
    points = _turned(corners, x / 100 * frame.width, y / 100 * frame.height, turn)
    yield Told(place, "is a box that is turned, and becomes a polygon")
    data = {"points": points} | frame_of(*frame, target.frame)
    yield from _taken(place, "polygon", entry, item, data, more | {"rotation": turn}, known)


def _ellipse(place: str, entry: Json, value: Json, item: Json, more: Json, target: Target) -> Found:
    known = ("x", "y", "radiusX", "radiusY", "rotation")
    sent = {"rotation": 0} | value
    x, y, across, down, turn = (number(sent.get(key), f"value.{key}") for key in known)
    frame = _frame(entry, target)
    across, down = across / 100 * frame.width, down / 100 * frame.height
    angles = [2 * math.pi * i / CORNERS for i in range(CORNERS)]
    rim = [(across * math.cos(angle), down * math.sin(angle)) for angle in angles]
    points = _turned(rim, x / 100 * frame.width, y / 100 * frame.height, turn)
    yield Told(
        place, f"is an ellipse, and becomes a polygon of {CORNERS} corners; it is kept in extra.ellipse"
    )
    data = {"points": points} | frame_of(*frame, target.frame)
    ellipse = {key: value[key] for key in known if key in value}
    yield from _taken(place, "polygon", entry, item, data, more | {"ellipse": ellipse}, known)


def _turned(points: list[tuple[float, float]], x: float, y: float, degrees: float) -> list[list[float]]:
    """Points around (x, y), turned clockwise; in pixels, as percents are not square."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [[x + a * cos - b * sin, y + a * sin + b * cos] for a, b in points]


def _frame(entry: Json, target: Target) -> Frame:
    """The size in pixels of the image that Label Studio had."""
    width, height = entry.get("original_width"), entry.get("original_height")
    if width is None and height is None:
        return target.frame
    height, width = size_of(height, width, "original_width")
    return Frame(width, height)


def _check_percents(values: Json) -> None:
    """Of what is not turned: raises Unfit for a number above 100, as pixels are."""
    for field, value in values.items():
        if is_number(value) and value > MOST:
            raise Unfit(field, "must be at most 100: it is a percent of the image, not pixels")


def _polygon(place: str, entry: Json, value: Json, item: Json, more: Json, target: Target) -> Found:
    for i, point in enumerate(_listed(value.get("points"))):
        _check_percents({f"value.points.{i}.{axis}": at for axis, at in enumerate(_listed(point))})
    data = {"points": value.get("points")} | PERCENT
    if value.get("closed") is False:
        yield Told(place, "is an open line, and becomes a closed polygon")
    known = ("points", "closed") if value.get("closed") is True else ("points",)
    yield from _taken(place, "polygon", entry, item, data, more, known)


def _listed(value: Any) -> list[Any]:
    """What is no list is refused where it is read."""
    return value if isinstance(value, list) else []


def _keypoint(place: str, entry: Json, value: Json, item: Json, more: Json, target: Target) -> Found:
    _check_percents({f"value.{key}": value.get(key) for key in ("x", "y")})
    point: Json = {key: value[key] for key in ("x", "y") if key in value}
    if names := _names_of(entry):
        point["name"] = names[0]
    yield from _taken(place, "keypoint", entry, item, {"keypoints": [point]} | PERCENT, more, ("x", "y"))


def _brush(place: str, entry: Json, value: Json, item: Json, more: Json, target: Target) -> Found:
    if value.get("format", "rle") != "rle":
        raise Unfit("value.format", "must be rle")
    frame = _frame(entry, target)
    bits = decode_brush(value.get("rle"), frame.height, frame.width, "value.rle", target.pixels)
    data = mask_data(bits, "value.rle")
    yield Told(place, "is a brush: its alpha, where it is not 0, becomes COCO run-lengths")
    yield from _taken(place, "segmentation", entry, item, data, more, ("format", "rle"))


def _choices(place: str, entry: Json, value: Json, item: Json, more: Json, target: Target) -> Found:
    names = value.get("choices")
    if not isinstance(names, list) or not names:
        raise Unfit("value.choices", "must be a list of at least one class")
    score = item["confidence"]
    if score is None:
        yield Told(place, "is a choice without a score: its class stands in data.topk with confidence 1")
    topk = [{"class": name, "confidence": 1.0 if score is None else score} for name in names]
    data = {"topk": topk} | kept(without(value, ("choices",)), result=more)
    yield Taken(place, {"annotation_type": "classification", "class_name": names[0], **item, "data": data})


def _other(place: str, entry: Json, value: Json, item: Json, more: Json, target: Target) -> Found:
    """Texts, numbers, ratings, taxonomies: nothing that is drawn, but nothing that should be lost."""
    yield Told(place, f"is of type {entry['type']!r:.100}, and is kept as custom")
    yield Taken(
        place, {"annotation_type": "custom", **item, "data": {"type": entry["type"], "value": value, **more}}
    )


SHAPES: dict[str, Callable[..., Found]] = {
    "rectangle": _rectangle,
    "ellipse": _ellipse,
    "polygon": _polygon,
    "keypoint": _keypoint,
    "brush": _brush,
}
REGIONS = SHAPES | {f"{name}labels": read for name, read in SHAPES.items()}

FORMAT = json_file("Label Studio: tasks with predictions", read_tasks, split=split_tasks)
