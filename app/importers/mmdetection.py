"""What MMDetection 3's DetInferencer writes to `preds/NAME.json`: `{labels, scores, bboxes, masks}` of one image.

https://mmdetection.readthedocs.io/en/latest/user_guides/inference.html: boxes are `[x1, y1, x2, y2]` in pixels, masks
COCO run-lengths. What the call itself gives, `{predictions: […]}`, is read too.
"""

from functools import partial
from typing import Any

from app.importers.base import Found, Json, Parts, Target, json_file, not_this_format
from app.importers.columns import (
    IMAGE_KEYS,
    class_named,
    detection,
    each_row,
    mask_of,
    one_of_images,
    rows,
    split_images,
    told_of_mask,
)
from app.importers.reading import head, without

_COLUMNS = ("labels", "scores", "masks", "bboxes")
_OWN = frozenset(_COLUMNS)


def read_predictions(file: Any, target: Target) -> Found:
    """One image's, a list of them, or `{predictions: [of an image, …]}`."""
    path: str | None = None if isinstance(file, dict) else ""
    images = [file] if isinstance(file, dict) else file
    if isinstance(file, dict) and "predictions" in file:
        yield from head(file, ("predictions", "visualization"), "", "says something of all predictions")
        images, path = file["predictions"], "predictions"
    if not isinstance(images, list) or not all(isinstance(one, dict) and "labels" in one for one in images):
        not_this_format(
            "These are no predictions of MMDetection: an object with `labels` and `bboxes` is needed."
        )
    if images:
        yield from one_of_images(images, path, target, partial(_image, target=target))


def split_predictions(file: Any) -> Parts | None:
    listed = isinstance(file, dict) and "predictions" in file
    return (
        split_images(file["predictions"], "predictions", _image) if listed else split_images(file, "", _image)
    )


def _image(place: str, prediction: Json, *, target: Target) -> Found:
    yield from head(prediction, (*_COLUMNS, *IMAGE_KEYS), place, "says something of the image as a whole")
    names = [name for name in _COLUMNS if name != "labels"]
    yield from each_row(rows(prediction, place, "labels", names), partial(_row, target=target))


def _row(place: str, row: Json, *, target: Target) -> Found:
    name, told, number = class_named(place, row["labels"], target.names, "labels")
    yield from told
    yield from told_of_mask(place, row.get("masks"))
    about = {"class_name": name, "confidence": row.get("scores")}
    box = {"bbox": row["bboxes"], "format": "xyxy"} if "bboxes" in row else None
    rest = number | without(row, _OWN)
    yield from detection(place, about, box, mask_of(row.get("masks"), "masks"), None, rest)


FORMAT = json_file("MMDetection: predictions of its inferencer", read_predictions, split=split_predictions)
