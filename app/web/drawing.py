"""How one analysis is drawn over its image in a view: shapes, labels, pictures, and what is left out and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import url_for

from app import overlay
from app.geometry import Frame
from app.models import Analysis
from app.overlay.plan import Plan
from app.overlay.snapshot import BOX, KINDS, RLE, Indexes, Snapshot
from app.overlay.window import Tile, Window, tiles_over
from app.web.keeping import FORM
from app.web.scales import Scale, scales_of
from app.web.view import View

MASKS_WHOLE = 4096  # pixels along a side; the masks of a larger image are fetched in tiles of what is in view
MASK_TILE = 1024
FILTERS = ("off", "only", "q", "min")
COLOURS = ("map", "low", "high")


@dataclass(frozen=True)
class Bitmap:
    """A picture over the image, fetched by the browser from `href`; `count` annotations are in it."""

    id: str
    kind: str
    href: str
    title: str
    count: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class ClassCount:
    name: str | None
    index: int
    count: int
    is_hidden: bool


@dataclass(frozen=True)
class Drawing:
    analysis: Analysis
    opacity: int
    plan: Plan
    vector: overlay.VectorLayer
    labels: Sequence[overlay.Label]
    bitmaps: Sequence[Bitmap]
    tiles: Sequence[Bitmap]
    scales: Sequence[Scale]
    legend: Sequence[ClassCount]
    kinds: Sequence[int]

    @property
    def received(self) -> int:
        return self.plan.received

    @property
    def vectors(self) -> int:
        return len(self.plan.vector)

    @property
    def in_bitmaps(self) -> int:
        return self.plan.in_bitmaps

    @property
    def named(self) -> int:
        """How many could have a label."""
        return len(self.plan.vector) + len(self.plan.masks)

    @property
    def labelled_masks(self) -> int:
        return sum(label.is_of_mask for label in self.labels)

    @property
    def has_other_than_boxes(self) -> bool:
        return any(kind not in (BOX, *range(RLE, len(KINDS))) for kind in self.kinds)

    @property
    def drawable(self) -> bool:
        """Whether there is anything a switch could hide, be it filtered out or out of view at present."""
        return bool(self.legend or self.bitmaps)


@dataclass(frozen=True)
class Subject:
    """What is known of an analysis before it is drawn."""

    analysis: Analysis
    opacity: int
    snapshot: Snapshot
    plan: Plan
    window: Window
    frame: Frame


def draw(
    subject: Subject,
    rows: Sequence[Any],
    named: tuple[Indexes, Sequence[str]] | None,
    view: View,
    *,
    labelled: bool,
) -> Drawing:
    """`rows` are those the plan needs, `named` is as `overlay.draw` has it. It may end the transaction; see
    `scales_of`."""
    analysis, plan, window, frame = subject.analysis, subject.plan, subject.window, subject.frame
    stored = overlay.bitmaps_of(rows, subject.snapshot.colours)
    hashes = {str(row.id): row.content_hash for row in rows if row.storage_path}
    vector = overlay.draw(subject.snapshot, plan, rows, window, frame, named)
    return Drawing(
        analysis=analysis,
        opacity=subject.opacity,
        plan=plan,
        vector=vector,
        labels=overlay.labels(subject.snapshot, plan, window, frame) if labelled else (),
        bitmaps=[
            *(_stored(layer, hashes[layer.annotation_id], frame, view) for layer in stored),
            *_masks(subject, view),
        ],
        tiles=[_tile(tile, analysis, view) for tile in vector.tiles],
        scales=scales_of(stored, analysis.revision, view),
        legend=_legend(subject.snapshot, view),
        kinds=list(subject.snapshot.kind_counts),
    )


def _legend(snapshot: Snapshot, view: View) -> list[ClassCount]:
    """The classes of what is drawn in their colours, the most frequent first."""
    hidden = view.filter.hidden_classes(snapshot.names)
    return [
        ClassCount(name, snapshot.colours[name], count, name in hidden)
        for name, count in snapshot.class_counts
    ]


def _chosen(view: View, names: Sequence[str]) -> dict[str, Any]:
    """That part of the query of a view which changes a picture."""
    return {name: value for name, value in view.query().items() if name in names}


def _stored(layer: overlay.StoredBitmap, content_hash: str, frame: Frame, view: View) -> Bitmap:
    """Its address changes with what it shows, and only then: a browser fetches it again for that alone."""
    colours = _chosen(view, COLOURS) if layer.kind == "heatmap" else {}
    version = content_hash[:16] if layer.kind == "heatmap" else f"{content_hash[:16]}-{layer.index}"
    href = url_for("web.show_layer", annotation_id=layer.annotation_id, v=version, **colours)
    name = f"bitmap-{layer.annotation_id}"
    return Bitmap(name, layer.kind, href, layer.title, 1, 0, 0, *frame)


def _masks(subject: Subject, view: View) -> list[Bitmap]:
    """All run-length masks in one picture, or over a large image in those tiles that are in view."""
    analysis, count, frame = subject.analysis, len(subject.plan.masks), subject.frame
    if not count:
        return []
    chosen, version = _chosen(view, FILTERS), f"{analysis.revision}-{FORM}"
    if max(frame) <= MASKS_WHOLE:
        href = url_for("web.show_mask_layer", analysis_id=analysis.id, v=version, **chosen)
        return [Bitmap(f"masks-{analysis.id}", "mask", href, "Masks", count, 0, 0, *frame)]
    level = max(0, subject.window.level)
    return [
        Bitmap(
            f"masks-{analysis.id}-{level}-{tile.column}-{tile.row}",
            "mask",
            url_for(
                "web.show_mask_tile",
                analysis_id=analysis.id,
                level=level,
                column=tile.column,
                row=tile.row,
                v=version,
                **chosen,
            ),
            "Masks",
            count if place == 0 else 0,
            *_placed(tile),
        )
        for place, tile in enumerate(tiles_over(subject.window.rect, frame, level, MASK_TILE))
    ]


def _tile(tile: Tile, analysis: Analysis, view: View) -> Bitmap:
    href = url_for(
        "web.show_tile",
        analysis_id=analysis.id,
        level=tile.level,
        column=tile.column,
        row=tile.row,
        v=f"{analysis.revision}-{FORM}",
        **_chosen(view, FILTERS),
    )
    name = f"tile-{analysis.id}-{tile.level}-{tile.column}-{tile.row}"
    return Bitmap(name, "tile", href, "", 0, *_placed(tile))


def _placed(tile: Tile) -> tuple[float, float, float, float]:
    rect = tile.rect
    return rect.x_min, rect.y_min, rect.width, rect.height


def counted(drawings: Sequence[Drawing], part: str) -> Mapping[str, int]:
    """The reasons of all drawings together: `hidden` or `undrawn`."""
    counts: dict[str, int] = {}
    for drawing in drawings:
        for reason, number in getattr(drawing.plan, part).items():
            counts[reason] = counts.get(reason, 0) + number
    return counts
