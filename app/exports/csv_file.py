"""An analysis as CSV: one row an annotation. Many: the same rows, with those of their analysis before them."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

import orjson

from app.annotations import COLUMNS as TYPE_COLUMNS
from app.annotations import TYPES
from app.annotations.base import AnnotationType
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.reading import Page
from app.services.annotation_rows import KIND, OWN, Raw, dashed, data_of, moments

COLUMNS = (
    "annotation_id",
    "annotation_type",
    "class_name",
    "confidence",
    "storage_path",
    "ordering",
    "data_json",
    "created_at",
    "client_id",
)
# what each row of an export of many begins with, and what follows where the annotations are left out
ANALYSIS_COLUMNS = (
    "analysis_id",
    "image_id",
    "project_id",
    "filename",
    "model_name",
    "model_version",
    "status",
    "analysis_created_at",
)
MORE_COLUMNS = (
    "started_at",
    "completed_at",
    "annotation_count",
    "error_message",
    "external_job_id",
    "group_id",
    "priority",
)
CLASSES = 1000  # that are remembered
CONFIDENCES = 10_001  # that there are
EMPTY = '""'  # a line without any character would be no row
# what a spreadsheet may take for the beginning of a formula, some also in full width, or pass over before one
# (OWASP, CSV Injection); and the mark itself, so that taking one off gives back what was there
STARTS = frozenset("=+-@＝＋－＠\t\r\n'")
QUOTED = re.compile('[",\r\n]').search
NOTHING = [""] * len(TYPE_COLUMNS)
CORNERS = ("x_min", "y_min", "x_max", "y_max")  # the columns of a box, which come first
AFTER_CORNERS = "," * (len(TYPE_COLUMNS) - len(CORNERS))
corners = itemgetter(*CORNERS)
# where the columns of each type stand among those of all
PLACES = {name: [TYPE_COLUMNS.index(column) for column in one.columns] for name, one in TYPES.items()}
# of types whose columns are keys of their `data`: taken from there, a row of boxes costs a fifth less
KEYS = {
    name: list(zip(PLACES[name], one.columns, strict=True))
    for name, one in TYPES.items()
    if type(one).row is AnnotationType.row
}


def write_csv(entry: Entry, _: Losses) -> Iterator[bytes]:
    """RFC 4180 with one row an annotation. Text that a spreadsheet would run gets a `'` before it, numbers do not."""
    yield _lines([COLUMNS + TYPE_COLUMNS])
    for page in entry.pages or ():
        yield _lines_of(page)


def columns_of_many(*, annotations: bool) -> tuple[str, ...]:
    """The columns that an export of many can have, in their order."""
    return ANALYSIS_COLUMNS + (COLUMNS + TYPE_COLUMNS if annotations else MORE_COLUMNS)


def write_csv_of_many(
    head: dict[str, Any], entries: Iterable[Entry], _: Losses, columns: Collection[str] = ()
) -> Iterator[bytes]:
    """One row an annotation; an analysis that says nothing has one row with empty cells.

    Where the annotations are left out it is one row an analysis, with more of it. Of the columns only those that are
    given, if any are.
    """
    full = bool(head["filters"]["annotations"])
    header = columns_of_many(annotations=full)
    chosen = [place for place, name in enumerate(header) if name in columns or not columns]
    yield _lines([[header[place] for place in chosen]])
    for entry in entries:
        before, written = _analysis_cells(entry), False
        start = [_lines([[one]]).decode().removesuffix("\r\n") for one in before]
        for page in entry.pages or ():
            yield _lines_of(page, start, chosen if columns else None)
            written = True
        if not written:
            empty = [None] * (len(header) - len(before))
            rest = empty if full else [cell(entry.about[name]) for name in MORE_COLUMNS]
            whole = before + rest
            yield _lines([[whole[place] for place in chosen]])


def _analysis_cells(entry: Entry) -> list[Any]:
    about, image = entry.about, entry.row
    return [
        about["id"],
        about["image_id"],
        str(image.project_id),
        *map(cell, (image.filename, about["model_name"], about["model_version"])),
        about["status"],
        about["created_at"],
    ]


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()


def _lines_of(page: Page, before: Sequence[str] = (), chosen: Sequence[int] | None = None) -> bytes:
    """What csv.writer would write of these, in a third of the time.

    `before` are cells as they are written, `chosen` the places of those that are wanted, None all of them.
    """
    start = "".join([f"{one}," for one in before])
    rows = zip(page.rows, data_of(page.rows), _column([row[OWN] for row in page.rows]), strict=True)
    if chosen is None:
        return "".join(
            [
                f"{start}{','.join(_common(row, data, own))},{_joined(row[KIND], data)}\r\n"
                for row, data, own in rows
            ]
        ).encode()
    lines = []
    for row, data, own in rows:
        cells = [*before, *_common(row, data, own), *_of_type(row[KIND], data)]
        line = ",".join([cells[place] for place in chosen])
        lines.append(f"{line or EMPTY}\r\n")
    return "".join(lines).encode()


def _common(row: Raw, data: dict[str, Any], own: str) -> tuple[str, ...]:
    """The cells of COLUMNS; `own` is the last one. Floats and classes come again and again and are remembered."""
    i, _, kind, name, sure, _, path, rank, at, _, _ = row
    text = orjson.dumps(data).decode().replace('"', '""')
    return (
        dashed(i),
        kind,
        _class(name),
        _sure(sure),
        "" if path is None else _written(path),
        "" if rank is None else str(rank),
        f'"{text}"',
        moments[at],
        own,
    )


def _of_type(kind: str, data: dict[str, Any]) -> list[str]:
    """The cells of TYPE_COLUMNS."""
    flat = NOTHING.copy()
    if kind == "bounding_box":
        flat[: len(CORNERS)] = _corners(data).split(",")
    elif kind in KEYS:
        for place, key in KEYS[kind]:
            flat[place] = _written(data.get(key))
    else:
        for place, value in zip(PLACES[kind], TYPES[kind].row(data).values(), strict=True):
            flat[place] = _written(value)
    return flat


def _joined(kind: str, data: dict[str, Any]) -> str:
    """The same with commas between them; a box is not taken apart for it."""
    return _corners(data) + AFTER_CORNERS if kind == "bounding_box" else ",".join(_of_type(kind, data))


def _corners(data: dict[str, Any]) -> str:
    """Four floats with commas between them: orjson writes them in half the time of their repr."""
    return orjson.dumps(corners(data))[1:-1].decode()


def _column(texts: list[str]) -> list[str]:
    """The cells of these texts. They are looked at together: where none needs a mark, that takes a fifth."""
    if QUOTED("".join(texts)) or not STARTS.isdisjoint([text[:1] for text in texts]):
        return [_written(text) for text in texts]
    return texts


def _written(value: Any) -> str:
    """A cell, in quotation marks where it needs them."""
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    text = "'" + value if value[:1] in STARTS else value
    return '"' + text.replace('"', '""') + '"' if QUOTED(text) else text


def cell(value: Any) -> Any:
    """Text that a spreadsheet would run gets a `'` before it."""
    return "'" + value if isinstance(value, str) and value[:1] in STARTS else value


_class = lru_cache(CLASSES)(_written)
_sure = lru_cache(CONFIDENCES)(_written)
