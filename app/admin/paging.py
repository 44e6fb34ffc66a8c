"""The page of a list that is asked for by its number, and its neighbours. By a place in it: app/stretches.py."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from flask import url_for

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
