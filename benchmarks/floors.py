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

MOST: dict[str, float] = {
    "export of 100,000": 1000,
    **dict.fromkeys(("list among", "list of a small project", "gallery among"), 10),
    "overlay of 2,000 boxes, first time": 15,
    "overlay of 2,000 boxes, from cache": 1,
    "memory grown": 20,
}
"""The same: the most of its unit that it may be."""

GROWTH_MB = 40


@dataclass(frozen=True)
class Floor:
    what: str
    wanted: str
    met: bool

    def out(self) -> dict[str, Any]:
        return {"what": self.what, "wanted": self.wanted, "met": self.met}


def floors(figures: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What must hold of these figures, and whether it does."""
    return [floor.out() for name, figure in figures.items() for floor in _of(name, figure)]


def _of(name: str, figure: dict[str, Any]) -> list[Floor]:
    found = []
    share, most = _by_first_words(SHARES, name), _by_first_words(MOST, name)
    if share is not None and figure["times_baseline"] is not None:
        met = 1 / figure["times_baseline"] >= share
        found.append(Floor(name, f"{share:.0%} of the baseline's speed", met))
    if most is not None:
        said = f"at most {most:g} {figure['unit']}"
        found.append(Floor(name, said, figure["loupe"]["median"] <= most))
    if "flat" in figure:
        found.append(Floor(name, "flat", figure["flat"]))
    if grown := figure.get("peak_growth_mb"):
        met = grown["loupe"] < GROWTH_MB
        found.append(Floor(name, f"memory grows by less than {GROWTH_MB} MB", met))
    return found


def _by_first_words(table: dict[str, float], name: str) -> float | None:
    return next((value for words, value in table.items() if name.startswith(words)), None)
