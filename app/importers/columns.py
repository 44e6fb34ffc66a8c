"""Detections as columns beside each other, `{boxes: […], scores: […], …}`, as libraries of models give them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from app.importers.base import (
    Found,
    Json,
    Parts,
    Target,
    Told,
    class_of,
    not_this_format,
    thing,
    third_of_keypoints,
)
from app.importers.masks import HALF, mask_data, rows_of
from app.importers.reading import Unfit, by_image, each_of_image, kept, one, under

IMAGE_KEYS = ("file_name", "image_id", "image", "img_path", "image_path", "filename", "path")


def rows(entry: Json, path: str, first: str, others: Iterable[str]) -> Iterator[tuple[str, Json]]:
    """A row for each entry of the column `first`, with what stands beside it, and its place.

    A column that is not there, or null, is not in the rows. Raises InvalidPayload for columns of different lengths.
    """
    length = _length(entry, path, first)
    there = [first, *(name for name in others if entry.get(name) is not None)]
    for name in there:
        if _length(entry, path, name) != length:
            reason = f"Has {len(entry[name])} entries, but {first} has {length}."
            not_this_format(reason, under(path, name))
    for i in range(length):
        yield under(under(path, first), i), {name: entry[name][i] for name in there}


def _length(entry: Json, path: str, name: str) -> int:
    if not isinstance(entry.get(name), list):
        not_this_format("Must be a list.", under(path, name))
    return len(entry[name])


def each_row(found: Iterable[tuple[str, Json]], read: Callable[[str, Json], Found]) -> Found:
    for place, row in found:
        yield from one(place, row, read)


def one_of_images(
    entries: list[Any], path: str | None, target: Target, read: Callable[[str, Json], Found]
) -> Found:
    """Of a list with an entry for each image that of this one, by a name in it, else by its number.

    `path` is None where the file is one such entry itself.
    """

    def names_of(entry: Json) -> list[Any]:
        named = [entry[key] for key in IMAGE_KEYS if isinstance(entry.get(key), str | int)]
        return named or ([numbers[id(entry)]] if len(entries) > 1 else [])

    numbers = {id(entry): i for i, entry in enumerate(entries)}
    if path is None:
        return one("", entries[0], read)
    return each_of_image(entries, path, names_of, target, read)


def split_images(entries: Any, path: str, read: Callable[..., Found]) -> Parts | None:
    """A part for each image that a list names; None where it names none, and is of one image."""
    if not isinstance(entries, list) or not any(
        isinstance(entry, dict) and named_in(entry) for entry in entries
    ):
        return None
    return by_image(entries, path, named_in, read)


def named_in(entry: Json) -> list[Any]:
    """What an entry calls its image; a number only where it has nothing else."""
    there = [entry[key] for key in IMAGE_KEYS if isinstance(entry.get(key), str | int)]
    return [name for name in there if isinstance(name, str)] or there


def class_named(
    place: str, number: Any, names: Mapping[str, Any], field: str, name: Any = None
) -> tuple[Any, list[Told], Json]:
    """The class: the name the file has, else that of its number; what to tell of it; the number, where it has a name.

    Raises Unfit for a number that is none.
    """
    if number is not None and (type(number) not in (int, float, str) or number != number):
        raise Unfit(field, "must be the number of a class")
    if type(number) is float and number.is_integer():
        number = int(number)
    told: list[Told] = []
    if name is None:
        name, told = class_of(place, number, names)
    return name, told, {field: number} if number is not None and not told and number != name else {}


# --- what a row has ----------------------------------------------------------------------------------------------


def detection(
    place: str, about: Json, box: Json | None, mask: Json | None, keypoints: Json | None, rest: Json
) -> Found:
    """One thing: its mask, or else its box, and its keypoints beside it. `box` has `bbox` and how it is meant."""
    beside = kept(rest)
    if mask is not None:
        boxed = {"box": box["bbox"]} if box is not None and box.get("bbox") is not None else {}
        yield from thing(place, about, ("segmentation", mask | kept(rest, mask=boxed)), keypoints)
    elif box is not None:
        points = keypoints | beside if keypoints else None
        yield from thing(place, about, ("bounding_box", box | beside), points)
    elif keypoints is not None:
        yield from thing(place, about, None, keypoints | beside)
    else:
        raise Unfit("", "has neither a box nor a mask nor keypoints")


def mask_of(value: Any, field: str) -> Json | None:
    """COCO run-lengths as they are, or a mask as rows; None where there is none."""
    if value is None:
        return None
    if isinstance(value, dict):
        return {"format": "rle", "counts": value.get("counts"), "size": value.get("size")}
    return mask_data(rows_of(value, field), field)


def told_of_mask(place: str, value: Any) -> Found:
    if isinstance(value, list):
        yield Told(place, f"has a mask as rows of pixels: those above {HALF} become COCO run-lengths")


def keypoints_of(value: Any, field: str, scores: Any = None) -> Json | None:
    """`[[x, y, third], …]` or `[[x, y], …]`; `scores` are their confidences."""
    if value is None:
        return None
    if not isinstance(value, list) or not all(
        isinstance(point, list) and len(point) in (2, 3) for point in value
    ):
        raise Unfit(field, "must be a list of [x, y] or [x, y, number]")
    if scores is not None and (not isinstance(scores, list) or len(scores) != len(value)):
        raise Unfit(field, f"has {len(value)} points, but not as many scores")
    third = third_of_keypoints(point[2] for point in value if len(point) == 3)
    points = [
        {"x": point[0], "y": point[1]} | ({third: point[2]} if len(point) == 3 else {}) for point in value
    ]
    for point, score in zip(points, scores or (), strict=False):
        point["confidence"] = score
    return {"keypoints": points}
