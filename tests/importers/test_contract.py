"""What holds for every format: it is in the docs, it has a file of its tool, and no file is a fault of ours."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import importers
from app.errors import LoupeError
from app.importers import FORMATS
from tests.importers.anything import tree
from tests.importers.golden import FILES, GOLDEN
from tests.importers.reading import load, load_part

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "importing.md").read_text()
EACH = {"max_examples": 25, "deadline": None}


def test_every_format_has_a_file_of_its_tool() -> None:
    assert GOLDEN.keys() == FORMATS.keys()
    assert {parameters.values[0] for parameters in FILES} == FORMATS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_in_the_docs(name: str) -> None:
    assert f"\n| `{name}` |" in DOCS
    assert FORMATS[name].title


@pytest.mark.parametrize(("name", "file", "told"), FILES)
def test_the_file_of_the_tool_is_taken(name: str, file: Path, told: Any) -> None:
    bulk = load(file, name, **told)
    assert bulk.items and not bulk.skipped_count
    assert bulk.file is not None and bulk.file["annotations"] == len(bulk.items) == len(bulk.places or ())


@pytest.mark.parametrize(("name", "file", "told"), FILES)
def test_a_part_says_what_the_file_says_of_its_image(name: str, file: Path, told: Any) -> None:
    split = importers.split_file(file.read_bytes(), name)
    for part in split.parts if split else ():
        alone = load(file, name, **told | {"called": part.key or part.names[0]})
        bulk = load_part(part, name, **told)
        assert (bulk.items, bulk.places) == (alone.items, alone.places)


def takes_or_refuses(file: Any, name: str, **told: Any) -> None:
    """It never fails otherwise, and whatever the file has is taken or named."""
    try:
        bulk = load(file, name, skips=True, **told)
    except LoupeError as error:
        assert error.status in (400, 422)
        return
    assert bulk.file is not None and bulk.places is not None
    assert bulk.file["annotations"] == len(bulk.items) + bulk.skipped_count == len(bulk.places)
    assert all("place" in one for one in (*bulk.skipped, *bulk.normalised, *bulk.scaled))


@pytest.mark.parametrize("name", FORMATS)
@settings(**EACH)
@given(file=tree)
def test_any_json_is_taken_or_refused(name: str, file: Any) -> None:
    takes_or_refuses(json.dumps(file).encode(), name)


@pytest.mark.parametrize("name", FORMATS)
@settings(**EACH)
@given(file=st.binary() | st.text().map(str.encode))
def test_any_bytes_are_taken_or_refused(name: str, file: bytes) -> None:
    takes_or_refuses(file, name, keypoints=2)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where everything in a JSON value stands."""
    found = [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        found += paths(child, (*path, key))
    return found


@pytest.mark.parametrize(("name", "file", "told"), [one for one in FILES if one.values[1].suffix == ".json"])
@settings(**EACH)
@given(choices=st.data())
def test_a_file_with_something_else_in_it(name: str, file: Path, told: Any, choices: Any) -> None:
    """One of its values is another one, is missing or stands there twice."""
    whole = json.loads(file.read_bytes())
    *above, key = choices.draw(st.sampled_from(paths(whole)[1:]))
    changed = copy.deepcopy(whole)
    parent = changed
    for step in above:
        parent = parent[step]
    match choices.draw(st.sampled_from(["other", "gone", "twice"])):
        case "gone":
            del parent[key]
        case "twice" if isinstance(parent, list):
            parent.append(parent[key])
        case _:
            parent[key] = choices.draw(tree)
    takes_or_refuses(json.dumps(changed).encode(), name, **told)


def test_a_file_of_too_many_things(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before each of them takes memory."""
    with pytest.raises(LoupeError) as caught:
        load(b"[" + b"1," * 20_000 + b"1]", "coco-results")
    assert caught.value.code == "too-many-annotations"
    monkeypatch.setattr(importers, "MAX_FOUND", 1000)
    others = b'[{"image_id":7},' + b'{"image_id":8},' * 1000 + b'{"image_id":8}]'
    with pytest.raises(LoupeError) as caught:
        load(others, "coco-results", called="7", skips=True)
    assert "more than 1000 things" in str(caught.value)


def collection(parts: int, note: str) -> dict[str, Any]:
    """A feature of so many parts, each of which keeps the note."""
    inner = [{"type": "Point", "coordinates": [1, 2]}] * parts
    geometry = {"type": "GeometryCollection", "geometries": inner}
    return {"type": "Feature", "geometry": geometry, "properties": {"class": "leaf", "note": note}}


def instances(count: int, note: str) -> dict[str, Any]:
    """A label of so many boxes, each of which keeps the note."""
    box = {"BoundingBox": {"Left": 0.25, "Top": 0.25, "Width": 0.5, "Height": 0.5}}
    label = {"Name": "leaf", "Confidence": 50, "Instances": [box] * count, "Note": note}
    return {"Labels": [label]}


@pytest.mark.parametrize(("format", "make"), [("geojson", collection), ("rekognition", instances)])
def test_what_is_shared_is_not_made_much_of(
    format: str, make: Callable[[int, str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is refused when what its annotations share becomes many times the file, and not for large annotations."""
    monkeypatch.setattr(importers, "MAX_SMALL", 4096)
    with pytest.raises(LoupeError) as caught:
        load(make(100, "n" * 5000), format)
    assert caught.value.code == "invalid-payload" and "bytes of data in all" in str(caught.value)
    assert len(load(make(1, "n" * 50_000), format).items) == {"geojson": 1, "rekognition": 2}[format]
    assert len(load(make(100, "n"), format).items) >= 100


def test_lists_that_are_cut_say_how_long_they_were() -> None:
    """Each key is counted once, however many annotations have it."""
    entry = {"image_id": "leaf.png", "bbox": [1, 2, 3, 4], "category_id": 1}
    keys = {f"key {i}": i for i in range(70)}
    said = load([entry | keys, entry | keys, entry | {"other": 1}], "coco-results").file
    assert said is not None
    assert (len(said["extra"]), said["extra_count"]) == (importers.MAX_KINDS, 71)
    assert said["told_count"] == len(said["told"]) == 1
    assert "left_out_count" not in said
