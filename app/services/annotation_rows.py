"""Annotations as the driver has them, and as JSON: what the API answers and exports write, said once.

No rows of the ORM: plain columns, ids, times and `data` as text, and `data` read by orjson.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Double, Text, cast

from app.models import Annotation

Raw: TypeAlias = Sequence[Any]  # a row of COLUMNS
MOMENTS = 10_000  # times that are remembered; those of a batch are equal

TEXT = cast(Annotation.data, Text).label("data")


def columns_of(source: Any) -> tuple[Any, ...]:
    """What is on the wire, and the position, of an annotation that `source` has by the names of its columns."""
    return (
        cast(source.id, Text).label("id"),
        cast(source.analysis_id, Text).label("analysis_id"),
        source.annotation_type,
        source.class_name,
        cast(source.confidence, Double).label("confidence"),
        cast(source.data, Text).label("data"),
        source.storage_path,
        source.ordering,
        cast(source.created_at, Text).label("created_at"),
        source.client_id,
        source.position,
    )


COLUMNS = columns_of(Annotation)
OF, KIND, DATA, OWN, POSITION = 1, 2, 5, 9, 10  # the places of some among them


def on_the_wire(rows: Sequence[Raw]) -> list[dict[str, Any]]:
    """Every field of the contract, in its order. Written out: zipped with the names, JSON takes a fifth longer."""
    of, times = Ids(), moments
    return [
        {
            "id": i if len(i) == DASHED else dashed(i),
            "analysis_id": of[a],
            "annotation_type": kind,
            "class_name": name,
            "confidence": sure,
            "data": data,
            "storage_path": path,
            "ordering": rank,
            "created_at": times[at],
            "client_id": own,
        }
        for (i, a, kind, name, sure, _, path, rank, at, own, _), data in zip(rows, data_of(rows), strict=True)
    ]


def as_json(rows: Sequence[Raw]) -> bytes:
    """The same as JSON, with commas between them."""
    return orjson.dumps(on_the_wire(rows))[1:-1]


def data_of(rows: Sequence[Raw]) -> list[dict[str, Any]]:
    """The data of each, read at once: a fifth less than one by one."""
    found: list[dict[str, Any]] = orjson.loads(f"[{','.join([row[DATA] for row in rows])}]")
    return found


DASHED = 36  # the characters of an id; SQLite keeps the 32 digits


def dashed(text: str) -> str:
    """An id of either database, as it is everywhere else."""
    if len(text) == DASHED:
        return text
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Ids(dict[str, str]):
    """Ids that come again and again, with their dashes."""

    def __missing__(self, text: str) -> str:
        self[text] = whole = dashed(text)
        return whole


class _Moments(dict[str, str]):
    """Times as the databases write them, by which they are as the wire has them. SQLite keeps no zone."""

    def __missing__(self, text: str) -> str:
        moment = datetime.fromisoformat(text)
        if len(self) >= MOMENTS:
            self.clear()
        self[text] = wire = moment.replace(tzinfo=moment.tzinfo or UTC).isoformat()
        return wire


moments = _Moments()
