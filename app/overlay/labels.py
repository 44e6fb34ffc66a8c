"""Labels on an image: as many as are worth it, none over another, all inside."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from app.geometry import Rect
from app.overlay.parts import Label
from app.overlay.paths import number

MAX_LABELS = 120
MAX_LENGTH = 40
MAX_TRIES = 1200
COVER = 0.12
"""The part of the region that labels may cover: the image is what is looked at."""
FONT_SIZE = 12.0
"""CSS pixels."""
FINE = 100  # parts of a pixel of the image, which may be seen very large


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text that should stand at a box, that of a shape or of a mask."""

    index: int
    text: str
    box: Rect
    is_of_mask: bool = False


def place_labels(wanted: Iterable[Wanted], region: Rect, size: float) -> tuple[Label, ...]:
    """The labels that fit into a region, those wanted first before the others; `size` is the height of their text.

    A thing that was told twice, as a mask and its border, is labelled once. All in pixels of the image.
    """
    taken, room = _Taken(size * 8), region.width * region.height * COVER
    labels: list[Label] = []
    told: dict[str, list[Rect]] = {}
    for tries, one in enumerate(wanted):
        if len(labels) == MAX_LABELS or tries == MAX_TRIES:
            break
        if any(_same(one.box, other) for other in told.get(one.text, ())):
            continue
        label = _placed(one, region, size, taken)
        if label is None:
            continue
        told.setdefault(one.text, []).append(one.box)
        room -= label.width * label.height
        if room < 0:
            break
        labels.append(label)
    return tuple(labels)


def _placed(one: Wanted, region: Rect, size: float, taken: "_Taken") -> Label | None:
    """The label above, inside or below its box, moved into the region; None when every place is taken."""
    box, text = one.box, one.text
    if len(text) > MAX_LENGTH:
        text = text[: MAX_LENGTH - 1] + "…"
    width = min(len(text) * size * 0.58 + size * 0.8, region.width)
    height = min(size * 1.4, region.height)
    x = min(max(box.x_min, region.x_min), region.x_max - width)
    for top in (box.y_min - height, box.y_min, box.y_max, box.y_max - height):
        plate = Rect(x, top, x + width, top + height)
        if top >= region.y_min and top + height <= region.y_max and taken.claim(plate):
            return Label(
                index=one.index,
                text=text,
                x=number(x, FINE),
                y=number(top, FINE),
                width=number(width, FINE),
                height=number(height, FINE),
                text_x=number(x + size * 0.4, FINE),
                text_y=number(top + size * 1.05, FINE),
                is_of_mask=one.is_of_mask,
            )
    return None


class _Taken:
    """Where labels stand already, by coarse cells so that each new one is compared with a few only."""

    def __init__(self, cell: float) -> None:
        self.cell = cell
        self.cells: dict[tuple[int, int], list[Rect]] = {}

    def claim(self, plate: Rect) -> bool:
        """Takes the place if nothing stands there yet."""
        keys = [
            (column, row)
            for column in range(math.floor(plate.x_min / self.cell), math.floor(plate.x_max / self.cell) + 1)
            for row in range(math.floor(plate.y_min / self.cell), math.floor(plate.y_max / self.cell) + 1)
        ]
        if any(_overlap(plate, other) for key in keys for other in self.cells.get(key, ())):
            return False
        for key in keys:
            self.cells.setdefault(key, []).append(plate)
        return True


def _same(a: Rect, b: Rect) -> bool:
    """Whether they are off by a pixel at most, as a border is that was drawn around a mask."""
    pairs = ((a.x_min, b.x_min), (a.y_min, b.y_min), (a.x_max, b.x_max), (a.y_max, b.y_max))
    return all(abs(one - other) <= 1 for one, other in pairs)


def _overlap(a: Rect, b: Rect) -> bool:
    return a.x_min < b.x_max and b.x_min < a.x_max and a.y_min < b.y_max and b.y_min < a.y_max
