"""What Loupe itself exports of one analysis, as JSON lines: the analysis, a line for each annotation, and how many.

Lines with an `annotation_type` are annotations; lines of these alone are taken too. Where the analysis stands first,
the count must stand last: a download that broke off is not taken for a whole one.
"""

from typing import Any

from app.errors import MalformedRequest
from app.importers.base import FILE_DEPTH, Found, Json, Refused, Target, not_this_format, text_file
from app.importers.loupe import about, annotation
from app.schemas import strict_json


def read(lines: list[str], target: Target) -> Found:
    head: Json | None = None
    tail: Json | None = None
    number = 0
    for index, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"line {index}"
        value = _parsed(place, line)
        if isinstance(value, Refused):
            number += 1
            yield value
        elif "annotation_type" in value:
            number += 1
            yield from annotation(place, value, target)
        elif head is None and number == 0:
            head = value
            yield from about(f"{place} ", value, target)
        else:
            tail = value
    if head is not None or tail is not None:
        _check_end(tail, number)


def _parsed(place: str, line: str) -> Any:
    try:
        value = strict_json.parse(line.encode(), FILE_DEPTH)
    except MalformedRequest as error:
        return Refused(place, "", error.detail)
    return value if isinstance(value, dict) else Refused(place, "", "must be an object")


def _check_end(tail: Json | None, number: int) -> None:
    count = tail.get("annotation_count") if tail else None
    if count != number:
        not_this_format(
            f"The file has {number} annotations and should end with a line that says so, "
            f"but it {'ends without one' if count is None else f'says {count!r:.40}'}: is it whole?"
        )


FORMAT = text_file("Loupe's own export of an analysis, JSON lines", read)
