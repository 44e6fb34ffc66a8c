"""The part of an image that is looked at, and the grid of tiles it is drawn on."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from app.geometry import Frame, Rect


@dataclass(frozen=True, slots=True)
class Window:
    """A region in pixels of the image, and `scale`: how many pixels of the screen one of them takes.

    `density` is how many pixels of the screen a CSS pixel has; text is as large as CSS pixels say.
    """

    x: float
    y: float
    width: float
    height: float
    scale: float
    density: float = 1.0

    @property
    def rect(self) -> Rect:
        return Rect(self.x, self.y, self.x + self.width, self.y + self.height)

    @property
    def zoom(self) -> float:
        """CSS pixels to one of the image."""
        return self.scale / self.density

    @property
    def level(self) -> int:
        """The level of tiles at which a pixel of a tile takes at most one pixel of the screen, more than half of one.

        A pixel of a tile at level n is 2 to the n pixels of the image wide; negative levels are finer than the image.
        """
        return math.floor(-math.log2(self.scale) + 1e-9)

    @property
    def coarse_level(self) -> int:
        """The level at which a pixel of a tile takes one pixel of the screen, or up to two: lines are still seen."""
        return math.ceil(-math.log2(self.scale) - 1e-9)

    @property
    def view_box(self) -> str:
        return f"{self.x:g} {self.y:g} {self.width:g} {self.height:g}"


def whole(frame: Frame, width: float, height: float) -> Window:
    """All of the image, as it is fitted into a stage of this size (CSS pixels)."""
    return Window(0, 0, frame.width, frame.height, min(width / frame.width, height / frame.height))


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of the grid: `rect` is its part of the image, whole numbers of `side` pixels of the tile."""

    level: int
    column: int
    row: int
    rect: Rect


def tiles_over(rect: Rect, frame: Frame, level: int, side: int) -> Iterator[Tile]:
    """The tiles of a level that meet a region of the image, row by row. `side` is the pixels along a tile's side."""
    columns, rows = _columns_and_rows(rect, frame, level, side)
    for row in rows:
        for column in columns:
            yield tile_at(frame, level, column, row, side)


def tile_count(rect: Rect, frame: Frame, level: int, side: int) -> int:
    """How many `tiles_over` gives."""
    columns, rows = _columns_and_rows(rect, frame, level, side)
    return len(columns) * len(rows)


def _columns_and_rows(rect: Rect, frame: Frame, level: int, side: int) -> tuple[range, range]:
    span = side * 2.0**level
    left, right = max(0.0, rect.x_min), min(rect.x_max, frame.width)
    top, bottom = max(0.0, rect.y_min), min(rect.y_max, frame.height)
    if left >= right or top >= bottom:
        return range(0), range(0)
    columns = range(math.floor(left / span), math.ceil(right / span))
    return columns, range(math.floor(top / span), math.ceil(bottom / span))


def tile_at(frame: Frame, level: int, column: int, row: int, side: int) -> Tile:
    """One tile; at the right and lower edge its part of the image ends where the image does."""
    span = side * 2.0**level
    x, y = column * span, row * span
    return Tile(level, column, row, Rect(x, y, min(x + span, frame.width), min(y + span, frame.height)))
