"""What must hold on one core with PostgreSQL: a part of the bare baseline's speed, or a size. To add one: its line.

Milliseconds and rates by themselves say more of the machine than of Loupe, so they are floors only where there is
no baseline to compare with.
"""

from dataclasses import dataclass
from typing import Any

SHARES: dict[str, float] = {
    "bulk": 0.45,
    "GET analysis": 0.5,
    **dict.fromkeys(("PATCH status", "heartbeat", "presign", "finalize"), 0.6),
    "unchanged poll": 0.7,
}
"""By the first words of a figure's name: which part of the baseline's speed it must have."""

LISTS = ("list among", "list of a small project", "gallery among", "gallery by text among")

MOST: dict[str, float] = {
    "export of 100,000": 1000,
    **dict.fromkeys(LISTS, 10),
    "overlay of 2,000 boxes, first time": 15,
    "overlay of 2,000 boxes, from cache": 1,
    "memory grown": 20,
}
"""The same: the most of its unit that it may be; of lists in the server's time, each filter by itself."""

LAST_TO_FIRST = 1.25  # a last page may take so many times as long as a first,
ALLOWANCE = 1.0  # and so many ms more

GROWTH_MB = 40

EXPORTED = ("json", "csv")  # the formats of `make bench-exports` with floors:
EXPORTED_A_SECOND = 100_000  # annotations of a large analysis at the least,
EXPORTED_GROWTH_MB = 50  # and less than so much more memory at the peak


@dataclass(frozen=True)
class Floor:
    what: str
    wanted: str
    met: bool

    def out(self) -> dict[str, Any]:
        return {"what": self.what, "wanted": self.wanted, "met": self.met}


def floors(figures: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What must hold of these figures, and whether it does."""
    found = [floor for name, figure in figures.items() for floor in _of(name, figure)]
    for name, figure in figures.items():
        if name.startswith(LISTS) and name.endswith(": last"):
            found.append(_last_page(name, figures[name.removesuffix("last") + "first"], figure))
    return [floor.out() for floor in found]


def floors_of_export(what: str, form: str, rate: float, growth_mb: float) -> list[dict[str, Any]]:
    """Of a large analysis in one format, on any database; none for most formats."""
    if form not in EXPORTED:
        return []
    quick = Floor(what, f"at least {EXPORTED_A_SECOND:,} annotations/s", rate >= EXPORTED_A_SECOND)
    small = Floor(what, f"memory grows by less than {EXPORTED_GROWTH_MB} MB", growth_mb < EXPORTED_GROWTH_MB)
    return [quick.out(), small.out()]


def floors_of_growth(figures: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Of what else is known of them the growth of memory alone, whatever time they take."""
    found = (_growth(name, figure) for name, figure in figures.items())
    return [floor.out() for floors_of_one in found for floor in floors_of_one]


def missing(name: str) -> dict[str, Any]:
    """Of a measure that was asked for by its name and could not be had."""
    return Floor(name, "a figure", False).out()


def _of(name: str, figure: dict[str, Any]) -> list[Floor]:
    found = []
    share, most = _by_first_words(SHARES, name), _by_first_words(MOST, name)
    if share is not None and figure["times_baseline"] is not None:
        met = 1 / figure["times_baseline"] >= share
        found.append(Floor(name, f"{share:.0%} of the baseline's speed", met))
    if most is not None:
        found.append(_most(name, figure, most))
    if "flat" in figure:
        found.append(Floor(name, "flat", figure["flat"]))
    return [*found, *_growth(name, figure)]


def _growth(name: str, figure: dict[str, Any]) -> list[Floor]:
    grown = figure.get("peak_growth_mb")
    said = f"memory grows by less than {GROWTH_MB} MB"
    return [Floor(name, said, grown["loupe"] < GROWTH_MB)] if grown else []


def _most(name: str, figure: dict[str, Any], most: float) -> Floor:
    """Of the median; of lists that of the slowest filter, by the server's own log."""
    said, seen = f"at most {most:g} {figure['unit']}", figure["loupe"]["median"]
    if filters := {title: one["median"] for title, one in figure.get("served_by_filter", {}).items()}:
        slowest = max(filters, key=filters.__getitem__)
        seen = filters[slowest]
        said += f" of the server's time with any filter (the slowest: {slowest}, {seen:.1f})"
    return Floor(name, said, seen <= most)


def _last_page(name: str, first: dict[str, Any], last: dict[str, Any]) -> Floor:
    """Each filter's best last page beside its own best first page: not every filter has a last page."""
    before = first["served_by_filter"]
    slower = [
        filtered
        for filtered, taken in last["served_by_filter"].items()
        if taken["min"] > LAST_TO_FIRST * before[filtered]["min"] + ALLOWANCE
    ]
    said = f"with any filter at most {LAST_TO_FIRST:g} times as long as its first page, and {ALLOWANCE:g} ms more"
    return Floor(name, said + (f" (slower: {', '.join(slower)})" if slower else ""), not slower)


def _by_first_words(table: dict[str, float], name: str) -> float | None:
    return next((value for words, value in table.items() if name.startswith(words)), None)
