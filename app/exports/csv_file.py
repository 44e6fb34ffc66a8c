"""An analysis as CSV: one row an annotation."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from app.annotations import COLUMNS as TYPE_COLUMNS
from app.annotations import TYPES
from app.schemas.annotations import annotation_out

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
FORMULA_STARTS = ("=", "+", "-", "@", "'", "\t", "\r")


def write_csv(head: dict[str, Any], pages: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """RFC 4180 with one row an annotation. Text that a spreadsheet would run gets a `'` before it, numbers do not."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS + TYPE_COLUMNS)
    yield buffer.getvalue().encode()
    for rows in pages:
        buffer.seek(0)
        buffer.truncate()
        writer.writerows(_csv_row(row) for row in rows)
        yield buffer.getvalue().encode()


def _csv_row(row: Any) -> list[Any]:
    out = annotation_out(row)
    flat = TYPES[row.annotation_type].row(row.data)
    common = [
        out["id"],
        out["annotation_type"],
        out["class_name"],
        out["confidence"],
        out["storage_path"],
        out["ordering"],
        orjson.dumps(row.data).decode(),
        out["created_at"],
        out["client_id"],
    ]
    return [_cell(value) for value in (*common, *(flat.get(column) for column in TYPE_COLUMNS))]


def _cell(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
