"""What Loupe itself exports of one analysis, as JSON: the same annotations again."""

import re
from typing import Any

from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Refused,
    Taken,
    Target,
    Told,
    json_file,
    not_this_format,
    objects,
)
from app.models.artifacts import FILENAME

NEW = frozenset({"id", "analysis_id", "created_at"})  # those of the analysis that takes them
GIVEN = re.compile(r"[\x21-\x7e]{1,128}#[0-9]{1,9}")  # the names of items that were sent without one
_PATH = re.compile(rf"ml_outputs/[^/]+/({FILENAME})")


def read_json(file: Any, target: Target) -> Found:
    """`{…the analysis, annotations: […]}`."""
    if not isinstance(file, dict) or "annotations" not in file:
        not_this_format("This is no export of one analysis: an object with `annotations` is needed.")
    yield from about(file, target)
    for one in objects(file["annotations"], "annotations"):
        if isinstance(one, Refused):
            yield one
        else:
            yield from annotation(*one, target)


def about(head: Json, target: Target) -> Found:
    """What is said of the analysis is not taken: another one takes its annotations."""
    image_id = head.get("image_id")
    if image_id not in (None, str(target.image_id)):
        yield Told(
            "image_id", "is another image: coordinates are taken as pixels of the one that is imported to"
        )
    for name in head.keys() - {"annotations", "image_id"}:
        yield LeftOut(name, "says something of the exported analysis, not of its annotations")


def annotation(place: str, entry: Json, target: Target) -> Found:
    item = {name: value for name, value in entry.items() if name not in NEW}
    path = item.get("storage_path")
    found = _PATH.fullmatch(path) if isinstance(path, str) else None
    if found:
        item["storage_path"] = f"ml_outputs/{target.analysis_id}/{found[1]}"
        if item["storage_path"] != path:
            yield Told(place, "names an artifact, which must be uploaded to this analysis too")
    name = item.get("client_id")
    if isinstance(name, str) and GIVEN.fullmatch(name):
        del item["client_id"]
        yield Taken(place, item, name)
    else:
        yield Taken(place, item)


JSON = json_file("Loupe's own export of an analysis, JSON", read_json)
