"""COCO, https://cocodataset.org/#format-data and #format-results: a dataset of images, or the results of a model.

An entry is one thing: its mask, or else its box, and its keypoints beside it. A box and an area beside a mask are kept
with it. A mask is run-lengths or polygons in pixels, a box `[x, y, width, height]`.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any

from app.annotations.keypoint import MAX_LINES
from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Part,
    Parts,
    Refused,
    Target,
    Told,
    class_of,
    extra,
    frame_of,
    json_file,
    not_this_format,
    objects,
    thing,
    third_of_keypoints,
)
from app.importers.reading import by_image

OWN = frozenset({"image_id", "category_id", "bbox", "segmentation", "keypoints", "score"})
OTHER_IMAGE = "is of another image"
MAX_LISTED = 5


def read_dataset(file: Any, target: Target) -> Found:
    """`{images: […], annotations: […], categories: […]}`; the image by its id, or its file name in any folder."""
    image = _image_of(_images_of(file), target)
    yield from _of_whole(file)
    place = ""
    for index, other in enumerate(file["images"]):
        if other is image:
            place = f"images.{index}"
        else:
            yield LeftOut(f"images.{index}", "is another image")
    entries: list[tuple[str, Json]] = []
    for one in objects(file.get("annotations"), "annotations"):
        if isinstance(one, Refused):
            yield one
        elif _text(one[1].get("image_id")) != _text(image.get("id")):
            yield LeftOut(one[0], OTHER_IMAGE)
        else:
            entries.append(one)
    yield from _of_image(place, image, entries, _by_id(file.get("categories")), target)


def split_dataset(file: Any) -> Parts:
    images, categories = _images_of(file), _by_id(file.get("categories"))
    yield from _of_whole(file)
    entries: dict[str, list[tuple[str, Json]]] = {_text(image.get("id")): [] for image in _objects(images)}
    for one in objects(file.get("annotations"), "annotations"):
        if isinstance(one, Refused):
            yield one
        elif (number := _text(one[1].get("image_id"))) in entries:
            entries[number].append(one)
        else:
            yield Refused(one[0], "image_id", "is no image of the file")
    ids = Counter(_text(image.get("id")) for image in _objects(images))
    for found in objects(images, "images"):
        if isinstance(found, Refused):
            yield found
            continue
        place, image = found
        if ids[number := _text(image.get("id"))] > 1:
            yield Refused(place, "id", "is that of several images of the file")
        elif not _names_in_project(image):
            yield Refused(place, "file_name", "is missing")
        else:
            read = partial(_of_image, place, image, entries[number], categories)
            yield Part(_names_in_project(image), read)


def _of_image(
    place: str, image: Json, entries: list[tuple[str, Json]], categories: Mapping[str, Json], target: Target
) -> Found:
    for key in image.keys() - {"id", "file_name", "width", "height"}:
        yield LeftOut(f"{place}.{key}", "says something of the image")
    width, height = image.get("width"), image.get("height")
    frame = frame_of(width, height, target.frame)
    if frame and (height, width) == target.frame:
        yield Told("images", "gives the image's sides the other way round: is it the one that is upright?")
    for one in entries:
        yield from _entry(*one, frame, categories, target, third="visible")


def read_results(file: Any, target: Target) -> Found:
    """`[{image_id, category_id, score, …}, …]`; the image by its id, which often is the number in its file name."""
    if not isinstance(file, list):
        not_this_format(
            "This is no COCO results file: a list is needed. For an object, use the format `coco`."
        )
    stem = PurePosixPath(target.filename).stem
    calls = target.calls if target.called is not None else target.calls | {stem, stem.lstrip("0") or "0"}
    ids = [_text(entry.get("image_id")) for entry in _objects(file)]
    if ids and calls.isdisjoint(ids):
        not_this_format(_none_called(calls, ids))
    for one in objects(file, ""):
        if isinstance(one, Refused):
            yield one
        elif _text(one[1].get("image_id")) not in calls:
            yield LeftOut(one[0], OTHER_IMAGE)
        else:
            yield from _entry(*one, {}, {}, target, third=None)


def split_results(file: Any, dataset: Any = None) -> Parts:
    """`dataset` has the images by their ids, and the classes; without it the image is the one whose number this is."""
    if not isinstance(file, list):
        not_this_format(
            "This is no COCO results file: a list is needed. For an object, use the format `coco`."
        )
    images = {} if dataset is None else {_text(one.get("id")): one for one in _objects(_images_of(dataset))}
    categories = {} if dataset is None else _by_id(dataset.get("categories"))
    read = partial(_result, images=images, categories=categories)
    for found in by_image(file, "", lambda entry: [_text(entry.get("image_id"))], read):
        if isinstance(found, Part):
            image = images.get(found.names[0])
            yield (
                found._replace(bare=True) if image is None else found._replace(names=_names_in_project(image))
            )
        else:
            yield found


def _result(
    place: str, entry: Json, *, target: Target, images: Mapping[str, Json], categories: Mapping[str, Json]
) -> Found:
    image = images.get(_text(entry.get("image_id")), {})
    frame = frame_of(image.get("width"), image.get("height"), target.frame)
    return _entry(place, entry, frame, categories, target, third=None)


# --- which image -------------------------------------------------------------------------------------------------


def _image_of(images: list[Any], target: Target) -> Json:
    """The one entry of `images` that is meant. Raises InvalidPayload if it is none or several."""
    there = [*_objects(images)]
    found = [image for image in there if not target.calls.isdisjoint(_names_of(image))]
    if not found:
        not_this_format(_none_called(target.calls, (str(image.get("file_name")) for image in there)))
    if len(found) > 1:
        not_this_format(
            f"{len(found)} images of the file are called like this one; name its id with `called`."
        )
    return found[0]


def _images_of(file: Any) -> list[Any]:
    if not isinstance(file, dict) or not isinstance(file.get("images"), list):
        not_this_format("This is no COCO dataset: an object with `images` and `annotations` is needed.")
    images: list[Any] = file["images"]
    return images


def _of_whole(file: Json) -> Found:
    for name in file.keys() - {"images", "annotations", "categories"}:
        yield LeftOut(name, "says something of the whole dataset")
    categories = file.get("categories")
    for index, one in enumerate(categories if isinstance(categories, list) else ()):
        if not isinstance(one, dict) or "id" not in one:
            yield LeftOut(f"categories.{index}", "is no class with an id")
            continue
        for key in one.keys() - {"id", "name", "keypoints", "skeleton"}:
            yield LeftOut(
                f"categories.{index}.{key}", "says something of a class besides its name and keypoints"
            )


def _names_of(image: Json) -> set[str]:
    path = str(image.get("file_name"))
    return {path, PurePosixPath(path.replace("\\", "/")).name, _text(image.get("id"))}


def _names_in_project(image: Json) -> tuple[str, ...]:
    """By its id here, which Loupe's own export has, and its file's name; a number alone says nothing here."""
    return tuple(str(image[key]) for key in ("loupe_id", "file_name") if image.get(key) is not None)


def _objects(values: Iterable[Any]) -> Iterator[Json]:
    return (value for value in values if isinstance(value, dict))


def _none_called(calls: Iterable[str], there: Iterable[str]) -> str:
    some = [name[:80] for name in dict.fromkeys(there)]
    listed = ", ".join(some[:MAX_LISTED]) + (", …" if len(some) > MAX_LISTED else "")
    return (
        f"The file has no image called {' or '.join(sorted(calls))}. It has: {listed or 'none'}. "
        "If one of them is this image, name it with `called`."
    )


def _text(number: Any) -> str:
    """An id as text; 7 and 7.0 are the same one."""
    return str(int(number)) if isinstance(number, float) and number.is_integer() else str(number)


# --- one entry ---------------------------------------------------------------------------------------------------


def _by_id(categories: Any) -> dict[str, Json]:
    """The categories, whose skeletons count from 0: all annotations of one share it."""
    listed = categories if isinstance(categories, list) else []
    return {
        _text(one.get("id")): one | {"skeleton": _from_zero(one.get("skeleton"))}
        for one in listed
        if isinstance(one, dict) and "id" in one
    }


def _from_zero(lines: Any) -> Any:
    """Lines whose ends are counted from 1 in the file; as they are where there are too many, which is refused later."""
    if not isinstance(lines, list) or len(lines) > MAX_LINES:
        return lines
    return [
        [end - 1 if isinstance(end, int) else end for end in line] if isinstance(line, list) else line
        for line in lines
    ]


def _entry(
    place: str, entry: Json, frame: Json, categories: Mapping[str, Json], target: Target, third: str | None
) -> Found:
    number = entry.get("category_id")
    category = categories.get(_text(number), {})
    names = target.names if category.get("name") is None else {_text(number): category["name"]}
    class_name, told = class_of(place, None if number is None else _text(number), names)
    yield from told
    about = {"class_name": class_name, "confidence": entry.get("score")}
    if entry.get("iscrowd") not in (None, 0, False):
        yield Told(place, "is a crowd: `iscrowd` is kept in `data.extra`")
    mask, flat = entry.get("segmentation"), entry.get("keypoints")
    keypoints = None
    if flat:
        if not isinstance(flat, list) or len(flat) % 3:
            yield Refused(place, "keypoints", "must be a list of x, y and a third number each")
            return
        if any(flat[2::3]):
            keypoints = _keypoints(flat, category, third) | frame | extra(entry, OWN)
        else:
            yield LeftOut(place, "has keypoints of which none is labelled")
    if isinstance(mask, list) and mask:
        polygons = {"format": "polygon", "polygons": mask}
        kept = extra(entry, OWN - {"bbox"})
        yield from thing(place, about, ("segmentation", polygons | frame | kept), keypoints)
    elif isinstance(mask, dict):
        yield from thing(place, about, ("segmentation", _run_lengths(mask, entry)), keypoints)
    elif mask not in (None, []):
        yield Refused(place, "segmentation", "must be polygons, or an object with counts and size")
    elif entry.get("bbox"):
        box = {"bbox": entry["bbox"], "format": "xywh"} | frame | extra(entry, OWN)
        yield from thing(place, about, ("bounding_box", box), keypoints)
    elif keypoints:
        yield from thing(place, about, None, keypoints)
    else:
        yield Refused(place, "", "has neither bbox nor segmentation nor keypoints that are labelled")


def _run_lengths(mask: Json, entry: Json) -> Json:
    """`bbox` and `area` have a place of their own there."""
    beside = {name: entry[name] for name in ("bbox", "area") if entry.get(name) is not None}
    kept = extra({**mask, **entry}, OWN | {"counts", "size", "area"})
    return {"format": "rle", "counts": mask.get("counts"), "size": mask.get("size"), **beside, **kept}


def _keypoints(flat: list[Any], category: Json, third: str | None) -> Json:
    """With the category's names and lines."""
    names = category.get("keypoints")
    third = third or third_of_keypoints(flat[2::3])
    points = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    named = zip_longest(points, names[: len(flat) // 3] if isinstance(names, list) else [])
    data: Json = {
        "keypoints": [
            {**({"name": name} if name is not None else {}), "x": x, "y": y, third: value}
            for (x, y, value), name in named
        ]
    }
    lines = category.get("skeleton")
    if isinstance(lines, list) and lines:
        data["skeleton"] = lines
    return data


DATASET = json_file("COCO dataset", read_dataset, split=split_dataset)
RESULTS = json_file("COCO results", read_results, split=split_results)
