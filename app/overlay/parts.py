"""What a template draws: plain values, documented for whoever writes `templates/overlay/*.svg`."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

from app.annotations import TYPES
from app.overlay.window import Tile


class AnnotationLike(Protocol):
    """What drawing reads of an annotation; the model's row has it all."""

    id: UUID
    annotation_type: str
    class_name: str | None
    confidence: Any
    data: dict[str, Any]
    storage_path: str | None
    x_min: float | None
    y_min: float | None
    x_max: float | None
    y_max: float | None


class Item(NamedTuple):
    """One annotation drawn as elements of its own. `kind` says which of the fields are filled.

    - `rect`: `x y width height` for `<rect>`.
    - `polygon`: `d`, all parts of the shape with their holes (the default fill-rule, nonzero).
    - `points`: `dots`, lines of no length (`stroke-linecap="round"` makes them dots), and `d`, the lines of the
      skeleton, empty without one. Keypoints sent as `visible: false` or 0 are left out.

    `annotation_id` is the UUID as text, for element ids and links; `index` the palette index; `title` the
    full text for `<title>`: class and confidence. `x y width height` are the bounds of the other kinds too.
    """

    annotation_id: str
    kind: Literal["rect", "polygon", "points"]
    index: int  # type: ignore[assignment]  # hides that of tuples, which nobody asks
    title: str
    x: float
    y: float
    width: float
    height: float
    d: str = ""
    dots: str = ""

    @property
    def form(self) -> str:
        """Which elements it takes: its kind, or `skeleton` for points with lines between them."""
        return "skeleton" if self.kind == "points" and self.d else self.kind


@dataclass(frozen=True, slots=True)
class ClassPath:
    """Many annotations of one class or colour in one tile as one `<path d>` (the default fill-rule, nonzero).

    `kind` is `area` (outlined and filled) or `line` (dots and skeletons: stroke only, and
    `stroke-linecap="round"` makes the dots).
    `count` is how many annotations it holds, `title` says so in words.
    """

    kind: Literal["area", "line"]
    index: int
    d: str
    count: int
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text on a plate: `<rect x y width height>` and `<text x="text_x" y="text_y">` (y is the baseline)."""

    index: int
    text: str
    x: float
    y: float
    width: float
    height: float
    text_x: float
    text_y: float
    is_of_mask: bool = False


@dataclass(frozen=True, slots=True)
class VectorLayer:
    """What is drawn as SVG: `items`, an element each; above the budget `paths`, many in each; far above it `tiles`.

    `stroke` is the width of the outlines of paths in pixels of the image.
    """

    items: tuple[Item, ...] = ()
    paths: tuple[ClassPath, ...] = ()
    tiles: tuple[Tile, ...] = ()
    stroke: float = 1.0

    @property
    def runs(self) -> Iterator[tuple[str, list[Item]]]:
        """The items in their order, those of one `form` that follow each other together."""
        return ((form, list(run)) for form, run in groupby(self.items, key=attrgetter("form")))


@dataclass(frozen=True, slots=True)
class StoredBitmap:
    """One annotation whose picture stands in the object store: a heatmap, or a segmentation as PNG.

    `kind` is `heatmap` (for `bitmaps.recolour` with `color_map`) or `mask` (for `bitmaps.colour_mask` with
    `index` and `PALETTE`). `color_map` is the pipeline's own word or None; `vmin vmax unit` label the scale.
    """

    annotation_id: str
    kind: Literal["heatmap", "mask"]
    index: int
    title: str
    storage_path: str
    color_map: str | None = None
    vmin: float | None = None
    vmax: float | None = None
    unit: str | None = None


def title_of(annotation: AnnotationLike) -> str:
    """What a person calls it: the class and its confidence, or the type."""
    name = annotation.class_name
    if name is None:
        known = TYPES.get(annotation.annotation_type)
        name = known.title if known else annotation.annotation_type
    return name_and_confidence(name, annotation.confidence)


def name_and_confidence(name: str, confidence: float | None) -> str:
    return name if confidence is None else f"{name} {float(confidence):.2f}"
