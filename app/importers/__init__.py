"""Files of other tools as annotations: one module for each format.

To add a format: a module with a function that reads it (base.py says what it gives), its line in `FORMATS`, its name
at the options that it reads in `READ_BY`, its row in `docs/importing.md` and its files in `tests/data/importers/`.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from app.errors import InvalidPayload, TooManyAnnotations
from app.importers import (
    azure_vision,
    coco,
    detectron2,
    fiftyone,
    geojson,
    google_vision,
    label_studio,
    loupe,
    loupe_lines,
    mmdetection,
    rekognition,
    supervision,
    torchvision,
    ultralytics,
    yolo,
)
from app.importers.base import (
    Found,
    Importer,
    LeftOut,
    Part,
    Parts,
    Refused,
    Taken,
    Target,
    Told,
    not_this_format,
)
from app.schemas.annotations import Bulk, Unread, load_bulk
from app.schemas.base import MAX_ERRORS

__all__ = [
    "FORMATS",
    "READ_BY",
    "Importer",
    "Part",
    "Split",
    "Target",
    "load_file",
    "load_found",
    "split_file",
    "unread",
]

FORMATS: dict[str, Importer] = {
    "json": loupe.JSON,
    "ndjson": loupe_lines.FORMAT,
    "coco": coco.DATASET,
    "coco-results": coco.RESULTS,
    "ultralytics": ultralytics.FORMAT,
    "yolo": yolo.FORMAT,
    "label-studio": label_studio.FORMAT,
    "geojson": geojson.FORMAT,
    "supervision": supervision.FORMAT,
    "fiftyone": fiftyone.FORMAT,
    "torchvision": torchvision.FORMAT,
    "detectron2": detectron2.FORMAT,
    "mmdetection": mmdetection.FORMAT,
    "rekognition": rekognition.FORMAT,
    "google-vision": google_vision.FORMAT,
    "azure-vision": azure_vision.FORMAT,
}

_NUMBERED = {"coco", "coco-results", "ultralytics", "yolo", "supervision", "fiftyone"}
_COLUMNS = {"torchvision", "detectron2", "mmdetection"}
READ_BY: dict[str, frozenset[str]] = {
    "names": frozenset(_NUMBERED | _COLUMNS),
    "called": frozenset(FORMATS.keys() - {"ultralytics", "yolo", "geojson", "rekognition", "azure-vision"}),
    "normalized": frozenset({"ultralytics"}),
    "keypoints": frozenset({"yolo"}),
    "tracks": frozenset({"yolo"}),
}
"""What the caller may say of a file besides its format, and the formats that read it; for others it means nothing."""

MAX_FOUND = 1_000_000  # things in a file, of this image and of others
MAX_GROWTH = 8  # times its size that a file may become as data, which is repeated where annotations share it
MAX_SMALL = 16 * 1024 * 1024  # bytes of data that any file may become
MAX_PLACES = 3  # that are named as examples
MAX_KINDS = 50
LONGEST = 200  # characters of a key or place that is repeated


def unread(format: str, given: Iterable[str]) -> list[str]:
    """Which of these parameters are options that the format does not read."""
    return [name for name in given if name in READ_BY and format not in READ_BY[name]]


def load_file(
    body: bytes, format: str, target: Target, *, mode: str, batch: str, at_most: int, skips: bool = False
) -> Bulk:
    """A file as a bulk request, validated as one; every index has its place in the file beside it.

    Raises what `load_bulk` raises, and MalformedRequest or InvalidPayload for a file that is none of this format.
    """
    importer = FORMATS[format]
    found = importer.read(importer.parse(body), target)
    return load_found(
        found, format, target, size=len(body), mode=mode, batch=batch, at_most=at_most, skips=skips
    )


@dataclass(frozen=True)
class Split:
    """A file of many images: a part for each, and what there is to say of the whole, as in a receipt."""

    parts: list[Part]
    said: dict[str, Any]


def split_file(body: bytes, format: str, dataset: bytes | None = None) -> Split | None:
    """None where the format, or this file of it, is of one image. `dataset` is a COCO dataset, beside its results.

    Raises MalformedRequest or InvalidPayload for a file that is none of this format.
    """
    importer = FORMATS[format]
    if importer.split is None:
        return None
    beside = () if dataset is None else (importer.parse(dataset),)
    found = importer.split(importer.parse(body), *beside)
    if found is None:
        return None
    parts: list[Part] = []
    contents = _gather(_without_parts(found, parts), MAX_FOUND, 0)
    faults = [
        {"place": place, "errors": [{"field": one.field, "reason": one.reason}]}
        for place, one in zip(contents.places, contents.items, strict=True)
    ]
    said = contents.said(format)
    said.pop("annotations")
    return Split(
        parts, said | ({"skipped": faults[:MAX_ERRORS], "skipped_count": len(faults)} if faults else {})
    )


def _without_parts(found: Parts, parts: list[Part]) -> Found:
    for one in found:
        if isinstance(one, Part):
            parts.append(one)
        else:
            yield one


def load_found(
    found: Found,
    format: str,
    target: Target,
    *,
    size: int,
    mode: str,
    batch: str,
    at_most: int,
    skips: bool = False,
) -> Bulk:
    """What an importer finds, as `load_file` has it; `size` is that of the file in bytes."""
    contents = _gather(found, at_most, MAX_GROWTH * size + MAX_SMALL)
    request = {"annotations": contents.items, "mode": mode}
    try:
        bulk = load_bulk(
            request,
            analysis_id=target.analysis_id,
            frame=target.frame,
            batch=batch,
            at_most=at_most,
            skips=skips,
            names=contents.names,
        )
    except InvalidPayload as error:
        error.errors = [*contents.placed(error.errors or [])]
        raise
    return replace(
        bulk,
        scaled=contents.placed(bulk.scaled),
        normalised=contents.placed(bulk.normalised),
        skipped=contents.placed(bulk.skipped),
        places=contents.places,
        file=contents.said(format),
    )


@dataclass
class _Contents:
    """What a file says: an item or its fault for each annotation of the image, and the rest by its reason."""

    items: list[Any] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    extra: dict[str, int] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, place: str, item: Any) -> None:
        self.items.append(item)
        self.places.append(place)

    def note(self, kind: dict[str, list[str]], text: str, place: str) -> None:
        self.counts[text] = self.counts.get(text, 0) + 1
        if len(found := kind.setdefault(text, [])) < MAX_PLACES:
            found.append(place[:LONGEST])

    def note_extra(self, data: Any) -> None:
        """Counts the keys of `data.extra`, the first that come."""
        extra = data.get("extra") if isinstance(data, dict) else None
        for key in extra if isinstance(extra, dict) else ():
            short = key[:LONGEST]
            self.keys.add(short)
            if short in self.extra or len(self.extra) < MAX_KINDS:
                self.extra[short] = self.extra.get(short, 0) + 1

    def placed(self, entries: Iterable[Any]) -> list[dict[str, Any]]:
        return [
            {"index": one["index"], "place": self.places[one["index"]], **one} if "index" in one else one
            for one in entries
        ]

    def said(self, format: str) -> dict[str, Any]:
        """As it stands in the receipt."""
        kinds = {"left_out": self.left_out, "told": self.told}
        listed = {
            name: [{"what": text, "count": self.counts[text], "places": kind[text]} for text in kind]
            for name, kind in kinds.items()
        }
        extra = [{"key": key, "count": count} for key, count in self.extra.items()]
        said: dict[str, Any] = {"format": format, "annotations": len(self.items)}
        counts = {"left_out": len(self.left_out), "told": len(self.told), "extra": len(self.keys)}
        for name, found in {**listed, "extra": extra}.items():
            if found:
                said |= {name: found[:MAX_KINDS], f"{name}_count": counts[name]}
        return said


def _gather(found: Iterable[Taken | Refused | LeftOut | Told], at_most: int, most: int) -> _Contents:
    """`most` is of bytes of the data of all annotations, which may be many times the file.

    Raises TooManyAnnotations as soon as there are, and InvalidPayload as soon as there is too much else: a file of this
    size could hold millions.
    """
    contents = _Contents()
    size = 0
    for number, one in enumerate(found):
        if len(contents.items) > at_most:
            raise TooManyAnnotations(
                f"At most {at_most} annotations in one request; the file has more of this image.",
                limit=at_most,
            )
        if number == MAX_FOUND:
            not_this_format(f"The file holds more than {MAX_FOUND} things.")
        match one:
            case Taken(place, annotation, name):
                if name is not None:
                    contents.names[len(contents.items)] = name
                size += _size(annotation.get("data"))
                if size > most:
                    not_this_format(
                        f"The annotations of the file have more than {most} bytes of data in all: "
                        "too much of it stands in each of them.",
                        place,
                    )
                contents.add(place, annotation)
                contents.note_extra(annotation.get("data"))
            case Refused(place, name, reason):
                contents.add(place, Unread(name, reason))
            case LeftOut(place, reason):
                contents.note(contents.left_out, reason, place)
            case Told(place, what):
                contents.note(contents.told, what, place)
    return contents


def _size(data: Any) -> int:
    """About how many bytes it is as JSON."""
    try:
        return len(orjson.dumps(data))
    except orjson.JSONEncodeError:  # a whole number that has more than 64 bits since one was taken from it
        return len(json.dumps(data))
