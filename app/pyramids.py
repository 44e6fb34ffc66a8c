"""A large picture in pieces: tiles at several scales, and one small copy of all of it. No Flask.

The tiles stand on the grid of `overlay.window`: a pixel of a tile at level n is 2 to the n pixels of the picture wide
(the mean of those). The base copy is the first level of which both sides are short; there are no tiles of that one.
"""

import io
from collections.abc import Generator
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image
from PIL.Image import Resampling

from app.geometry import Frame
from app.imaging import as_shown, decoding
from app.overlay.window import Tile, Window, tile_at, tiles_over

LARGEST_WHOLE = 4096
BASE_SIDE = 2048
SIDE = 1024
MOST_AT_ONCE = 30

# Every pixel keeps its own colour in JPEG (4:4:4), or borders of tiles would show where colours change.
_JPEG: tuple[str, dict[str, Any]] = ("image/jpeg", {"format": "JPEG", "quality": 88, "subsampling": 0})
_PNG: tuple[str, dict[str, Any]] = ("image/png", {"format": "PNG", "compress_level": 1})


@dataclass(frozen=True)
class Piece:
    """An encoded picture."""

    content: bytes
    content_type: str


def is_large(frame: Frame) -> bool:
    """Whether a picture of this size is shown in pieces."""
    return max(frame) > LARGEST_WHOLE


def base_level(frame: Frame) -> int:
    """The level of the base copy; 0 for a picture that is small itself."""
    level = 0
    while max(size_at(frame, level)) > BASE_SIDE:
        level += 1
    return level


def size_at(frame: Frame, level: int) -> Frame:
    """The size of all of a picture at a level, a started pixel counted as one."""
    return Frame(-(-frame.width >> level), -(-frame.height >> level))


def has_tile(frame: Frame, level: int, column: int, row: int) -> bool:
    """Whether there is such a tile."""
    if not is_large(frame) or not 0 <= level < base_level(frame):
        return False
    size = size_at(frame, level)
    return 0 <= column * SIDE < size.width and 0 <= row * SIDE < size.height


def tiles_in(frame: Frame, window: Window) -> list[Tile]:
    """The tiles that show a window sharply, at most 30; none where the base copy does.

    A window that would take more of them gets coarser ones.
    """
    for level in range(max(0, window.level), base_level(frame) if is_large(frame) else 0):
        tiles = list(tiles_over(window.rect, frame, level, SIDE))
        if len(tiles) <= MOST_AT_ONCE:
            return tiles
    return []


def make_base(source: IO[bytes]) -> Piece:
    """All of the picture on the scale of its base level, to be stretched over its frame. Raises InvalidPayload."""
    with decoding(source) as picture:
        frame = Frame(*picture.size)
        size = size_at(frame, base_level(frame))
        picture.draft(
            "RGB" if picture.mode != "L" else "L", size
        )  # a JPEG is decoded at a fraction of its size
        shown, profile = as_shown(picture)
        # what was decoded small has started pixels at its far sides; only their first part is picture
        scale = -(-frame.width // shown.width), -(-frame.height // shown.height)
        box = (0, 0, min(shown.width, frame.width / scale[0]), min(shown.height, frame.height / scale[1]))
        small = shown.resize(size, Resampling.BOX, box)
        return _encoded(small, profile, exact=_must_be_exact(picture, shown))


def make_tiles(source: IO[bytes]) -> Generator[tuple[Tile, Piece]]:
    """Every tile of the picture, coarse ones first. It is decoded once, and in memory until the last or `close()`.

    Raises InvalidPayload.
    """
    with decoding(source) as picture:
        shown, profile = as_shown(picture)
        exact = _must_be_exact(picture, shown)
        frame = Frame(*shown.size)
        for level in reversed(range(base_level(frame))):
            columns, rows = (range(-(-length // SIDE)) for length in size_at(frame, level))
            for row in rows:
                for column in columns:
                    tile = tile_at(frame, level, column, row, SIDE)
                    yield tile, _encoded(_cut(shown, tile), profile, exact=exact)


def _cut(picture: Image.Image, tile: Tile) -> Image.Image:
    rect = tile.rect
    part = picture.crop((int(rect.x_min), int(rect.y_min), int(rect.x_max), int(rect.y_max)))
    return part.resize(size_at(Frame(*part.size), tile.level), Resampling.BOX) if tile.level else part


def _must_be_exact(picture: Image.Image, shown: Image.Image) -> bool:
    """JPEG has no transparency; and of measurements in 16 bits the eight that are shown stay what they are."""
    return shown.mode == "RGBA" or picture.mode.startswith("I")


def _encoded(picture: Image.Image, profile: bytes, *, exact: bool) -> Piece:
    content_type, options = _PNG if exact else _JPEG
    picture.info.clear()  # of what the file said about itself only the profile belongs to a piece
    target = io.BytesIO()
    picture.save(target, **options, icc_profile=profile)
    return Piece(target.getvalue(), content_type)
