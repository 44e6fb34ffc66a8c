"""Run-length masks of an analysis, each in a shade of its class's colour, and how an outline is written."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Protocol

from app.annotations import TYPES
from app.geometry import Frame, Point, Raster
from app.overlay.colours import PALETTE, Colours
from app.overlay.filters import Filter

SHADES = (0.0, 0.4, -0.3)
"""How far to white, or below 0 to black: the instances of a class take turns, so that neighbours are told apart."""


class MaskRow(Protocol):
    @property
    def annotation_type(self) -> str: ...
    @property
    def class_name(self) -> str | None: ...
    @property
    def confidence(self) -> Any: ...
    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def position(self) -> int: ...


def _shade(colour: str, share: float) -> str:
    # what is white already can only become darker
    share = -share / 2 if colour == "#ffffff" and share > 0 else share
    parts = bytes.fromhex(colour[1:])
    mixed = [value + (255 - value) * share if share > 0 else value * (1 + share) for value in parts]
    return "#" + bytes(round(value) for value in mixed).hex()


MASK_PALETTE = tuple(_shade(colour, share) for colour in PALETTE for share in SHADES)
"""For `bitmaps.mask_layer`: the shades of each colour of PALETTE, one after the other."""


def shown_masks(
    rows: Iterable[MaskRow], frame: Frame, chosen: Filter, colours: Colours
) -> list[tuple[Raster, int]]:
    """The run-length masks that pass a filter and their indexes in MASK_PALETTE.

    A mask keeps its shade whatever else is shown.
    """
    return [
        (shape, colours[row.class_name] * len(SHADES) + row.position % len(SHADES))
        for row in rows
        if row.annotation_type == "segmentation" and row.data["format"] == "rle"
        if chosen.why_hidden(row.class_name, row.confidence) is None
        for shape in TYPES["segmentation"].shapes(row.data, frame)
        if isinstance(shape, Raster)
    ]


def outline_path(rings: Sequence[Sequence[Point]]) -> str:
    """The `d` of what `geometry.outlines` gives, exact: level and upright lines in turn. Fill it even-odd."""
    return "".join(_ring(ring) for ring in rings)


def _ring(ring: Sequence[Point]) -> str:
    x, y = ring[0]
    sides = pairwise(ring)
    steps = [f"V{after[1]:.8g}" if after[0] == before[0] else f"H{after[0]:.8g}" for before, after in sides]
    return f"M{x:.8g} {y:.8g}{''.join(steps)}z"
