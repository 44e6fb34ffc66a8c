"""Rows of annotations made by hand, and sent as a bulk request's are."""

from collections.abc import Sequence
from typing import Any, cast

import orjson
from sqlalchemy import Table

from app.dialect import insert_rows
from app.models import Analysis, Annotation
from app.models.columns import new_id, now

TABLE = cast(Table, Annotation.__table__)
# it begins and ends with columns that are never empty
NAMES = [
    "id",
    *(c.name for c in TABLE.columns if c.name not in ("id", "created_at", "content_hash")),
    "content_hash",
]


def rows_of(analysis: Analysis, number: int = 1000, **columns: Any) -> list[dict[str, Any]]:
    """So many rows; `columns` go over what stands in each."""
    whole = dict.fromkeys(column.name for column in TABLE.columns)
    whole |= {"annotation_type": "custom", "data": {}, "created_at": now(), "content_hash": "hash"}
    whole |= {"analysis_id": analysis.id}
    return [
        {**whole, "id": new_id(), "client_id": f"n{position}", "position": position, **columns}
        for position in range(number)
    ]


def send(rows: Sequence[dict[str, Any]]) -> None:
    """With `insert_rows`; they were all created at one time."""
    texts = [
        {
            **row,
            "id": row["id"].hex,
            "analysis_id": row["analysis_id"].hex,
            "data": orjson.dumps(row["data"]).decode(),
        }
        for row in rows
    ]
    insert_rows(
        TABLE, NAMES, [tuple(map(row.get, NAMES)) for row in texts], {"created_at": rows[0]["created_at"]}
    )
