"""The shades in which the masks of one class are told apart."""

from dataclasses import dataclass
from typing import Any

from app.annotations import TYPES
from app.geometry import Frame
from app.overlay.colours import PALETTE, Colours, class_index
from app.overlay.filters import Filter
from app.overlay.masks import MASK_PALETTE, shown_masks

FRAME = Frame(640, 480)


@dataclass
class Said:
    position: int
    class_name: str | None = "cat"
    confidence: Any = None
    annotation_type: str = "segmentation"

    @property
    def data(self) -> dict[str, Any]:
        return TYPES["segmentation"].example


def test_neighbours_of_one_class_have_shades_of_its_colour() -> None:
    assert len(set(MASK_PALETTE)) == len(MASK_PALETTE) == len(PALETTE) * 3
    shown = shown_masks([Said(place) for place in range(4)], FRAME, Filter(), Colours(["cat"]))
    colours = [MASK_PALETTE[index] for _, index in shown]
    assert len(set(colours)) == 3 and colours[3] == colours[0] == PALETTE[class_index("cat")]


def test_a_mask_keeps_its_shade_whatever_else_is_hidden() -> None:
    said, names = [Said(0), Said(1, "dog"), Said(2), Said(4)], Colours(["cat", "dog"])
    everything = [index for _, index in shown_masks(said, FRAME, Filter(), names)]
    filtered = [index for _, index in shown_masks(said, FRAME, Filter(off=frozenset({"dog"})), names)]
    assert filtered == [everything[0], *everything[2:]] and len(set(filtered)) == 3
