"""An analysis as CSV: one row an annotation. Many: the same rows, with those of their analysis before them."""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import orjson

from app.annotations import COLUMNS as TYPE_COLUMNS
from app.annotations import TYPES
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.reading import Said

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
FORMULA_STARTS = ("=", "+", "-", "@", "'", "\t", "\r")
NOTHING = [None] * len(TYPE_COLUMNS)
# where the columns of each type stand among those of all
PLACES = {name: [TYPE_COLUMNS.index(column) for column in one.columns] for name, one in TYPES.items()}


def write_csv(entry: Entry, _: Losses) -> Iterator[bytes]:
    """RFC 4180 with one row an annotation. Text that a spreadsheet would run gets a `'` before it, numbers do not."""
    yield _lines([COLUMNS + TYPE_COLUMNS])
    for rows in entry.pages or ():
        yield _lines([_csv_row(row) for row in rows])


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

    def narrowed(cells: Sequence[Any]) -> list[Any]:
        return [cells[place] for place in chosen] if columns else list(cells)

    yield _lines([narrowed(header)])
    for entry in entries:
        before, written = _analysis_cells(entry), False
        for rows in entry.pages or ():
            yield _lines(narrowed(before + _csv_row(row)) for row in rows)
            written = True
        if not written:
            empty = [None] * (len(header) - len(before))
            rest = empty if full else [_cell(entry.about[name]) for name in MORE_COLUMNS]
            yield _lines([narrowed(before + rest)])


def _analysis_cells(entry: Entry) -> list[Any]:
    about, image = entry.about, entry.row
    return [
        about["id"],
        about["image_id"],
        str(image.project_id),
        *map(_cell, (image.filename, about["model_name"], about["model_version"])),
        about["status"],
        about["created_at"],
    ]


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()


def _csv_row(row: Said) -> list[Any]:
    flat = NOTHING.copy()
    found = TYPES[row.annotation_type].row(row.data).values()
    for place, value in zip(PLACES[row.annotation_type], found, strict=True):
        flat[place] = _cell(value)
    return [
        row.id,
        row.annotation_type,
        _cell(row.class_name),
        row.confidence,
        _cell(row.storage_path),
        row.ordering,
        orjson.dumps(row.data).decode(),
        row.created_at,
        _cell(row.client_id),
        *flat,
    ]


def _cell(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
