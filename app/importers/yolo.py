"""YOLO text, https://docs.ultralytics.com/datasets/detect/ (and segment, pose, obb): a line for each thing.

A class number, then coordinates from 0 to 1: a box as its centre, width and height; or the corners of an outline; or,
where it is told how many, keypoints after a box. Predictions have the confidence after these (`save_conf=True`), and
the id of a track last: a whole number, 1 or above. All lines of a file have one, or none has.
"""

import re

from app.importers.base import (
    Found,
    Json,
    Refused,
    Target,
    Told,
    class_of,
    text_file,
    thing,
    third_of_keypoints,
)

NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
CLASS = re.compile(r"[0-9]{1,9}")
BOX = 4  # its numbers
NOT_A_LINE = "must be a class number and coordinates, with spaces between them"
UNCLEAR = "ends with 1, read as a coordinate or the confidence; if it is the id of a track, say `tracks`"


def read(lines: list[str], target: Target) -> Found:
    """The lines of one image."""
    count = target.keypoints or 0
    told = [(words, _after(words, count) if _is_line(words) else None) for words in map(str.split, lines)]
    ends = [after for _, after in told if after is not None]
    tracked = target.tracks or any(_ends_with_track(after, count) for after in ends)
    unclear = not tracked and all(_ends_with_whole(after) and int(after[-1]) == 1 for after in ends)
    for index, (words, after) in enumerate(told, 1):
        if not words:
            continue
        place = f"line {index}"
        if after is None:
            yield Refused(place, "", NOT_A_LINE)
            continue
        number, *rest = words
        name, nameless = class_of(place, int(number), target.names)
        yield from nameless
        track: Json = {}
        if tracked and _ends_with_whole(after):
            track = {"extra": {"track_id": int(rest.pop())}}
        elif unclear:
            yield Told(place, UNCLEAR)
        values = [float(word) for word in rest]
        about: Json = {"class_name": name}
        yield from _pose(place, about, values, count, track) if count else _shape(place, about, values, track)


def _is_line(words: list[str]) -> bool:
    return bool(words) and CLASS.fullmatch(words[0]) is not None and all(map(NUMBER.fullmatch, words[1:]))


def _after(words: list[str], count: int) -> list[str]:
    """What comes after the box, and after the keypoints where a line has so many; nothing where they do not fit."""
    size = _size(len(words) - 1, count, 2)
    return words[1 + BOX + size * count :] if size else []


def _ends_with_whole(after: list[str]) -> bool:
    return bool(after) and CLASS.fullmatch(after[-1]) is not None


def _ends_with_track(after: list[str], count: int) -> bool:
    """Whether the last number can only be the id of a track: no coordinate and no confidence is above 1.

    After keypoints there is one confidence, so that a second number is the id.
    """
    return _ends_with_whole(after) and (int(after[-1]) > 1 or (count > 0 and len(after) > 1))


def _size(numbers: int, count: int, after: int) -> int:
    """How many numbers each of so many keypoints has, 3 or 2, with at most `after` behind them; 0 where neither fits.

    Any number may come after a box without keypoints.
    """
    return next((size for size in (3, 2) if 0 <= numbers - BOX - size * count <= after or not count), 0)


def _shape(place: str, about: Json, values: list[float], track: Json) -> Found:
    """A box or an outline, and perhaps a confidence."""
    if len(values) in (BOX, BOX + 1):
        about["confidence"] = values[BOX] if len(values) > BOX else None
        yield from thing(place, about, ("bounding_box", _box(values) | track), None)
    elif len(values) > BOX + 1:
        about["confidence"] = values.pop() if len(values) % 2 else None
        outline = {"format": "polygon", "polygons": [values], "normalized": True}
        yield from thing(place, about, ("segmentation", outline | track), None)
    else:
        yield Refused(place, "", NOT_A_LINE)


def _box(values: list[float]) -> Json:
    return {"bbox": values[:BOX], "format": "cxcywh", "normalized": True}


def _pose(place: str, about: Json, values: list[float], count: int, track: Json) -> Found:
    """A box, `count` keypoints of two or three numbers each, and perhaps a confidence."""
    rest, size = values[BOX:], _size(len(values), count, 1)
    if not size:
        yield Refused(place, "", f"must have a box and {count} keypoints of 2 or 3 numbers each")
        return
    flat, after = rest[: size * count], rest[size * count :]
    about["confidence"] = after[0] if after else None
    points = [flat[start : start + size] for start in range(0, len(flat), size)]
    names = ("x", "y", third_of_keypoints(flat[2::size]) if size == 3 else "")
    keypoints = {
        "keypoints": [dict(zip(names, point, strict=False)) for point in points],
        "normalized": True,
    } | track
    yield from thing(place, about, ("bounding_box", _box(values) | track), keypoints)


FORMAT = text_file("YOLO labels or predictions, text", read, endings=(".txt",))
