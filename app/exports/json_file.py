"""An analysis as one JSON document, or many in one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from app.exports.many import Entry
from app.schemas.annotations import annotation_out


def write_json(head: dict[str, Any], pages: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Every field of the analysis, its artifacts, `schema_version`, and last the annotations."""
    yield from _document(head, pages)
    yield b"\n"


def write_json_of_many(head: dict[str, Any], entries: Iterable[Entry]) -> Iterator[bytes]:
    """`head`, then `analyses`, each as it is exported alone, then how many of everything are in the file.

    An entry without pages stands there without `annotations`.
    """
    yield orjson.dumps(head)[:-1] + b',"analyses":['
    comma, counts = b"", {"analysis_count": 0, "annotation_count": 0}
    for entry in entries:
        yield comma
        comma = b",\n"
        counts["analysis_count"] += 1
        if entry.pages is None:
            yield orjson.dumps(entry.about)
        else:
            yield from _document(entry.about, _counted(entry.pages, counts))
    yield b"]," + orjson.dumps(counts)[1:] + b"\n"


def _document(head: Mapping[str, Any], pages: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    yield orjson.dumps(head)[:-1] + b',"annotations":['
    comma = b""
    for rows in pages:
        yield comma + b",".join(orjson.dumps(annotation_out(row)) for row in rows)
        comma = b","
    yield b"]}"


def _counted(pages: Iterable[Sequence[Any]], counts: dict[str, int]) -> Iterator[Sequence[Any]]:
    for rows in pages:
        counts["annotation_count"] += len(rows)
        yield rows
