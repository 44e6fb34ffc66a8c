"""FiftyOne: samples as its JSON exports have them, and the labels of its image datasets.

https://docs.voxel51.com/user_guide/using_datasets.html#labels: coordinates go from 0 to 1, boxes are `[x, y, width,
height]`, a detection's mask covers its box, a polyline has several shapes, a missing keypoint is NaN.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from app.annotations.base import FAR
from app.importers.arrays import array_of
from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Part,
    Parts,
    Taken,
    Target,
    Told,
    class_of,
    json_file,
    not_this_format,
)
from app.importers.masks import mask_data, spend
from app.importers.reading import (
    Unfit,
    by_image,
    check_one,
    each,
    each_of_image,
    head,
    is_called,
    kept,
    numbers,
    one,
    under,
    without,
)

NORMALIZED = {"normalized": True}
RESAMPLED = "has a mask of its box: the nearest of its pixels become COCO run-lengths of the image"
MISSING = "has missing keypoints: they stand at 0, 0 and are not visible"


def read_samples(file: Any, target: Target) -> Found:
    """`{samples: […]}`, a list of samples or one, `{classes, labels: {image: …}}`, or labels by themselves."""
    if isinstance(file, dict) and isinstance(file.get("labels"), dict):
        yield from _dataset(file, target)
    elif isinstance(file, dict) and file.get("_cls") in (*LABELS, *LISTS):
        yield from _field("", "", file, target)
    elif isinstance(file, dict) and "filepath" in file:
        yield from each_of_image([file], "", _names_of, target, partial(_sample, target=target, whole=True))
    elif isinstance(file, dict) and isinstance(file.get("samples"), list):
        yield from head(file, ("samples",), "", "says something of the dataset")
        yield from each_of_image(
            file["samples"], "samples", _names_of, target, partial(_sample, target=target)
        )
    elif isinstance(file, list):
        yield from each_of_image(file, "", _names_of, target, partial(_sample, target=target))
    else:
        not_this_format(
            "These are no samples of FiftyOne: `samples`, `filepath`, `labels` or `_cls` is needed."
        )


def split_samples(file: Any) -> Parts | None:
    if isinstance(file, dict) and isinstance(file.get("labels"), dict):
        return _split_dataset(file)
    if isinstance(file, dict) and isinstance(file.get("samples"), list):
        listed, path = file["samples"], "samples"
    elif isinstance(file, list) or (isinstance(file, dict) and "filepath" in file):
        listed, path = file if isinstance(file, list) else [file], ""
    else:
        return None
    said = head(file, ("samples",), "", "says something of the dataset") if path else ()
    return chain(said, by_image(listed, path, _names_of, _sample))


def _split_dataset(file: Json) -> Parts:
    """The labels are called like their image without its ending."""
    yield from head(file, ("classes", "labels"), "", "says something of the dataset")
    for key, value in file["labels"].items():
        yield Part((key,), partial(_labels, key, value, file.get("classes")), bare=True)


def _names_of(sample: Json) -> list[Any]:
    oid = sample.get("_id")
    return [
        sample.get("filepath", ""),
        sample.get("id") or (oid.get("$oid") if isinstance(oid, dict) else None) or "",
    ]


def _sample(place: str, sample: Json, *, target: Target, whole: bool = False) -> Found:
    """Every field that holds labels; each annotation says which field it is of."""
    place = "" if whole else place
    for name, value in sample.items():
        if isinstance(value, dict) and value.get("_cls") in (*LABELS, *LISTS):
            yield from _field(under(place, name), name, value, target)
        elif name not in ("filepath", "id", "_id"):
            yield from head(
                {name: value}, (), place, "is a field without boxes, outlines, keypoints or classes"
            )


def _field(place: str, name: str, value: Json, target: Target) -> Found:
    of = {"field": name} if name else {}
    read = partial(_label, target=target, of=of, names=target.names)
    if (inner := LISTS.get(value["_cls"])) is None:
        yield from one(place, value, read)
        return
    yield from head(value, ("_cls", "_id", "id", inner), place, "says something of all labels of a field")
    yield from each(value.get(inner) or [], under(place, inner), read)


def _dataset(file: Json, target: Target) -> Found:
    """`labels.json` of an image dataset: a class or a list of detections by the name of the image's file."""
    yield from head(file, ("classes", "labels"), "", "says something of the dataset")
    stem = PurePosixPath(target.filename).stem
    ours = {
        key for key in file["labels"] if is_called(key, target) or (target.called is None and key == stem)
    }
    check_one(ours, target, [*file["labels"]])
    for key, value in file["labels"].items():
        if key in ours:
            yield from _labels(key, value, file.get("classes"), target)
        else:
            yield LeftOut(under("labels", key), "is of another image")


def _labels(key: str, value: Any, classes: Any, target: Target) -> Found:
    """Those of one image: a list of detections, a label, the name of a class, or its number among `classes`."""
    numbered = {str(i): name for i, name in enumerate(classes)} if isinstance(classes, list) else {}
    read = partial(_label, target=target, of={}, names=numbered | {**target.names})
    place = under("labels", key)
    if isinstance(value, list):
        yield from each(value, place, read)
    elif value is not None:
        yield from one(place, value if isinstance(value, dict) else {"label": value}, read)


def _label(place: str, label: Json, *, target: Target, of: Json, names: Mapping[str, Any]) -> Found:
    kind = label.get("_cls")
    if kind is None:
        kind = next((LABEL_BY_KEY[key] for key in LABEL_BY_KEY if key in label), "Classification")
    if not isinstance(kind, str) or kind not in LABELS:
        raise Unfit("_cls", f"must be one of {', '.join(LABELS)}")
    name = label.get("label")
    told: list[Told] = []
    if type(name) is int:
        name, told = class_of(place, name, names)
    yield from told
    yield from LABELS[kind](place, label, name, of, target)


# --- kinds of labels ---------------------------------------------------------------------------------------------


def _detection(place: str, label: Json, name: Any, of: Json, target: Target) -> Found:
    about = {"class_name": name, "confidence": label.get("confidence")}
    rest = kept(of, label=without(label, (*_OWN, "bounding_box", "mask")))
    sent = {"bbox": label.get("bounding_box"), "format": "xywh", **NORMALIZED}
    box = {**about, "annotation_type": "bounding_box", "data": sent | rest}
    if label.get("mask") is None:
        if label.get("mask_path") is not None:
            yield Told(place, "has its mask in a file of its own: its box is taken")
        yield Taken(place, box)
        return
    mask = _mask(label, target)
    if mask is None:
        yield Told(place, "has a mask that covers no pixel: its box is taken")
        yield Taken(place, box)
        return
    yield Told(place, RESAMPLED)
    beside = kept(rest.get("extra", {}), mask={"bounding_box": label["bounding_box"]})
    yield Taken(place, {**about, "annotation_type": "segmentation", "data": mask | beside})


def _mask(label: Json, target: Target) -> Json | None:
    """The mask at the pixels whose centres lie in the box."""
    bits = array_of(label["mask"], "mask", target.pixels) != 0
    x, y, width, height = numbers(label.get("bounding_box"), 4, "bounding_box")
    if not (width > 0 and height > 0):
        raise Unfit("bounding_box", "must have a width and a height")
    if min(x, y) < -1 or max(x, y, x + width, y + height) > 2:
        raise Unfit("bounding_box", FAR)
    columns = _nearest(x, width, target.frame.width, bits.shape[1])
    rows = _nearest(y, height, target.frame.height, bits.shape[0])
    if not columns[1].size or not rows[1].size:
        return None
    spend(target.pixels, rows[1].size * columns[1].size, "mask")
    size = (target.frame.height, target.frame.width)
    return mask_data(bits[np.ix_(rows[1], columns[1])], "mask", columns[0], rows[0], size)


def _nearest(start: float, length: float, side: int, count: int) -> tuple[int, Any]:
    """The first pixel of the image in this part of a side, and for each there which of `count` lies at its centre."""
    first, end = (int(min(max(np.ceil(edge * side - 0.5), 0), side)) for edge in (start, start + length))
    centres = (np.arange(first, end) + 0.5) / side
    return first, np.clip(((centres - start) / length * count).astype(np.int64), 0, count - 1)


def _polyline(place: str, label: Json, name: Any, of: Json, target: Target) -> Found:
    shapes = _shapes(label.get("points"))
    about = {"class_name": name, "confidence": label.get("confidence")}
    filled = label.get("closed") or label.get("filled")
    rest = kept(of, label=without(label, (*_OWN, "points")))
    data: Json
    if not filled:
        points = [{"x": x, "y": y} for shape in shapes for x, y in shape]
        ends = {sum(map(len, shapes[:i])) for i in range(1, len(shapes) + 1)}
        lines = [[i, i + 1] for i in range(len(points) - 1) if i + 1 not in ends]
        kind, data = "keypoint", {"keypoints": points, "skeleton": lines}
        yield Told(place, "is an open line, and becomes joined keypoints")
    elif len(shapes) == 1:
        kind, data = "polygon", {"points": shapes[0]}
    else:
        flat = [[value for point in shape for value in point] for shape in shapes]
        kind, data = "segmentation", {"format": "polygon", "polygons": flat}
    yield Taken(place, {**about, "annotation_type": kind, "data": data | NORMALIZED | rest})


def _shapes(points: Any) -> list[list[Any]]:
    if not isinstance(points, list) or not points:
        raise Unfit("points", "must be a list of shapes, and not empty")
    for i, shape in enumerate(points):
        if not isinstance(shape, list) or not all(
            isinstance(point, list) and len(point) == 2 for point in shape
        ):
            raise Unfit(f"points.{i}", "must be a list of points [x, y]")
    return points


def _keypoint(place: str, label: Json, name: Any, of: Json, target: Target) -> Found:
    (points,) = _shapes([label.get("points")])
    scores = label.get("confidence")
    if isinstance(scores, list) and len(scores) != len(points):
        raise Unfit("confidence", f"has {len(scores)} entries, but there are {len(points)} points")
    found: list[Json] = []
    for i, (x, y) in enumerate(points):
        gone = _is_missing(x) or _is_missing(y)
        point = {"x": 0, "y": 0, "visible": 0} if gone else {"x": x, "y": y}
        found.append(point | ({"confidence": scores[i]} if isinstance(scores, list) else {}))
    if any("visible" in point for point in found):
        yield Told(place, MISSING)
    about = {"class_name": name, "confidence": None if isinstance(scores, list) else scores}
    rest = kept(of, label=without(label, (*_OWN, "points")))
    yield Taken(
        place, {**about, "annotation_type": "keypoint", "data": {"keypoints": found} | NORMALIZED | rest}
    )


def _is_missing(value: Any) -> bool:
    """NaN, as FiftyOne's JSON writes it."""
    return value is None or value == {"$numberDouble": "NaN"}


def _classification(place: str, label: Json, name: Any, of: Json, target: Target) -> Found:
    score = label.get("confidence")
    if score is None:
        yield Told(place, "is a class without a confidence: it stands in data.topk with 1")
    topk = [{"class": name, "confidence": 1.0 if score is None else score}]
    data = {"topk": topk} | kept(of, label=without(label, _OWN))
    yield Taken(
        place, {"class_name": name, "confidence": score, "annotation_type": "classification", "data": data}
    )


_OWN = ("_cls", "label", "confidence")
LABELS: dict[str, Callable[[str, Json, Any, Json, Target], Found]] = {
    "Detection": _detection,
    "Polyline": _polyline,
    "Keypoint": _keypoint,
    "Classification": _classification,
}
LISTS = {
    "Detections": "detections",
    "Polylines": "polylines",
    "Keypoints": "keypoints",
    "Classifications": "classifications",
}
LABEL_BY_KEY = {"bounding_box": "Detection", "closed": "Polyline", "points": "Keypoint"}
"""What a label is that does not say it, as in the labels of image datasets."""

FORMAT = json_file("FiftyOne: samples, or the labels of a dataset", read_samples, split=split_samples)
