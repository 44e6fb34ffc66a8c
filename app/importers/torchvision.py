"""What detection models of torchvision give, with tensors as lists: `{boxes, labels, scores, masks, keypoints}`.

https://pytorch.org/vision/stable/models.html: boxes are `[x1, y1, x2, y2]` in pixels, masks `[N, 1, H, W]` of
probabilities that are cut at 0.5, keypoints `[x, y, visibility]`, whose scores are no probabilities. Masks may be COCO
run-lengths too.
"""

from functools import partial
from typing import Any

from app.importers.base import Found, Json, Parts, Target, json_file, not_this_format
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
from app.importers.reading import head, without

_COLUMNS = ("labels", "scores", "masks", "keypoints", "keypoints_scores")
_OWN = frozenset({"boxes", "labels", "scores", "masks", "keypoints"})


def read_outputs(file: Any, target: Target) -> Found:
    """One image's, or a list of them as the models give it."""
    images = [file] if isinstance(file, dict) else file
    if not isinstance(images, list) or not all(isinstance(one, dict) and "boxes" in one for one in images):
        not_this_format(
            "These are no outputs of torchvision: an object with `boxes` is needed, or a list of them."
        )
    if images:
        path = "" if isinstance(file, list) else None
        yield from one_of_images(images, path, target, partial(_image, target=target))


def split_outputs(file: Any) -> Parts | None:
    return split_images(file, "", _image)


def _image(place: str, output: Json, *, target: Target) -> Found:
    own = ("boxes", *_COLUMNS, *IMAGE_KEYS)
    yield from head(output, own, place, "says something of the image as a whole")
    yield from each_row(rows(output, place, "boxes", _COLUMNS), partial(_row, target=target))


def _row(place: str, row: Json, *, target: Target) -> Found:
    name, told, number = class_named(place, row.get("labels"), target.names, "labels")
    yield from told
    yield from told_of_mask(place, row.get("masks"))
    about = {"class_name": name, "confidence": row.get("scores")}
    box = {"bbox": row["boxes"], "format": "xyxy"}
    keypoints = keypoints_of(row.get("keypoints"), "keypoints")
    rest = number | without(row, _OWN)
    yield from detection(place, about, box, mask_of(row.get("masks"), "masks"), keypoints, rest)


FORMAT = json_file("torchvision: outputs of detection models", read_outputs, split=split_outputs)
