"""An analysis as one JSON document."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson

from app.schemas.annotations import annotation_out


def write_json(head: dict[str, Any], pages: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Every field of the analysis, its artifacts, `schema_version`, and last the annotations."""
    yield orjson.dumps(head)[:-1] + b',"annotations":['
    comma = b""
    for rows in pages:
        yield comma + b",".join(orjson.dumps(annotation_out(row)) for row in rows)
        comma = b","
    yield b"]}\n"
