"""Reading a file for an image, as the endpoint does, without a database."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app import importers
from app.errors import InvalidPayload
from app.geometry import Frame
from app.schemas.annotations import Bulk
from tests.factories import some_id

DATA = Path(__file__).resolve().parent.parent / "data" / "importers"
ANALYSIS = UUID("01900000-0000-7000-8000-00000000000a")
IMAGE = some_id()


def load(file: Any, format: str, *, skips: bool = False, **target: Any) -> Bulk:
    """`file` is its bytes, the name of one in tests/data/importers, or what is to be written as JSON."""
    if isinstance(file, Path):
        body = (DATA / file).read_bytes()
    else:
        body = file if isinstance(file, bytes) else json.dumps(file).encode()
    return importers.load_file(body, format, target_of(**target), **STORED, skips=skips)


def load_part(part: importers.Part, format: str, *, skips: bool = False, **target: Any) -> Bulk:
    """A part of a file of many images, for whatever image it is of."""
    target = {**target, "called": None}
    found = part.read(target_of(**target))
    return importers.load_found(found, format, target_of(**target), size=0, **STORED, skips=skips)


STORED: dict[str, Any] = {"mode": "append", "batch": "b", "at_most": 10_000}


def target_of(**target: Any) -> importers.Target:
    told = {"filename": "leaf.png", "frame": Frame(64, 48), **target}
    return importers.Target(analysis_id=ANALYSIS, image_id=IMAGE, **told)


def rows(bulk: Bulk) -> list[tuple[Any, ...]]:
    """Type, class and confidence of each annotation, in the file's order."""
    columns = ("annotation_type", "class_name", "confidence")
    return [tuple(item.values[name] for name in columns) for item in bulk.items]


def data(bulk: Bulk) -> list[Any]:
    return [item.values["data"] for item in bulk.items]


def said(bulk: Bulk, kind: str) -> dict[str, int]:
    """What was `left_out`, or `told`: how many of each kind."""
    assert bulk.file is not None
    return {entry["what"]: entry["count"] for entry in bulk.file.get(kind, ())}


def faults(file: Any, format: str, **target: Any) -> list[dict[str, Any]]:
    """Why the file was refused."""
    with pytest.raises(InvalidPayload) as caught:
        load(file, format, **target)
    return [dict(entry) for entry in caught.value.errors or ()]
