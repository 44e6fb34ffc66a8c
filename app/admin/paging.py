"""The page of a list that is asked for, and its neighbours: by its number, or in lists that only grow by its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from flask import url_for
from marshmallow import ValidationError

from app.schemas.queries import Cursor, cursor
from app.services.newest_first import Place

PAGE_SIZE = 50
Row = TypeVar("Row")


@dataclass(frozen=True)
class Listing(Generic[Row]):
    """A page of rows; `query` is what the list is narrowed by, for the links to its other pages."""

    endpoint: str
    query: Mapping[str, str]
    rows: Sequence[Row]
    total: int
    page: int

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // PAGE_SIZE))

    @property
    def narrows(self) -> bool:
        return any(self.query.values())

    def link(self, page: int) -> str:
        query = {name: value for name, value in self.query.items() if value}
        return url_for(self.endpoint, **query, **({"page": page} if page > 1 else {}))  # type: ignore[arg-type]


def read_page(args: Mapping[str, str]) -> int:
    text = args.get("page", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def read_text(args: Mapping[str, str], name: str) -> str:
    """Without what no database takes; nothing we store is longer."""
    return args.get(name, "").replace("\0", "").strip()[:255]


def listing(
    endpoint: str, query: Mapping[str, str], page: int, load: Callable[..., tuple[Sequence[Row], int]]
) -> Listing[Row]:
    """The page asked for, or the last one when there are fewer. `load(skip=, limit=)` gives rows and their number."""
    rows, total = load(skip=(page - 1) * PAGE_SIZE, limit=PAGE_SIZE)
    if not rows and total:
        return listing(endpoint, query, -(-total // PAGE_SIZE), load)
    return Listing(endpoint, query, rows, total, page if total else 1)


# --- lists that only grow ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stretch(Generic[Row]):
    """Rows that stand together, newest first, and the addresses of those beside them."""

    rows: Sequence[Row]
    newer: str | None
    older: str | None


def stretch(
    args: Mapping[str, str],
    address: Callable[..., str],
    load: Callable[..., tuple[Sequence[Row], bool]],
) -> Stretch[Row]:
    """What `older` or `newer` in the query ask for, otherwise the newest.

    `load(limit=, older_than=, newer_than=)` gives rows and whether more follow; `address(older=)` is that of a page.
    """
    older_than, newer_than = _place(args.get("older", "")), _place(args.get("newer", ""))
    if newer_than:
        rows, more = load(limit=PAGE_SIZE, newer_than=newer_than)
        if more or len(rows) == PAGE_SIZE:
            return Stretch(
                rows, address(newer=_cursor(rows[0])) if more else None, address(older=_cursor(rows[-1]))
            )
        older_than = None  # back at the beginning there may be less than a page: then it is the first page
    rows, more = load(limit=PAGE_SIZE, older_than=older_than)
    beginning = address(newer=_cursor(rows[0])) if rows else address()
    return Stretch(
        rows, beginning if older_than else None, address(older=_cursor(rows[-1])) if more else None
    )


def _cursor(row: Any) -> str:
    return cursor([row.created_at.isoformat(), str(row.id)])


def _place(text: str) -> Place | None:
    """A place that makes no sense counts as not given: an old or mistyped link still opens."""
    try:
        created_at, row_id = map(str, Cursor().deserialize(text))
        return datetime.fromisoformat(created_at).astimezone(UTC), UUID(row_id)
    except (ValidationError, ValueError, OverflowError):
        return None
