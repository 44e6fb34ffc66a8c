"""Lists that are read newest first from a place in them: what stands there, and the addresses of what is beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from marshmallow import ValidationError

from app.schemas.queries import PlaceCursor, place_of
from app.services.newest_first import Place

PAGE_SIZE = 50
Row = TypeVar("Row")


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
    page_size: int = PAGE_SIZE,
) -> Stretch[Row]:
    """What `older` or `newer` in the query ask for, otherwise the newest.

    `load(limit=, older_than=, newer_than=)` gives rows and whether more follow; `address(older=)` is that of a page.
    """
    older_than, newer_than = _place(args.get("older", "")), _place(args.get("newer", ""))
    if newer_than:
        rows, more = load(limit=page_size, newer_than=newer_than)
        if more or len(rows) == page_size:
            return Stretch(
                rows, address(newer=place_of(rows[0])) if more else None, address(older=place_of(rows[-1]))
            )
        older_than = None  # back at the beginning there may be less than a page: then it is the first page
    rows, more = load(limit=page_size, older_than=older_than)
    beginning = address(newer=place_of(rows[0])) if rows else address()
    return Stretch(
        rows, beginning if older_than else None, address(older=place_of(rows[-1])) if more else None
    )


def _place(text: str) -> Place | None:
    """A place that makes no sense counts as not given: an old or mistyped link still opens."""
    try:
        place: Place = PlaceCursor().deserialize(text)
    except ValidationError:
        return None
    return place
