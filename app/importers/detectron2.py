"""Detectron2: its datasets, the predictions that its COCO evaluator keeps, and the fields of Instances, as JSON.

https://detectron2.readthedocs.io: an annotation has `bbox` with a `bbox_mode` (detectron2.structures.BoxMode),
`segmentation` as COCO has it and `keypoints` as a flat list. Instances have the columns `pred_boxes`, `scores`,
`pred_classes`, `pred_masks` and `pred_keypoints`.
"""

import math
from functools import partial
from typing import Any

from app.importers.base import Found, Json, Parts, Target, Told, frame_of, json_file, not_this_format, thing
from app.importers.columns import (
    IMAGE_KEYS,
    class_named,
    detection,
    each_row,
    keypoints_of,
    mask_of,
    one_of_images,
    rows,
    split_images,
    told_of_mask,
)
from app.importers.reading import Unfit, each, head, inner, kept, numbers, one, without

MODES: dict[str, Json] = {
    "XYXY_ABS": {"format": "xyxy"},
    "XYWH_ABS": {"format": "xywh"},
    "XYXY_REL": {"format": "xyxy", "normalized": True},
    "XYWH_REL": {"format": "xywh", "normalized": True},
    "XYWHA_ABS": {},
}
"""In the order of their numbers, from 0."""
XYWH = 1
_COLUMNS = ("scores", "pred_classes", "pred_masks", "pred_keypoints")
_INSTANCE = frozenset({"pred_boxes", *_COLUMNS})
_OWN = frozenset({"bbox", "bbox_mode", "category_id", "score", "segmentation", "keypoints", "image_id"})


def read_file(file: Any, target: Target) -> Found:
    """A dataset or predictions, as a list with an entry for each image; predictions as a flat list; or Instances."""
    if isinstance(file, dict):
        fields = file["instances"] if isinstance(file.get("instances"), dict) else file
        if "pred_boxes" not in fields and "pred_masks" not in fields:
            not_this_format("These are no Instances: `pred_boxes` or `pred_masks` is needed.")
        yield from one("instances" if fields is not file else "", fields, partial(_fields, target=target))
    elif isinstance(file, list) and any(isinstance(entry, dict) and _listed(entry) for entry in file):
        yield from one_of_images(file, "", target, partial(_image, target=target))
    elif isinstance(file, list):
        yield from _flat(file, target)
    else:
        not_this_format("This is no dataset of Detectron2, no predictions and no Instances.")


def split_file(file: Any) -> Parts | None:
    if isinstance(file, list) and any(isinstance(entry, dict) and _listed(entry) for entry in file):
        return split_images(file, "", _image)
    return split_images(file, "", partial(_entry, mode=XYWH, frame={}))


def _listed(entry: Json) -> str | None:
    return next((key for key in ("annotations", "instances") if key in entry), None)


def _image(place: str, entry: Json, *, target: Target) -> Found:
    key = _listed(entry)
    if key is None:
        raise Unfit("", "has neither annotations nor instances")
    known = (key, "height", "width", *IMAGE_KEYS)
    yield from head(entry, known, place, "says something of the image as a whole")
    frame = frame_of(entry.get("width"), entry.get("height"), target.frame)
    # annotations of a dataset must say how their boxes are meant; the evaluator always has XYWH_ABS
    mode = None if key == "annotations" else XYWH
    yield from inner(entry[key], place, key, partial(_entry, target=target, mode=mode, frame=frame))


def _flat(entries: list[Any], target: Target) -> Found:
    """`coco_instances_results.json`: one list for all images, which have ids."""
    read = partial(_entry, target=target, mode=XYWH, frame={})
    if not any(isinstance(entry, dict) and "image_id" in entry for entry in entries):
        yield from each(entries, "", read)
    else:
        yield from one_of_images(entries, "", target, read)


def _entry(place: str, entry: Json, *, target: Target, mode: int | None, frame: Json) -> Found:
    name, told, number = class_named(place, entry.get("category_id"), target.names, "category_id")
    yield from told
    about = {"class_name": name, "confidence": entry.get("score")}
    rest = number | without(entry, _OWN)
    keypoints = _keypoints(entry.get("keypoints"))
    if keypoints:
        keypoints |= frame
    how = _mode(entry.get("bbox_mode", mode)) if entry.get("bbox") is not None else None
    segmentation = entry.get("segmentation")
    if how == "XYWHA_ABS" and not segmentation:
        yield Told(place, "is a box that is turned, and becomes a polygon")
        polygon = {"points": _turned(entry["bbox"])} | frame | kept(rest, box={"box": entry["bbox"]})
        yield from thing(place, about, ("polygon", polygon), keypoints)
        return
    box = None if how is None else {"bbox": entry["bbox"], **MODES[how]}
    if box is not None and "normalized" not in box:
        box |= frame
    if isinstance(segmentation, list) and segmentation:
        mask: Json | None = {"format": "polygon", "polygons": segmentation} | frame
    else:
        mask = mask_of(segmentation or None, "segmentation")
    yield from detection(place, about, box, mask, keypoints, rest)


def _mode(mode: Any) -> str:
    """The name of a mode, of its number or of its name in any of the ways it is printed."""
    if type(mode) is int and 0 <= mode < len(MODES):
        return list(MODES)[mode]
    name = mode.removeprefix("BoxMode.") if isinstance(mode, str) else ""
    if name not in MODES:
        raise Unfit("bbox_mode", f"must be one of {', '.join(MODES)}, or its number")
    return name


def _turned(box: Any) -> list[list[float]]:
    """The corners of `[x, y, width, height, degrees]`: around its centre, counter-clockwise as one sees it."""
    x, y, width, height, degrees = numbers(box, 5, "bbox")
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1))
    half = [(a * width / 2, b * height / 2) for a, b in corners]
    return [[x + a * cos + b * sin, y - a * sin + b * cos] for a, b in half]


def _keypoints(flat: Any) -> Json | None:
    """`[x, y, third, x, y, third, …]`."""
    if not flat:
        return None
    if not isinstance(flat, list) or len(flat) % 3:
        raise Unfit("keypoints", "must be a list of x, y and a third number each")
    return keypoints_of([flat[i : i + 3] for i in range(0, len(flat), 3)], "keypoints")


# --- Instances ---------------------------------------------------------------------------------------------------


def _fields(place: str, fields: Json, *, target: Target) -> Found:
    known = ("pred_boxes", *_COLUMNS, "image_size")
    yield from head(fields, known, place, "says something of the image as a whole")
    size = fields.get("image_size")
    height, width = size if isinstance(size, list) and len(size) == 2 else (None, None)
    frame = frame_of(width, height, target.frame)
    first = "pred_boxes" if "pred_boxes" in fields else "pred_masks"
    yield from each_row(rows(fields, place, first, _COLUMNS), partial(_instance, target=target, frame=frame))


def _instance(place: str, row: Json, *, target: Target, frame: Json) -> Found:
    name, told, number = class_named(place, row.get("pred_classes"), target.names, "pred_classes")
    yield from told
    yield from told_of_mask(place, row.get("pred_masks"))
    about = {"class_name": name, "confidence": row.get("scores")}
    box = {"bbox": row["pred_boxes"], "format": "xyxy"} | frame if "pred_boxes" in row else None
    keypoints = keypoints_of(row.get("pred_keypoints"), "pred_keypoints")
    mask = mask_of(row.get("pred_masks"), "pred_masks")
    rest = number | without(row, _INSTANCE)
    yield from detection(place, about, box, mask, keypoints and keypoints | frame, rest)


FORMAT = json_file("Detectron2: datasets, predictions or Instances", read_file, split=split_file)
