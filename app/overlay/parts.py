"""What a template draws: plain values, documented for whoever writes `templates/overlay/*.svg`."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID

PALETTE = (  # the same ten as --c0 … --c9 in static/style.css; the last is for annotations without a class
    "#e69f00",
    "#56b4e9",
    "#2fd0a0",
    "#f0e442",
    "#5b8dff",
    "#ff7a45",
    "#e48bc0",
    "#b9f27c",
    "#c9a7ff",
    "#ffffff",
)
UNNAMED = len(PALETTE) - 1


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


@dataclass(frozen=True, slots=True)
class Item:
    """One annotation drawn as elements of its own. `kind` says which of the fields are filled.

    - `rect`: `x y width height` for `<rect>`.
    - `polygon`: `paths`, one `d` for each part of the shape, holes included: `<path fill-rule="evenodd">`.
    - `points`: `dots`, a `(x, y)` each for `<circle r="{{ layer.dot_radius }}">`, and `paths`, at most one
      `d` with the lines of the skeleton (no fill). Keypoints sent as `visible: false` or 0 are left out.

    `annotation_id` is the UUID as text, for element ids and links; `index` the palette index; `title` the
    full text for `<title>`: class and confidence. `x y width height` are the bounds of the other kinds too.
    """

    annotation_id: str
    kind: Literal["rect", "polygon", "points"]
    index: int
    title: str
    x: float
    y: float
    width: float
    height: float
    paths: tuple[str, ...] = ()
    dots: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ClassPath:
    """Many annotations of one class in one 500 px tile as one `<path d>` (the default fill-rule, nonzero).

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

    annotation_id: str
    index: int
    text: str
    x: float
    y: float
    width: float
    height: float
    text_x: float
    text_y: float


@dataclass(frozen=True, slots=True)
class VectorLayer:
    """Everything that is drawn as SVG shapes.

    Either `items` (up to the budget, an element each) or `paths` (above it, `grouped` is true) is filled.
    `labels` are at most 120, never overlapping, inside the viewBox, set in `font_size`. `received` counts the
    annotations handed in, `drawn` those that are in this layer, `undrawn` says why the others are not:
    reason in words → how many (`received == drawn + sum(undrawn.values())`).
    """

    width: int
    height: int
    items: tuple[Item, ...]
    paths: tuple[ClassPath, ...]
    labels: tuple[Label, ...]
    font_size: float
    dot_radius: float
    received: int
    drawn: int
    undrawn: Mapping[str, int]

    @property
    def view_box(self) -> str:
        return f"0 0 {self.width} {self.height}"

    @property
    def grouped(self) -> bool:
        return bool(self.paths)


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


@dataclass(frozen=True, slots=True)
class Layers:
    """Which layers a set of annotations needs: SVG shapes, the composed RLE masks, stored pictures."""

    vector: bool
    masks: bool
    bitmaps: tuple[StoredBitmap, ...]


def class_index(class_name: str | None) -> int:
    """The palette index of a class: 0 to 8 from a stable hash of its name, 9 for no class."""
    return UNNAMED if class_name is None else zlib.crc32(class_name.encode()) % UNNAMED
