"""An analysis as one JSON document, or many in one; and as NDJSON, a JSON object on each line."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.reading import Page
from app.services.annotation_rows import as_json, on_the_wire


def write_json(entry: Entry, _: Losses) -> Iterator[bytes]:
    """Every field of the analysis, its artifacts, `schema_version`, and last the annotations."""
    yield from _document(entry.about, entry.pages or ())
    yield b"\n"


def write_json_of_many(head: dict[str, Any], entries: Iterable[Entry], _: Losses) -> Iterator[bytes]:
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


def write_ndjson(entry: Entry, losses: Losses) -> Iterator[bytes]:
    """A line of the analysis, one for each annotation, and a last one that says how many there were.

    Each says its `kind`: `analysis`, `annotation`, `end`. A file without `end` is not whole.
    """
    return _lines([entry])


def write_ndjson_of_many(head: dict[str, Any], entries: Iterable[Entry], _: Losses) -> Iterator[bytes]:
    """The same, with a line of the kind `export` first; annotations follow the analysis they are of."""
    yield _line("export", head)
    yield from _lines(entries)


def _lines(entries: Iterable[Entry]) -> Iterator[bytes]:
    counts = {"analysis_count": 0, "annotation_count": 0}
    for entry in entries:
        counts["analysis_count"] += 1
        yield _line("analysis", entry.about)
        for page in _counted(entry.pages or (), counts):
            yield b"".join([_line("annotation", one) for one in on_the_wire(page.rows)])
    yield _line("end", counts)


def _line(kind: str, one: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"kind": kind, **one}, option=orjson.OPT_APPEND_NEWLINE)


def _document(head: Mapping[str, Any], pages: Iterable[Page]) -> Iterator[bytes]:
    yield orjson.dumps(head)[:-1] + b',"annotations":['
    comma = b""
    for page in pages:
        yield comma + as_json(page.rows)
        comma = b","
    yield b"]}"


def _counted(pages: Iterable[Page], counts: dict[str, int]) -> Iterator[Page]:
    for page in pages:
        counts["annotation_count"] += len(page)
        yield page
