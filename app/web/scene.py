"""What the image page shows: the analyses of an image, and of the chosen one its layers, legend and annotations."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import current_app, url_for

from app import overlay
from app.access import role_in
from app.bitmaps import COLOR_MAPS, color_map_named
from app.errors import NotFound
from app.geometry import Frame
from app.models import Analysis, Image, Principal, Role, Status
from app.services import analyses, annotations, images
from app.web.view import View

PAGE_SIZE = 200
LABELS_COVER = 0.12  # of the image at the most
RAMP_STOPS = 16
# the reasons of overlay.vector_layer: one is no reason at all here, as the picture is a layer of its own
AS_PICTURE = "drawn as a picture"
NOT_DRAWN = {"nothing to draw": "without a shape"}
COLOURLESS = ("classification", "custom", "heatmap")
PICTURED = ("segmentation", "heatmap")
SHOWN_APART = 20  # classifications and custom objects that are shown beside the table
LETTERS = {
    Status.QUEUED: "q",
    Status.PROCESSING: "p",
    Status.COMPLETED: "c",
    Status.FAILED: "f",
    Status.CANCELED: "x",
}


@dataclass(frozen=True)
class Bitmap:
    """A picture over the image, fetched by the browser from `href`; `count` annotations are in it."""

    id: str
    kind: str
    href: str
    title: str
    count: int


@dataclass(frozen=True)
class ClassCount:
    name: str | None
    index: int
    count: int


@dataclass(frozen=True)
class Scale:
    """What the colours of a heatmap mean; `stops` are places from 0 to 1 with their colours."""

    id: str
    name: str
    low: str
    high: str
    label: str
    stops: Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Spot:
    """Where the annotation of a row is: seen when it is chosen, whatever is drawn."""

    id: UUID
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Drawing:
    """The chosen analysis as it is drawn: shapes, pictures, what they mean, how many there are."""

    vector: overlay.VectorLayer
    labels: Sequence[overlay.Label]
    bitmaps: Sequence[Bitmap]
    scales: Sequence[Scale]
    legend: Sequence[ClassCount]
    in_bitmaps: int
    not_drawn: Mapping[str, int]

    @property
    def received(self) -> int:
        return self.vector.received

    @property
    def drawable(self) -> int:
        return self.vector.drawn + self.in_bitmaps


@dataclass(frozen=True)
class Table:
    rows: Sequence[Any]
    first: int
    page: int
    pages: int
    total: int


@dataclass(frozen=True)
class Scene:
    image: Image
    view: View
    role: Role
    analyses: Sequence[Analysis]
    selected: Analysis | None
    drawing: Drawing | None
    table: Table | None
    classifications: Sequence[Any]
    customs: Sequence[Any]
    previous_id: UUID | None
    next_id: UUID | None

    @property
    def is_running(self) -> bool:
        return any(not analysis.state.is_terminal for analysis in self.analyses)

    @property
    def version(self) -> str:
        return version_of(self.analyses)

    @property
    def may_edit(self) -> bool:
        return self.role.includes(Role.EDITOR)

    def address(self, analysis: Analysis | None = None, **changes: Any) -> str:
        """This view with another analysis or other settings."""
        chosen = analysis or self.selected
        return self.view.address(self.image, chosen.id if chosen else None, **changes)

    def other_image(self, image_id: UUID) -> str:
        """Another image in the same way of looking; its own analysis is chosen there."""
        return url_for("web.show_image", image_id=image_id, **self.view.query(page=1))

    def colour_of(self, row: Any) -> int | None:
        """The place in the palette; none for what is not drawn in the colour of its class."""
        return None if row.annotation_type in COLOURLESS else overlay.class_index(row.class_name)

    @property
    def spots(self) -> list[Spot]:
        if self.drawing is None or self.table is None:
            return []
        frame = Frame(self.image.width, self.image.height)
        return [_spot(row, frame) for row in self.table.rows if row.x_min is not None]

    def table_link(self, page: int) -> str:
        return self.address(page=page) + "#annotations"

    @property
    def poll_address(self) -> str:
        query = self.view.query(self.selected.id if self.selected else None)
        return url_for("web.show_panel", image_id=self.image.id, version=self.version, **query)


def version_of(rows: Sequence[Analysis]) -> str:
    """The states and revisions of the analyses, newest first: `q1.c5`. Told apart, so that changes can be named."""
    return ".".join(f"{LETTERS[row.state]}{row.revision}" for row in rows)


def differences(version: str, scene: "Scene") -> tuple[list[Analysis], bool]:
    """What is new since a version: the analyses in another state, and whether the chosen one must be drawn again."""
    shown = [part for part in version.split(".") if part]
    new, now = len(scene.analyses) - len(shown), scene.version.split(".")
    if not shown or new < 0:
        return [], True
    before = [""] * new + shown
    changed = [row for row, old in zip(scene.analyses, before, strict=True) if old[:1] != LETTERS[row.state]]
    redrawn = any(
        row is scene.selected and old != current
        for row, old, current in zip(scene.analyses, before, now, strict=True)
    )
    return changed, redrawn


def choose(rows: Sequence[Analysis], wanted: UUID | None) -> Analysis | None:
    """The analysis asked for, else the newest completed one, else the newest. Raises NotFound."""
    if wanted is not None:
        found = next((row for row in rows if row.id == wanted), None)
        if found is None:
            raise NotFound("This image has no such analysis.")
        return found
    completed = (row for row in rows if row.state is Status.COMPLETED)
    return next(completed, rows[0] if rows else None)


def analyses_shown(image: Image) -> Sequence[Analysis]:
    """Newest first; none while the feature is off."""
    return analyses.of_image(image) if current_app.config["ML_ANALYSIS_ENABLED"] else []


def build(principal: Principal, image: Image, view: View, wanted: UUID | None) -> Scene:
    rows = analyses_shown(image)
    selected = choose(rows, wanted) if current_app.config["ML_ANALYSIS_ENABLED"] else None
    said = annotations.of_analysis(selected) if selected else []
    before, after = images.neighbours(image)
    return Scene(
        image=image,
        view=view,
        role=role_in(principal, image.project_id) or Role.VIEWER,
        analyses=rows,
        selected=selected,
        drawing=_draw(selected, said, Frame(image.width, image.height)) if selected else None,
        table=_table(said, view.page) if selected else None,
        classifications=[row for row in said if row.annotation_type == "classification"][:SHOWN_APART],
        customs=[row for row in said if row.annotation_type == "custom"][:SHOWN_APART],
        previous_id=before,
        next_id=after,
    )


def _draw(analysis: Analysis, said: Sequence[Any], frame: Frame) -> Drawing:
    vector, layers = overlay.vector_layer(said, frame), overlay.layers_of(said)
    undrawn = dict(vector.undrawn)
    in_bitmaps = undrawn.pop(AS_PICTURE, 0)
    hashes = {str(row.id): row.content_hash for row in said if row.annotation_type in PICTURED}
    bitmaps = [_stored(layer, hashes.pop(layer.annotation_id)) for layer in layers.bitmaps]
    if layers.masks:
        bitmaps.append(_masks(analysis, hashes, in_bitmaps - len(bitmaps)))
    return Drawing(
        vector=vector,
        labels=_labels(vector),
        bitmaps=bitmaps,
        scales=[_scale(layer) for layer in layers.bitmaps if layer.kind == "heatmap"],
        legend=_legend(said),
        in_bitmaps=in_bitmaps,
        not_drawn={NOT_DRAWN.get(reason, reason): number for reason, number in undrawn.items()},
    )


def _labels(vector: overlay.VectorLayer) -> list[overlay.Label]:
    """The most important labels, as long as they leave the image to be seen."""
    covered, room, kept = 0.0, vector.width * vector.height * LABELS_COVER, []
    for label in vector.labels:
        covered += label.width * label.height
        if covered > room:
            break
        kept.append(label)
    return kept


def _spot(row: Any, frame: Frame) -> Spot:
    """A frame a little larger than what it shows, so that it is seen around the smallest, and inside the image."""
    pad = max(frame) / 200
    x, right = _stretch(row.x_min, row.x_max, pad, frame.width)
    y, bottom = _stretch(row.y_min, row.y_max, pad, frame.height)
    return Spot(row.id, x, y, round(right - x, 1), round(bottom - y, 1))


def _stretch(low: float, high: float, pad: float, end: int) -> tuple[float, float]:
    """Longer by `pad` at both ends, as far as there is room up to half of it from the edges."""
    first, last = pad / 2, end - pad / 2
    return round(min(max(low - pad, first), last), 1), round(max(min(high + pad, last), first), 1)


def _legend(said: Sequence[Any]) -> list[ClassCount]:
    """The classes of what is drawn in their colours, the most frequent first."""
    names = Counter(row.class_name for row in said if row.annotation_type not in COLOURLESS)
    return [ClassCount(name, overlay.class_index(name), count) for name, count in names.most_common()]


def _stored(layer: overlay.StoredBitmap, content_hash: str) -> Bitmap:
    """Its address changes with what it shows, and only then: a browser fetches it again for that alone."""
    href = url_for("web.show_layer", annotation_id=layer.annotation_id, v=content_hash[:16])
    return Bitmap(f"bitmap-{layer.annotation_id}", layer.kind, href, layer.title, 1)


def _masks(analysis: Analysis, hashes: Mapping[str, str], count: int) -> Bitmap:
    version = hashlib.sha256("".join(hashes.values()).encode()).hexdigest()[:16]
    href = url_for("web.show_mask_layer", analysis_id=analysis.id, v=version)
    return Bitmap(f"masks-{analysis.id}", "mask", href, "Masks", count)


def _scale(layer: overlay.StoredBitmap) -> Scale:
    name = color_map_named(layer.color_map)
    colours = COLOR_MAPS[name]
    places = [round(step / (RAMP_STOPS - 1), 3) for step in range(RAMP_STOPS)]
    return Scale(
        id=layer.annotation_id,
        name=name,
        low="low" if layer.vmin is None else f"{layer.vmin:.4g}",
        high="high" if layer.vmax is None else f"{layer.vmax:.4g}",
        label=layer.unit or layer.title,
        stops=[(place, "#{:02x}{:02x}{:02x}".format(*colours[round(place * 255)])) for place in places],
    )


def _table(said: Sequence[Any], page: int) -> Table:
    pages = max(1, -(-len(said) // PAGE_SIZE))
    page = min(page, pages)
    first = (page - 1) * PAGE_SIZE
    return Table(said[first : first + PAGE_SIZE], first, page, pages, len(said))
