"""What Loupe itself exports as JSON lines, of one analysis or of many: each says what it is by its `kind`.

Before the annotations of an analysis stands the analysis, and the last line is the `end`, with how many annotations
there were: a download that broke off is not taken for a whole one. Lines of annotations alone are taken too.
"""

from collections import Counter
from functools import partial
from typing import Any

from app.errors import MalformedRequest
from app.importers.base import (
    FILE_DEPTH,
    Found,
    Json,
    LeftOut,
    Parts,
    Refused,
    Target,
    not_this_format,
    text_file,
)
from app.importers.loupe import (
    OTHER_ANALYSIS,
    OVER_ALL,
    about,
    annotation,
    facts,
    is_of_image,
    meant_of,
    part,
)
from app.schemas import strict_json

KINDS = ("export", "analysis", "annotation", "end")


def read(lines: list[str], target: Target) -> Found:
    read = _read(lines)
    analyses = _heads(read)
    wanted = meant_of(analyses, target)[1].get("id") if len(analyses) > 1 else None
    if sum(one.get("id") == wanted for _, one in analyses) > 1:
        not_this_format(f"Several analyses of the file have the id {wanted!s:.36}.")
    for place, value in read:
        kind = _kind(value)
        if not isinstance(value, dict):
            yield Refused(place, "", value)
        elif kind == "export":
            yield LeftOut(place, OVER_ALL)
        elif kind not in KINDS:
            yield Refused(place, "kind", f"must be one of: {', '.join(KINDS)}")
        elif kind != "end" and wanted is not None and wanted != _analysis_of(kind, value):
            yield LeftOut(place, OTHER_ANALYSIS)
        elif kind == "analysis":
            yield from about(f"{place} ", _without_kind(value), target)
        elif kind == "annotation":
            yield from annotation(place, _without_kind(value), target)
    _check_end([value for _, value in read])


def split(lines: list[str]) -> Parts | None:
    """A part for each analysis; None where the file has lines of annotations only."""
    read = _read(lines)
    heads = _heads(read)
    return _split(read, heads) if heads else None


def about_lines(lines: list[str], target: Target) -> Json:
    analyses = _heads(_read(lines))
    if len(analyses) < 2:
        return facts(analyses[0][1]) if analyses else {}
    return facts(meant_of(analyses, target)[1])


def _split(read: list[tuple[str, Any]], heads: list[tuple[str, Json]]) -> Parts:
    _check_end([value for _, value in read])
    ids = Counter(str(head.get("id")) for _, head in heads)
    lines: dict[str, list[tuple[str, Json]]] = {name: [] for name in ids}
    for place, value in read:
        kind = _kind(value)
        if not isinstance(value, dict):
            yield Refused(place, "", value)
        elif kind == "export":
            yield LeftOut(place, OVER_ALL)
        elif kind not in KINDS:
            yield Refused(place, "kind", f"must be one of: {', '.join(KINDS)}")
        elif kind == "annotation":
            if (name := str(value.get("analysis_id"))) in lines:
                lines[name].append((place, value))
            else:
                yield Refused(place, "analysis_id", "is of no analysis that the file has")
    for place, head in heads:
        if ids[name := str(head.get("id"))] > 1:
            reason = f"is that of several analyses, and of {len(lines[name])} annotations"
            yield Refused(place, "id", reason)
        elif is_of_image(head):
            yield part(place, head, partial(_analysis, place, head, lines[name]))
        else:
            yield LeftOut(place, "names no image")


def _analysis(place: str, head: Json, lines: list[tuple[str, Json]], target: Target) -> Found:
    yield from about(f"{place} ", _without_kind(head), target)
    for where, value in lines:
        yield from annotation(where, _without_kind(value), target)


def _read(lines: list[str]) -> list[tuple[str, Any]]:
    """Each line with its place. Raises InvalidPayload where there is none: even of nothing there is an end."""
    read = [(f"line {number}", _parsed(line)) for number, line in enumerate(lines, 1) if line.strip()]
    if not read:
        not_this_format("The file has no line: is it whole?")
    return read


def _heads(read: list[tuple[str, Any]]) -> list[tuple[str, Json]]:
    return [(place, value) for place, value in read if _kind(value) == "analysis"]


def _parsed(line: str) -> Any:
    """The object; a text that says why there is none."""
    try:
        value = strict_json.parse(line.encode(), FILE_DEPTH)
    except MalformedRequest as error:
        return error.detail
    return value if isinstance(value, dict) else "must be an object"


def _kind(value: Any) -> Any:
    return value.get("kind", "annotation") if isinstance(value, dict) else None


def _analysis_of(kind: str, value: Json) -> Any:
    return value.get("id" if kind == "analysis" else "analysis_id")


def _without_kind(value: Json) -> Json:
    return {key: inner for key, inner in value.items() if key != "kind"}


def _check_end(values: list[Any]) -> None:
    """Raises InvalidPayload for a file that is not whole; lines of annotations alone need no end."""
    kinds = [_kind(value) for value in values]
    if not {"export", "analysis", "end"} & {kind for kind in kinds if isinstance(kind, str)}:
        return
    count = values[-1].get("annotation_count") if kinds[-1] == "end" else None
    there = len(kinds) - sum(kind in ("export", "analysis", "end") for kind in kinds)
    if count != there:
        said = "ends without one" if count is None else f"says {count!r:.40}"
        not_this_format(
            f"The file has {there} annotations and should end with a line that says so, but it {said}: is it whole?"
        )


FORMAT = text_file(
    "Loupe's own export, JSON lines", read, split=split, endings=(".ndjson", ".jsonl"), about=about_lines
)
