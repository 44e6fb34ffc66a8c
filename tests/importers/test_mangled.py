"""Files of other tools, damaged: what cannot be taken is refused with its place and why; nothing else goes wrong."""

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import importers
from app.errors import InvalidPayload, MalformedRequest
from app.importers.base import Refused, Taken
from tests.importers.golden import FILES
from tests.importers.reading import load, load_part, target_of

JSON = [one for one in FILES if one.values[1].suffix == ".json"]
TEXT = [one for one in FILES if one.values[0] == "yolo"]
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 2, 0.5, 1e308, -1e308, 10**400, math.nan, math.inf, 2**63, "", "x", "\0", "\ud800",
    "1", [], {}, [[]], [None], [1, 2, 3, 4], {"a": 1}, [{}], ["x"], [[1, 2], [3]], "a" * 300,
]  # fmt: skip
WORDS = [
    "1e999",
    "-1e999",
    "nan",
    "inf",
    "-0",
    "0",
    "1",
    "17",
    "1.",
    ".",
    "",
    "x",
    "٣",
    "1_0",
    "9" * 9,
    "9" * 400,
]


@cache
def written(file: Path) -> bytes:
    return file.read_bytes()


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
def all_places(file: Path) -> list[tuple[Any, ...]]:
    return list(places(json.loads(written(file))))


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
    has_place = (
        isinstance(last, int) and last < len(value) if isinstance(value, list) else isinstance(last, str)
    )
    if isinstance(value, dict | list) and has_place:  # an earlier damage may have put one there for the other
        if how == "gone":
            value.pop(last, None) if isinstance(value, dict) else value.pop(last)
        else:
            value[last] = how
    return None


@pytest.mark.parametrize(("format", "file", "told"), JSON)
@settings(max_examples=25, deadline=None)
@given(drawn=st.data())
def test_damage(format: str, file: Path, told: dict[str, Any], drawn: st.DataObject) -> None:
    check(format, mangled(file, drawn), told)


@pytest.mark.soak
@pytest.mark.parametrize(("format", "file", "told"), JSON)
@settings(max_examples=500, deadline=None)
@given(drawn=st.data())
def test_much_damage(format: str, file: Path, told: dict[str, Any], drawn: st.DataObject) -> None:
    check(format, mangled(file, drawn), told)


def mangled(file: Path, drawn: st.DataObject) -> Any:
    """The file with up to three things gone, or hostile."""
    value = json.loads(written(file))
    for path in drawn.draw(st.lists(st.sampled_from(all_places(file)), min_size=1, max_size=3)):
        how = copy.deepcopy(drawn.draw(st.sampled_from(["gone", *HOSTILE])))
        if not path:
            value = how
        elif isinstance(value, (dict, list)):
            damage(value, path, how)
    return value


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
        finally:
            check_parts(format, target)
        said = bulk.file or {}
        assert len(bulk.items) + bulk.skipped_count == said["annotations"]
        assert all(one["place"] is not None and one["errors"][0]["reason"] for one in bulk.skipped)
        # orjson has neither NaN nor lone surrogates: what it writes can be stored and answered
        orjson.dumps([said, [item.values["data"] for item in bulk.items], bulk.skipped, bulk.normalised])
        if bulk.skipped_count:
            with pytest.raises(InvalidPayload) as caught:
                load(b"", format, **target)
            assert all({"place", "field", "reason"} <= entry.keys() for entry in caught.value.errors or ())


def check_parts(format: str, target: dict[str, Any]) -> None:
    """As a file of many images it is split, or refused with reasons, and so is each part."""
    try:
        split = importers.split_file(b"", format)
        orjson.dumps(split.said if split else None)
        for one in split.parts if split else ():
            assert one.names and all(isinstance(name, str) for name in one.names)
            load_part(one, format, skips=True, **target)
    except (InvalidPayload, MalformedRequest) as refusal:
        assert refusal.detail


@pytest.mark.parametrize(("format", "file", "told"), TEXT)
@settings(max_examples=50, deadline=None)
@given(drawn=st.data())
def test_damaged_words(format: str, file: Path, told: dict[str, Any], drawn: st.DataObject) -> None:
    check_words(format, mangled_words(file, drawn), told | drawn.draw(OPTIONS))


@pytest.mark.soak
@pytest.mark.parametrize(("format", "file", "told"), TEXT)
@settings(max_examples=1000, deadline=None)
@given(drawn=st.data())
def test_many_damaged_words(format: str, file: Path, told: dict[str, Any], drawn: st.DataObject) -> None:
    check_words(format, mangled_words(file, drawn), told | drawn.draw(OPTIONS))


OPTIONS = st.fixed_dictionaries({"keypoints": st.sampled_from([None, 1, 2, 3]), "tracks": st.booleans()})


def mangled_words(file: Path, drawn: st.DataObject) -> list[str]:
    """The lines of the file, with tracks or without, and up to three words gone, there twice, or hostile.

    That is most often the last of a line, of which most is to be told.
    """
    tracks = drawn.draw(st.booleans())
    lines = [
        line.split() + [str(number)] * tracks
        for number, line in enumerate(written(file).decode().splitlines(), 1)
    ]
    for words in drawn.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=3)):
        at = drawn.draw(st.just(len(words) - 1) | st.integers(0, max(len(words) - 1, 0)))
        how = drawn.draw(st.sampled_from(["gone", "twice", *WORDS]))
        words[at : at + 1] = {"gone": [], "twice": words[at : at + 1] * 2}.get(how, [how])
    return [" ".join(words) for words in lines]


def check_words(format: str, lines: list[str], target: dict[str, Any]) -> None:
    """It is read, or refused with reasons; each line is refused, or taken with all of its numbers."""
    check(format, lines, target)
    found: dict[str, list[Any]] = {}
    for one in importers.FORMATS[format].read(lines, target_of(**target)):
        found.setdefault(one.place, []).append(one)
    there = {f"line {index}": line.split() for index, line in enumerate(lines, 1) if line.split()}
    assert found.keys() == there.keys()
    for place, words in there.items():
        taken = [one.annotation for one in found[place] if isinstance(one, Taken)]
        assert [one.reason for one in found[place] if isinstance(one, Refused)] or taken
        assert not taken or sorted(numbers(taken)) == sorted(map(float, words[1:]))


def numbers(annotations: list[Any]) -> Iterator[float]:
    """Those of a line: of what became of it, and once the confidence and the track that all of these have."""
    for one in annotations:
        points = (point.values() for point in one["data"].get("keypoints", ()))
        yield from chain(one["data"].get("bbox", ()), *one["data"].get("polygons", ()), *points)
    yield from (value for value in [annotations[0]["confidence"]] if value is not None)
    yield from annotations[0]["data"].get("extra", {}).values()
