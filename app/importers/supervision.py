"""Roboflow's supervision (https://supervision.roboflow.com): the rows of its JSONSink, or Detections as JSON."""

from functools import partial
from typing import Any

from app.importers.base import Found, Json, LeftOut, Parts, Target, json_file, not_this_format
from app.importers.columns import (
    IMAGE_KEYS,
    class_named,
    detection,
    each_row,
    mask_of,
    rows,
    split_images,
    told_of_mask,
)
from app.importers.reading import each, each_of_image, head, says_nothing, without

CORNERS = ("x_min", "y_min", "x_max", "y_max")
_COLUMNS = ("mask", "confidence", "class_id", "tracker_id")
_OWN = frozenset({*CORNERS, "xyxy", "mask", "class_id", "class_name", "confidence"})


def read_detections(file: Any, target: Target) -> Found:
    """`[{x_min, …, class_id, confidence, tracker_id, …}, …]` of a JSONSink, or `{xyxy, confidence, …, data}`."""
    read = partial(_row, target=target)
    if isinstance(file, list):
        named = any(_images_of(row) for row in file if isinstance(row, dict))
        yield from each_of_image(file, "", _images_of, target, read) if named else each(file, "", read)
        return
    if not isinstance(file, dict) or "xyxy" not in file:
        not_this_format(
            "These are no rows of a JSONSink, and no Detections: an object with `xyxy` is needed."
        )
    yield from head(file, ("xyxy", "data", *_COLUMNS), "", "says something of the detections as a whole")
    data = {} if says_nothing(file.get("data")) else file["data"]
    if not isinstance(data, dict):
        not_this_format("Must be an object of columns.", "data")
    for name in (name for name in data if name in file):
        yield LeftOut(f"data.{name}", "is called like a column that the Detections have themselves")
    own = [*_COLUMNS, *(name for name in data if name not in file)]
    yield from each_row(rows(data | file, "", "xyxy", own), read)


def split_rows(file: Any) -> Parts | None:
    return split_images(file, "", _row)


def _images_of(row: Json) -> list[str]:
    """The names of images among what the program wrote beside the detections."""
    return [row[key] for key in IMAGE_KEYS if isinstance(row.get(key), str)]


def _row(place: str, row: Json, *, target: Target) -> Found:
    """A JSONSink writes "" for what there is not."""
    values = {key: None if says_nothing(value) else value for key, value in row.items()}
    name, told, number = class_named(
        place, values.get("class_id"), target.names, "class_id", values.get("class_name")
    )
    yield from told
    yield from told_of_mask(place, values.get("mask"))
    corners = row["xyxy"] if "xyxy" in row else [row.get(key) for key in CORNERS]
    about = {"class_name": name, "confidence": values.get("confidence")}
    mask = mask_of(values.get("mask"), "mask")
    rest = number | without(row, _OWN)
    yield from detection(place, about, {"bbox": corners, "format": "xyxy"}, mask, None, rest)


FORMAT = json_file("supervision: rows of a JSONSink, or Detections", read_detections, split=split_rows)
