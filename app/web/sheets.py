"""A view of an image turned into a drawing of its own: what is read of the database first, then the pictures.

What is drawn is planned, read and labelled as for the page, over a window that is the part of the image to take away.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from flask import current_app

from app import overlay
from app.errors import InvalidPayload, NotFound
from app.geometry import Frame, Rect
from app.models import Image
from app.overlay.sheet import MAX_PIXELS, NOTHING, Embedded, Layer, Scale, Sheet, sheet_of, window_over
from app.overlay.snapshot import LAST_COLOURED, RLE
from app.overlay.window import Window
from app.services import drawings, masks, renders
from app.services.renders import Original
from app.storage import Storage
from app.web import scene
from app.web.drawing import Subject
from app.web.picked import picked
from app.web.place import Place
from app.web.release import release
from app.web.scales import scale_of
from app.web.view import View, reals


@dataclass(frozen=True)
class Shown:
    """An analysis that is drawn, with the `rows` its plan needs and the segmentations that meet the window."""

    subject: Subject
    rows: Sequence[Any]
    masks: Sequence[Any]

    @property
    def name(self) -> str:
        analysis = self.subject.analysis
        return f"{analysis.model_name} {analysis.model_version} · {analysis.status}"


@dataclass(frozen=True)
class Gathered:
    """All that is read for a view of an image; what is drawn of it asks the database nothing more.

    `shown` are in the order in which they lie over the image, the chosen one last. `outline` is that of the picked one.
    """

    original: Original
    filename: str
    frame: Frame
    window: Window
    view: View
    shown: Sequence[Shown]
    outline: str

    @property
    def is_whole(self) -> bool:
        return self.window.rect == Rect(0, 0, *self.frame)


def gathered(image: Image, view: View, wanted: UUID | None, box: str) -> Gathered:
    """`box` is the part that is seen, `x,y,width,height` in pixels of the image; empty: as `at` says.

    It ends the transaction.
    """
    rows = scene.analyses_shown(image)
    selected = scene.choose(image, rows, wanted) if current_app.config["ML_ANALYSIS_ENABLED"] else None
    frame = Frame(image.width, image.height)
    window = window_over(_region(view, box, frame))
    release()  # nothing is held while snapshots are read or fetched
    subjects = scene.subjects_of(scene.drawn(rows, selected, view), view, window)
    shown = [_shown(one, view) for one in subjects]
    one = picked(subjects[-1], view.pick, view.sort, scene.PAGE_SIZE) if subjects and view.pick else None
    original = Original(image.id, image.sha256, image.storage_path)
    release()  # nor while pictures are fetched and drawn
    return Gathered(original, image.filename, frame, window, view, shown, one.d if one else "")


def _shown(subject: Subject, view: View) -> Shown:
    has_masks = view.bitmaps and len(subject.plan.masks)
    said = masks.of_analysis(subject.analysis, subject.window.rect) if has_masks else ()
    return Shown(subject, scene.rows_of(subject), said)


def _region(view: View, box: str, frame: Frame) -> Rect:
    """The part of the image that is seen; all of it when it is not said, or nothing of it is inside."""
    sides = reals(box, 4)
    if sides is not None and min(sides[2:]) > 0:
        x, y, width, height = sides
        seen = Rect(x, y, x + width, y + height)
    else:
        seen = Place(view.at, frame).window.rect
    return drawings.whole_pixels(seen, frame) or Rect(0, 0, *frame)


# --- the sheet: outside any transaction


def drawn(found: Gathered, storage: Storage, most: int = MAX_PIXELS) -> Sheet:
    """The picture in its own pixels, `most` a side at the most.

    Raises NotFound when the image itself is not in the storage.
    """
    layers = [_layer(one, found, storage, labelled=one is found.shown[-1]) for one in found.shown]
    picture = drawings.picture(found.original, found.window.rect, storage, most)
    notes = list(_notes(found))
    return sheet_of(found.filename, notes, found.window, picture, layers, found.outline, most)


def _layer(one: Shown, found: Gathered, storage: Storage, *, labelled: bool) -> Layer:
    view, subject = found.view, one.subject
    snapshot, plan, window = subject.snapshot, subject.plan, subject.window
    bitmaps, scales, lost = _bitmaps(one, view, storage) if view.bitmaps else ([], [], Counter[str]())
    if view.boxes and plan.tier == "tiles":
        bitmaps.append(drawings.outlines(snapshot, plan.shown & snapshot.is_vector, window))
    return Layer(
        name=one.name,
        counts=_counts(subject, view, lost),
        opacity=subject.opacity / 100,
        bitmaps=bitmaps,
        vector=overlay.draw(snapshot, plan, one.rows, window, subject.frame) if view.boxes else NOTHING,
        labels=overlay.labels(snapshot, plan, window, subject.frame, boxes=view.boxes, bitmaps=view.bitmaps)
        if labelled and view.labels
        else (),
        classes=_classes(subject, view),
        scales=scales,
    )


def _classes(subject: Subject, view: View) -> list[tuple[str, int, int]]:
    """Of what is drawn in their colours: the name, the place in the palette, how many."""
    snapshot, plan = subject.snapshot, subject.plan
    seen = np.zeros(len(snapshot), dtype=np.bool_)
    if view.boxes:
        seen[plan.vector] = True
    if view.bitmaps:
        seen[plan.pictures] = True
        seen |= plan.shown & (snapshot.kinds == RLE) & snapshot.inside(subject.frame)
    counts = snapshot.classes_among(seen & (snapshot.kinds <= LAST_COLOURED))
    return [(name or "without a class", snapshot.colours[name], count) for name, count in counts]


def _counts(subject: Subject, view: View, lost: Mapping[str, int]) -> str:
    plan, hidden = subject.plan, dict(subject.plan.hidden)
    if not view.boxes:
        hidden["boxes switched off"] = len(plan.vector)
    if not view.bitmaps:
        hidden["bitmaps switched off"] = plan.in_bitmaps
    hidden = {reason: number for reason, number in hidden.items() if number}
    apart = {**plan.undrawn, **lost}
    seen = plan.received - sum(hidden.values()) - sum(apart.values())
    why = ", ".join(f"{number:,} {reason}" for reason, number in hidden.items())
    parts = [f"{plan.received:,} received", f"{seen:,} drawn", f"{sum(hidden.values()):,} hidden"]
    parts[2] += f" ({why})" if why else ""
    return " · ".join(parts + [f"{number:,} {reason}" for reason, number in apart.items()])


def _bitmaps(one: Shown, view: View, storage: Storage) -> tuple[list[Embedded], list[Scale], Counter[str]]:
    """The pictures over the image, the scales of the heatmaps, and how many cannot be had for which reason."""
    subject, made, scales, lost = one.subject, [], [], Counter[str]()
    analysis, region, frame = subject.analysis, subject.window.rect, subject.frame
    colours = (view.color_map, view.low, view.high)
    for bitmap in overlay.bitmaps_of(one.rows, subject.snapshot.colours):
        try:
            made.append(drawings.layer(analysis.id, bitmap, colours, region, frame, storage))
        except NotFound:
            lost["not uploaded"] += 1
            continue
        except InvalidPayload:
            lost["not a picture that can be drawn"] += 1
            continue
        if bitmap.kind == "heatmap" and not renders.is_coloured(bitmap, analysis.revision, storage):
            scales.append(_scale(bitmap, view))
    if one.masks:
        made.append(drawings.masks(one.masks, view.filter, region, frame, subject.snapshot.colours))
    return made, scales, lost


def _scale(bitmap: overlay.StoredBitmap, view: View) -> Scale:
    scale = scale_of(bitmap, view)
    title = f"{bitmap.title} ({bitmap.unit})" if bitmap.unit else bitmap.title
    return Scale(title, scale.low, scale.high, scale.stops)


def _notes(found: Gathered) -> Iterator[str]:
    size = f"{found.frame.width} × {found.frame.height} px"
    if found.is_whole:
        yield size
    else:
        r = found.window.rect
        yield f"The part from x {r.x_min:g} to {r.x_max:g} and y {r.y_min:g} to {r.y_max:g}, of {size}"
    view = found.view
    if found.shown and view.filter:
        yield "Shown: " + "; ".join(_filters(view))


def _filters(view: View) -> Iterator[str]:
    if view.only is not None:
        yield f"only {view.only or 'what has no class'}"
    if view.text:
        yield f"classes with “{view.text}” in the name"
    if view.off:
        yield "without " + ", ".join(name or "what has no class" for name in view.off)
    if view.confidence:
        yield f"confidence of at least {view.confidence:g}"
