"""What a template draws: plain values, documented for whoever writes `templates/overlay/*.svg`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import orjson

from app.annotations import TYPES
from app.overlay.window import Tile


class AnnotationLike(Protocol):
    """What drawing reads of an annotation: the model's row has it all."""

    @property
    def id(self) -> UUID | str: ...
    @property
    def annotation_type(self) -> str: ...
    @property
    def class_name(self) -> str | None: ...
    @property
    def confidence(self) -> Any: ...
    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def storage_path(self) -> str | None: ...
    @property
    def position(self) -> int: ...


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
class Boxes:
    """Many items of the kind `rect`, by columns: `x y width height` are texts, as they are written."""

    annotation_id: Sequence[str]
    index: Sequence[int]
    title: Sequence[str]
    x: Sequence[str]
    y: Sequence[str]
    width: Sequence[str]
    height: Sequence[str]

    def part(self, begin: int, end: int) -> "Boxes":
        texts = (self.annotation_id, self.title, self.x, self.y, self.width, self.height)
        ids, *others = (column[begin:end] for column in texts)
        return Boxes(ids, self.index[begin:end], *others)

    @property
    def items(self) -> Iterator[Item]:
        texts = (self.x, self.y, self.width, self.height)
        sides = (orjson.loads(f"[{','.join(column)}]") for column in texts)
        rows = zip(self.annotation_id, self.index, self.title, *sides, strict=True)
        return (Item(one, "rect", index, title, *place) for one, index, title, *place in rows)


Run: TypeAlias = tuple[str, Boxes | Sequence[Item]]
"""Items of one form that follow each other."""


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

    @property
    def mark(self) -> str:
        return " of-mask" if self.is_of_mask else ""

    @property
    def corner(self) -> float:
        """How round the corners of the plate are."""
        return round(self.height / 6, 2)

    @property
    def length(self) -> float:
        """Of the text, which leaves as much of the plate on its right as on its left."""
        return round(self.width - 2 * (self.text_x - self.x), 2)


@dataclass(frozen=True, slots=True)
class VectorLayer:
    """What is drawn as SVG: `runs` of items, an element each; above the budget `paths`, many in each; far above it
    `tiles`.

    `stroke` is the width of the outlines of paths in pixels of the image.
    """

    runs: tuple[Run, ...] = ()
    paths: tuple[ClassPath, ...] = ()
    tiles: tuple[Tile, ...] = ()
    stroke: float = 1.0

    @property
    def items(self) -> tuple[Item, ...]:
        return items_of(self.runs)


def items_of(runs: Sequence[Run]) -> tuple[Item, ...]:
    """One by one, in their order."""
    return tuple(item for _, run in runs for item in (run.items if isinstance(run, Boxes) else run))


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
