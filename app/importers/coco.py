"""COCO, https://cocodataset.org/#format-data and #format-results: a dataset of images, or the results of a model.

An entry is one thing: its mask, or else its box, and its keypoints beside it. A box and an area beside a mask are kept
with it. A mask is run-lengths or polygons in pixels, a box `[x, y, width, height]`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Part,
    Parts,
    Refused,
    Target,
    Told,
    frame_of,
    json_file,
    not_this_format,
    objects,
)
from app.importers.coco_entries import analysis_of, by_id, read_entry, text_of
from app.importers.reading import MAX_LISTED, OTHER_IMAGE, by_image, without_noughts

Entries: TypeAlias = list[tuple[str, Json]]  # with their places

OTHER_ANALYSIS = "is of another analysis"


def read_dataset(file: Any, target: Target) -> Found:
    """`{images: […], annotations: […], categories: […]}`; the image by its id, or its file name in any folder."""
    image = _image_of(_images_of(file), target, _image_ids(file).get(target.called or ""))
    number = text_of(image.get("id"))
    if sum(text_of(other.get("id")) == number for other in _objects(file["images"])) > 1:
        not_this_format(f"The id {number} of the image is that of several images of the file.")
    yield from _of_whole(file)
    place = ""
    for index, other in enumerate(file["images"]):
        if other is image:
            place = f"images.{index}"
        else:
            yield LeftOut(f"images.{index}", "is another image")
    entries: Entries = []
    for one in objects(file.get("annotations"), "annotations"):
        if isinstance(one, Refused):
            yield one
        elif text_of(one[1].get("image_id")) != number:
            yield LeftOut(one[0], OTHER_IMAGE)
        else:
            entries.append(one)
    yield from _of_image(place, image, entries, by_id(file.get("categories")), target)


def _of_one_analysis(entries: Entries, target: Target) -> Iterator[tuple[str, Json] | LeftOut]:
    """All of them, or of Loupe's own export those of one analysis. Raises InvalidPayload when it is not told which."""
    found = {analysis_of(entry) for _, entry in entries}
    if len(found) > 1 and target.called not in found:
        listed = ", ".join(sorted(str(name)[:36] for name in found)[:MAX_LISTED])
        not_this_format(
            f"{len(found)} analyses of the file are of this image. Name one by its id with `called`: {listed}."
        )
    for place, entry in entries:
        is_ours = len(found) == 1 or analysis_of(entry) == target.called
        yield (place, entry) if is_ours else LeftOut(place, OTHER_ANALYSIS)


def _image_ids(file: Json) -> dict[str, str]:
    """Of Loupe's own export the ids of its analyses, with those of their images here."""
    listed = file.get("analyses")
    return {
        str(one.get("id")): str(one.get("image_id"))
        for one in _objects(listed if isinstance(listed, list) else ())
    }


def split_dataset(file: Any) -> Parts:
    images, categories = _images_of(file), by_id(file.get("categories"))
    yield from _of_whole(file)
    entries: dict[str, Entries] = {text_of(image.get("id")): [] for image in _objects(images)}
    for one in objects(file.get("annotations"), "annotations"):
        if isinstance(one, Refused):
            yield one
        elif (number := text_of(one[1].get("image_id"))) in entries:
            entries[number].append(one)
        else:
            yield Refused(one[0], "image_id", "is no image of the file")
    analyses = defaultdict(list)
    for analysis_id, image_id in _image_ids(file).items():
        analyses[image_id].append(analysis_id)
    ids = Counter(text_of(image.get("id")) for image in _objects(images))
    for found in objects(images, "images"):
        if isinstance(found, Refused):
            yield found
            continue
        place, image = found
        if ids[number := text_of(image.get("id"))] > 1:
            yield Refused(
                place, "id", f"is that of several images, and of {len(entries[number])} annotations"
            )
        elif not _names_in_project(image):
            yield Refused(
                place, "file_name", f"is missing, of an image with {len(entries[number])} annotations"
            )
        else:
            of_analyses = dict[str, Entries]({name: [] for name in analyses[str(image.get("loupe_id"))]})
            for entry in entries[number]:
                of_analyses.setdefault(analysis_of(entry[1]) or "", []).append(entry)
            for key, some in (of_analyses or {"": []}).items():
                read = partial(_of_image, place, image, some, categories)
                yield Part(_names_in_project(image), read, key=key)


def _of_image(
    place: str, image: Json, entries: Entries, categories: Mapping[str, Json], target: Target
) -> Found:
    for key in image.keys() - {"id", "file_name", "width", "height"}:
        yield LeftOut(f"{place}.{key}", "says something of the image")
    width, height = image.get("width"), image.get("height")
    frame = frame_of(width, height, target.frame)
    if frame and (height, width) == target.frame:
        yield Told("images", "gives the image's sides the other way round: is it the one that is upright?")
    for one in _of_one_analysis(entries, target):
        if isinstance(one, LeftOut):
            yield one
        else:
            yield from read_entry(*one, frame, categories, target, third="visible")


def read_results(file: Any, target: Target) -> Found:
    """`[{image_id, category_id, score, …}, …]`; the image by its id, which often is the number in its file name."""
    if not isinstance(file, list):
        not_this_format(
            "This is no COCO results file: a list is needed. For an object, use the format `coco`."
        )
    stem = PurePosixPath(target.filename).stem
    calls = target.calls if target.called is not None else target.calls | {stem, without_noughts(stem)}
    ids = [text_of(entry.get("image_id")) for entry in _objects(file)]
    if target.called is not None:
        calls |= {ids[i] for i, entry in enumerate(_objects(file)) if analysis_of(entry) == target.called}
    if ids and calls.isdisjoint(ids):
        not_this_format(_none_called(calls, ids))
    _check_names(_classes_of(file), target)
    entries: Entries = []
    for one in objects(file, ""):
        if isinstance(one, Refused):
            yield one
        elif text_of(one[1].get("image_id")) not in calls:
            yield LeftOut(one[0], OTHER_IMAGE)
        else:
            entries.append(one)
    for found in _of_one_analysis(entries, target):
        if isinstance(found, LeftOut):
            yield found
        else:
            yield from read_entry(*found, {}, {}, target, third=None)


def split_results(file: Any, dataset: Any = None) -> Parts:
    """`dataset` has the images by their ids, and the classes; without it the image is the one whose number this is."""
    if not isinstance(file, list):
        not_this_format(
            "This is no COCO results file: a list is needed. For an object, use the format `coco`."
        )
    images: dict[str, list[Json]] = defaultdict(list)
    for image in _objects(_images_of(dataset) if dataset is not None else ()):
        images[text_of(image.get("id"))].append(image)
    categories = {} if dataset is None else by_id(dataset.get("categories"))
    first = {number: some[0] for number, some in images.items()}
    read = partial(_result, images=first, categories=categories, classes=_classes_of(file))
    parts = by_image(file, "", _number_of, read, key_of=lambda entry: analysis_of(entry) or "")
    if dataset is None:
        return (one._replace(bare=True) if isinstance(one, Part) else one for one in parts)
    return _beside_dataset(file, parts, images)


def _beside_dataset(file: list[Any], parts: Parts, images: Mapping[str, list[Json]]) -> Parts:
    """The parts by the names that the dataset has; each entry whose image it does not name is refused."""
    for one in objects(file, ""):
        if not isinstance(one, Refused) and (fault := _fault_of(images[text_of(one[1].get("image_id"))])):
            yield Refused(one[0], "image_id", fault)
    for found in parts:
        if not isinstance(found, Part):
            yield found
        elif not _fault_of(there := images[found.names[0]]):
            yield found._replace(names=_names_in_project(there[0]))


def _fault_of(images: list[Json]) -> str | None:
    """Why these, all that the dataset has of one id, do not name the image."""
    if not images:
        return "is no image of the dataset"
    if len(images) > 1:
        return "is that of several images of the dataset"
    return None if _names_in_project(images[0]) else "is an image of the dataset without a file name"


def _number_of(entry: Json) -> list[str]:
    return [text_of(entry.get("image_id"))]


def _classes_of(file: list[Any]) -> set[str]:
    return {text_of(entry.get("category_id")) for entry in _objects(file)}


def _check_names(classes: set[str], target: Target) -> None:
    """Raises InvalidPayload where the classes are counted from 1 and the names from 0."""
    count = len(target.names)
    if (
        count
        and "0" not in classes
        and str(count) in classes
        and target.names.keys() == {*map(str, range(count))}
    ):
        not_this_format(
            f"The classes seem to be numbered from 1 to {count}, but the names from 0: "
            'name them with their numbers, `{"1": "leaf"}`.'
        )


def _result(
    place: str,
    entry: Json,
    *,
    target: Target,
    images: Mapping[str, Json],
    categories: Mapping[str, Json],
    classes: set[str],
) -> Found:
    if not categories:
        _check_names(classes, target)
    image = images.get(text_of(entry.get("image_id")), {})
    frame = frame_of(image.get("width"), image.get("height"), target.frame)
    return read_entry(place, entry, frame, categories, target, third=None)


# --- which image -------------------------------------------------------------------------------------------------


def _image_of(images: list[Any], target: Target, called: str | None) -> Json:
    """The one entry of `images` that is meant. Raises InvalidPayload if it is none or several.

    In Loupe's own export by its id here: its own, or `called`, that of the image whose analysis is called.
    """
    there = [*_objects(images)]
    own = called or (str(target.image_id) if target.called is None else "")
    found = [image for image in there if image.get("loupe_id") == own and own]
    found = found or [image for image in there if not target.calls.isdisjoint(_names_of(image))]
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
        for key in one.keys() - {"id", "name", "keypoints", "skeleton", "loupe_class"}:
            yield LeftOut(
                f"categories.{index}.{key}", "says something of a class besides its name and keypoints"
            )


def _names_of(image: Json) -> set[str]:
    path = str(image.get("file_name"))
    return {path, PurePosixPath(path.replace("\\", "/")).name, text_of(image.get("id"))}


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


DATASET = json_file("COCO dataset", read_dataset, split=split_dataset)
RESULTS = json_file("COCO results", read_results, split=split_results)
