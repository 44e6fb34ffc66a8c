"""Files of other tools, damaged: what cannot be taken is refused with its place and why; nothing else goes wrong."""

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import importers
from app.errors import InvalidPayload, MalformedRequest
from tests.importers.reading import DATA, load

FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "coco.json": ("coco", {}),
    "coco-results-bbox.json": ("coco-results", {"called": "7"}),
    "coco-results-segm.json": ("coco-results", {"called": "7"}),
    "ultralytics-segment.json": ("ultralytics", {}),
    "ultralytics-pose.json": ("ultralytics", {}),
    "ultralytics-obb.json": ("ultralytics", {}),
    "label-studio.json": ("label-studio", {}),
    "geojson.json": ("geojson", {}),
    "geojson-qupath.json": ("geojson", {}),
    "supervision-sink.json": ("supervision", {}),
    "supervision.json": ("supervision", {}),
    "fiftyone.json": ("fiftyone", {}),
    "fiftyone-labels.json": ("fiftyone", {}),
    "torchvision.json": ("torchvision", {}),
    "rekognition.json": ("rekognition", {}),
    "google-vision.json": ("google-vision", {}),
    "azure-vision.json": ("azure-vision", {}),
    "azure-vision-3.json": ("azure-vision", {}),
    "mmdetection.json": ("mmdetection", {}),
    "detectron2-results.json": ("detectron2", {"called": "7"}),
    "detectron2-predictions.json": ("detectron2", {"called": "7"}),
    "detectron2-dataset.json": ("detectron2", {}),
    "detectron2-instances.json": ("detectron2", {}),
}
"""A file, its format, and what must be said with it."""

HOSTILE: list[Any] = [
    None, True, False, 0, -1, 2, 0.5, 1e308, -1e308, 10**400, math.nan, math.inf, 2**63, "", "x", "\0", "\ud800",
    "1", [], {}, [[]], [None], [1, 2, 3, 4], {"a": 1}, [{}], ["x"], [[1, 2], [3]], "a" * 300,
]  # fmt: skip


@cache
def written(name: str) -> bytes:
    return (DATA / name).read_bytes()


def content(name: str) -> Any:
    return json.loads(written(name))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in the file; of long lists of numbers only the first few."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value[:12]):
            yield from places(inner, (*path, i))


@cache
def all_places(name: str) -> list[tuple[Any, ...]]:
    return list(places(content(name)))


def damage(value: Any, path: tuple[Any, ...], how: Any) -> Any:
    """The value without what is at this place, or with something else there."""
    if not path:
        return how
    *above, last = path
    for key in above:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None  # an earlier damage took it away
    if isinstance(value, dict) or (isinstance(value, list) and isinstance(last, int) and last < len(value)):
        if how == "gone":
            value.pop(last, None) if isinstance(value, dict) else value.pop(last)
        else:
            value[last] = how
    return None


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=40, deadline=None)
@given(drawn=st.data())
def test_damage(name: str, drawn: st.DataObject) -> None:
    mangle(name, drawn)


@pytest.mark.soak
@pytest.mark.parametrize("name", FILES)
@settings(max_examples=500, deadline=None)
@given(drawn=st.data())
def test_much_damage(name: str, drawn: st.DataObject) -> None:
    mangle(name, drawn)


def mangle(name: str, drawn: st.DataObject) -> None:
    format, target = FILES[name]
    mangled = content(name)
    for path in drawn.draw(st.lists(st.sampled_from(all_places(name)), min_size=1, max_size=3)):
        how = copy.deepcopy(drawn.draw(st.sampled_from(["gone", *HOSTILE])))
        if not path:
            mangled = how
        elif isinstance(mangled, (dict, list)):
            damage(mangled, path, how)
    check(format, mangled, target)


def check(format: str, file: Any, target: dict[str, Any]) -> None:
    """It is read, or refused with reasons; with `skips`, everything is one or the other and can be answered."""
    reader = replace(importers.FORMATS[format], parse=lambda body: file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(importers.FORMATS, format, reader)
        try:
            bulk = load(b"", format, skips=True, **target)
        except (InvalidPayload, MalformedRequest) as refusal:
            assert refusal.detail
            return
        said = bulk.file or {}
        assert len(bulk.items) + bulk.skipped_count == said["annotations"]
        assert all(one["place"] is not None and one["errors"][0]["reason"] for one in bulk.skipped)
        # orjson has neither NaN nor lone surrogates: what it writes can be stored and answered
        orjson.dumps([said, [item.values["data"] for item in bulk.items], bulk.skipped, bulk.normalised])
        if bulk.skipped_count:
            with pytest.raises(InvalidPayload) as caught:
                load(b"", format, **target)
            assert all({"place", "field", "reason"} <= entry.keys() for entry in caught.value.errors or ())


def test_every_format_is_damaged() -> None:
    assert {format for format, _ in FILES.values()} >= importers.FORMATS.keys() - {"json", "ndjson", "yolo"}


def test_every_file_is_of_a_format() -> None:
    here = {file.name for file in Path(DATA).iterdir() if file.suffix == ".json"}
    assert here >= FILES.keys()
