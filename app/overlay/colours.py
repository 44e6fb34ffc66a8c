"""The colours of classes: a palette, and which of its places each class of an analysis has."""

import zlib
from collections.abc import Iterable

PALETTE = (  # the same ten as --c0 … --c9 in static/style.css; the last is for annotations without a class
    "#e99c00",
    "#7373ff",
    "#32d19c",
    "#efe941",
    "#589fff",
    "#ff7c47",
    "#e18bbe",
    "#baf47b",
    "#c2b1f7",
    "#ffffff",
)
"""At least 17 apart (CIE 1976) from each other, also as people without one kind of cones see them by the model of
Machado, Oliveira and Fernandes (2009); 5 to 1 against the plates of labels."""
UNNAMED = len(PALETTE) - 1


def class_index(class_name: str | None) -> int:
    """The palette index that a class has by its name alone: 0 to 8 from a stable hash, 9 for no class."""
    return UNNAMED if class_name is None else zlib.crc32(class_name.encode()) % UNNAMED


class Colours(dict[str | None, int]):
    """The palette index of each class of an analysis.

    A class has that of its name. Of several classes that would have the same one the first in the alphabet has it; the
    others get what no class of the analysis has, the next after their own first, as long as there is any left. So a
    class keeps its colour from analysis to analysis unless it would be taken for another.
    """

    def __init__(self, names: Iterable[str | None]) -> None:
        named = sorted(name for name in set(names) if name is not None)
        first = {class_index(name): name for name in reversed(named)}
        free = [index for index in range(UNNAMED) if index not in first]
        super().__init__({name: index for index, name in first.items()})
        for name in named:
            if name not in self:
                own = class_index(name)
                index = min(free, key=lambda other: (other - own) % UNNAMED, default=own)
                self[name] = index
                if free:
                    free.remove(index)

    def __missing__(self, name: str | None) -> int:
        return class_index(name)
