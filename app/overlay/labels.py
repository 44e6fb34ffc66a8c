"""Labels on an image: as many as are worth it, none over another, all inside."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from app.geometry import Frame, Rect
from app.overlay.parts import Label
from app.overlay.paths import number

MAX_LABELS = 120
MAX_LENGTH = 40
MAX_TRIES = 1200


@dataclass(frozen=True, slots=True)
class Wanted:
    """A text that should stand at a box."""

    annotation_id: str
    index: int
    text: str
    box: Rect


def font_size(frame: Frame) -> float:
    """The height of label text: the same on the screen whatever the image's size, when it fills the stage."""
    return number(max(2.0, max(frame) / 64))


def place_labels(wanted: Iterable[Wanted], frame: Frame) -> tuple[Label, ...]:
    """The labels that fit, those wanted first before the others."""
    size = font_size(frame)
    taken = _Taken(size * 8)
    labels: list[Label] = []
    for tries, one in enumerate(wanted):
        if len(labels) == MAX_LABELS or tries == MAX_TRIES:
            break
        label = _placed(one, frame, size, taken)
        if label is not None:
            labels.append(label)
    return tuple(labels)


def _placed(one: Wanted, frame: Frame, size: float, taken: "_Taken") -> Label | None:
    """The label above, inside or below its box, moved into the image; None when every place is taken."""
    box, text = one.box, one.text
    if len(text) > MAX_LENGTH:
        text = text[: MAX_LENGTH - 1] + "…"
    width, height = min(len(text) * size * 0.58 + size * 0.8, frame.width), min(size * 1.4, frame.height)
    x = min(max(box.x_min, 0), frame.width - width)
    for top in (box.y_min - height, box.y_min, box.y_max, box.y_max - height):
        plate = Rect(x, top, x + width, top + height)
        if top >= 0 and top + height <= frame.height and taken.claim(plate):
            return Label(
                annotation_id=one.annotation_id,
                index=one.index,
                text=text,
                x=number(x),
                y=number(top),
                width=number(width),
                height=number(height),
                text_x=number(x + size * 0.4),
                text_y=number(top + size * 1.05),
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


def _overlap(a: Rect, b: Rect) -> bool:
    return a.x_min < b.x_max and b.x_min < a.x_max and a.y_min < b.y_max and b.y_min < a.y_max
