"""What Loupe itself exports as JSON, of one analysis or of many: the same annotations again."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from app.importers.base import (
    Found,
    Json,
    LeftOut,
    Part,
    Parts,
    Refused,
    Taken,
    Target,
    Told,
    json_file,
    not_this_format,
    objects,
)
from app.importers.reading import MAX_LISTED, head
from app.models.artifacts import FILENAME

FACTS = (
    "model_name",
    "model_version",
    "parameters",
    "provenance",
    "status",
    "error_message",
)  # which a new analysis may have from the file
NEW = frozenset({"id", "analysis_id", "created_at"})  # those of the analysis that takes them
OVER_ALL = "says something of the export, not of its analyses"
OTHER_ANALYSIS = "is another analysis, or of another"
GIVEN = re.compile(r"[\x21-\x7e]{1,128}#[0-9]{1,9}")  # the names of items that were sent without one
_PATH = re.compile(rf"ml_outputs/[^/]+/({FILENAME})")


def read_json(file: Any, target: Target) -> Found:
    """`{…the analysis, annotations: […]}`, or `{analyses: [such, …]}` of which one is of this image."""
    if not isinstance(file, dict) or not file.keys() & {"annotations", "analyses"}:
        not_this_format("This is no export of Loupe: an object with `annotations` or `analyses` is needed.")
    if "annotations" in file:
        yield from _analysis("", file, target)
        return
    there = (one for one in objects(file["analyses"], "analyses") if not isinstance(one, Refused))
    place, meant = meant_of([*there], target)
    for name in file:
        if name != "analyses":
            yield LeftOut(name, OVER_ALL)
    for one in objects(file["analyses"], "analyses"):
        if isinstance(one, Refused):
            yield one
        elif one[0] == place:
            yield from _analysis(f"{place}.", meant, target)
        else:
            yield LeftOut(one[0], OTHER_ANALYSIS)


def split_json(file: Any) -> Parts | None:
    """A part for each analysis, also where several are of one image."""
    if not isinstance(file, dict) or "annotations" in file or "analyses" not in file:
        return iter([part("", file, partial(_analysis, "", file))]) if is_of_image(file) else None
    return _split_analyses(file)


def _split_analyses(file: Json) -> Parts:
    yield from head(file, ("analyses",), "", OVER_ALL)
    for one in objects(file["analyses"], "analyses"):
        if isinstance(one, Refused):
            yield one
        elif is_of_image(one[1]):
            yield part(*one, partial(_analysis, f"{one[0]}.", one[1]))
        else:
            yield LeftOut(one[0], "names no image")


def is_of_image(analysis: Any) -> bool:
    return isinstance(analysis, dict) and bool(_names_of(analysis))


def _names_of(analysis: Json) -> tuple[str, ...]:
    """The image's id here and its file name, by which it is found in another Loupe."""
    names = (analysis.get("image_id"), analysis.get("filename"))
    return tuple(name for name in names if isinstance(name, str))


def part(place: str, analysis: Json, read: Callable[[Target], Found]) -> Part:
    return Part(_names_of(analysis), read, key=str(analysis.get("id", place)), about=facts(analysis))


def facts(analysis: Any) -> Json:
    return {name: analysis[name] for name in FACTS if analysis.get(name) is not None}


def about_json(file: Any, target: Target) -> Json:
    if not isinstance(file, dict) or "annotations" in file:
        return facts(file) if isinstance(file, dict) else {}
    listed = file.get("analyses")
    there = [("", one) for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return facts(meant_of(there, target)[1])


def meant_of(there: list[tuple[str, Json]], target: Target) -> tuple[str, Json]:
    """The one analysis of this image, or the one that is `called`. Raises InvalidPayload."""
    found = [one for one in there if {str(one[1].get("image_id")), str(one[1].get("id"))} & target.calls]
    found = found or [one for one in there if one[1].get("filename") in target.calls]
    if len(found) != 1:
        ids = ", ".join(str(one.get("id"))[:36] for _, one in (found or there)[:MAX_LISTED])
        not_this_format(
            f"{len(found)} analyses of the file are of this image. Name one by its id with `called`: {ids or 'none'}."
        )
    return found[0]


def _analysis(path: str, file: Json, target: Target) -> Found:
    yield from about(path, file, target)
    for one in objects(file.get("annotations"), f"{path}annotations"):
        if isinstance(one, Refused):
            yield one
        else:
            yield from annotation(*one, target)


def about(path: str, head: Json, target: Target) -> Found:
    """What is said of the analysis is not taken, as another one takes its annotations; but for a new one's facts."""
    if head.get("image_id") not in (None, str(target.image_id)):
        yield Told(
            f"{path}image_id",
            "is another image: coordinates are taken as pixels of the one that is imported to",
        )
    if target.artifacts is not None:
        target.artifacts.listed(head.get("artifacts"))
    for name in head:
        if name in target.facts:
            yield Told(f"{path}{name}", "is taken for the new analysis")
        elif name not in ("annotations", "image_id", "filename"):
            yield LeftOut(f"{path}{name}", "says something of the exported analysis, not of its annotations")


def annotation(place: str, entry: Json, target: Target) -> Found:
    item = {name: value for name, value in entry.items() if name not in NEW}
    if len(item) < len(entry):
        yield LeftOut(place, "has an id and a time, and gets new ones")
    path = item.get("storage_path")
    found = _PATH.fullmatch(path) if isinstance(path, str) else None
    if found and target.artifacts is not None:
        fault = target.artifacts.fault(found[0], item.get("annotation_type"))
        if fault is not None:
            yield Refused(place, "storage_path", fault)
            return
        item["storage_path"] = f"ml_outputs/{target.analysis_id}/{found[1]}"
        yield Told(place, "names an artifact, whose file comes along")
    elif found:
        item["storage_path"] = f"ml_outputs/{target.analysis_id}/{found[1]}"
        if item["storage_path"] != path:
            yield Told(place, "names an artifact, which must be uploaded to this analysis too")
    name = item.get("client_id")
    if isinstance(name, str) and GIVEN.fullmatch(name):
        del item["client_id"]
        yield Taken(place, item, name)
    else:
        yield Taken(place, item)


JSON = json_file("Loupe's own export, JSON", read_json, split=split_json, about=about_json)
