"""YOLO text, https://docs.ultralytics.com/datasets/detect/ (and segment, pose, obb): a line for each thing.

A class number, then coordinates from 0 to 1: a box as its centre, width and height; or the corners of an outline; or,
where it is told how many, keypoints after a box. Predictions have the confidence after these (`save_conf=True`), and
the id of a track last.
"""

import re

from app.importers.base import (
    Found,
    Json,
    Refused,
    Target,
    class_of,
    text_file,
    thing,
    third_of_keypoints,
)

NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
CLASS = re.compile(r"[0-9]{1,9}")
BOX = 4  # its numbers
NOT_A_LINE = "must be a class number and coordinates, with spaces between them"


def read(lines: list[str], target: Target) -> Found:
    """The lines of one image."""
    told = [line.split() for line in lines]
    tracked = not target.keypoints and any(_is_track(words) for words in told)
    for index, words in enumerate(told, 1):
        if not words:
            continue
        place = f"line {index}"
        number, *rest = words
        if not CLASS.fullmatch(number) or not all(map(NUMBER.fullmatch, rest)):
            yield Refused(place, "", NOT_A_LINE)
            continue
        name, nameless = class_of(place, int(number), target.names)
        yield from nameless
        values = [float(word) for word in rest]
        track = {"extra": {"track_id": int(values.pop())}} if tracked and len(values) > BOX else {}
        about: Json = {"class_name": name}
        if target.keypoints:
            yield from _pose(place, about, values, target.keypoints)
        elif len(values) in (BOX, BOX + 1):
            about["confidence"] = values[BOX] if len(values) > BOX else None
            yield from thing(place, about, ("bounding_box", _box(values) | track), None)
        elif len(values) > BOX + 1:
            about["confidence"] = values.pop() if len(values) % 2 else None
            outline = {"format": "polygon", "polygons": [values], "normalized": True}
            yield from thing(place, about, ("segmentation", outline | track), None)
        else:
            yield Refused(place, "", NOT_A_LINE)


def _is_track(words: list[str]) -> bool:
    """Whether the last number can only be the id of a track: no coordinate and no confidence is above 1."""
    return len(words) > BOX + 1 and CLASS.fullmatch(words[-1]) is not None and int(words[-1]) > 1


def _box(values: list[float]) -> Json:
    return {"bbox": values[:BOX], "format": "cxcywh", "normalized": True}


def _pose(place: str, about: Json, values: list[float], count: int) -> Found:
    """A box, `count` keypoints of two or three numbers each, and perhaps a confidence and a track."""
    rest = values[BOX:]
    size = next((size for size in (3, 2) if 0 <= len(rest) - size * count <= 2), 0)
    if not size:
        yield Refused(place, "", f"must have a box and {count} keypoints of 2 or 3 numbers each")
        return
    flat, after = rest[: size * count], rest[size * count :]
    about["confidence"] = after[0] if after else None
    points = [flat[start : start + size] for start in range(0, len(flat), size)]
    names = ("x", "y", third_of_keypoints(flat[2::size]) if size == 3 else "")
    kept: Json = {"extra": {"track_id": after[1]}} if len(after) > 1 else {}
    keypoints = {
        "keypoints": [dict(zip(names, point, strict=False)) for point in points],
        "normalized": True,
    } | kept
    yield from thing(place, about, ("bounding_box", _box(values) | kept), keypoints)


FORMAT = text_file("YOLO labels or predictions, text", read, endings=(".txt",))
