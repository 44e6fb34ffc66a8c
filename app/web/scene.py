"""What the image page shows: the analyses of an image, those that are drawn, and of the chosen one the annotations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

import numpy as np
from flask import current_app, url_for
from sqlalchemy import ColumnElement

from app import exports, overlay, storage
from app.access import role_in
from app.errors import Deleted, NotFound
from app.geometry import Frame
from app.models import Analysis, Image, Principal, Role, Status
from app.overlay.plan import OUT_OF_VIEW
from app.overlay.snapshot import CLASSIFICATION, CUSTOM, Indexes
from app.overlay.window import Window
from app.services import analyses, annotations, box_ids, images, receipts, snapshots
from app.web.drawing import Drawing, Subject, counted, draw
from app.web.picked import Picked, picked
from app.web.place import Place
from app.web.release import release
from app.web.versions import drawing_version, letter, version_of, version_of_one
from app.web.view import MAX_OTHERS, View

PAGE_SIZE = 200
COLOURLESS = ("classification", "custom", "heatmap")
RECEIPTS_SHOWN = 5
SHOWN_APART = 20  # classifications and custom objects that are shown beside the table


@dataclass(frozen=True)
class Table:
    """A page of the annotations that are shown; `total` is how many there are with those that are filtered out."""

    rows: Sequence[Any]
    first: int
    page: int
    pages: int
    shown: int
    total: int


@dataclass(frozen=True)
class Apart:
    """Annotations without a place, as they are shown beside the table: the first of so many."""

    rows: Sequence[Any]
    total: int


@dataclass(frozen=True)
class Scene:
    """`drawings` are in the order in which they lie over the image, that of the chosen analysis last."""

    principal: Principal
    image: Image
    view: View
    window: Window
    analyses: Sequence[Analysis]
    selected: Analysis | None
    drawings: Sequence[Drawing]
    colours: overlay.Colours
    chosen: Subject | None
    picked: Picked | None

    # what asks the database, when it is asked for: a fragment that shows none of it does not wait for it

    @cached_property
    def role(self) -> Role:
        return role_in(self.principal, self.image.project_id) or Role.VIEWER

    @cached_property
    def table(self) -> Table | None:
        return _table(self.chosen, self.view) if self.chosen else None

    @cached_property
    def classifications(self) -> Apart:
        return _apart(self.chosen, CLASSIFICATION) if self.chosen else Apart((), 0)

    @cached_property
    def customs(self) -> Apart:
        return _apart(self.chosen, CUSTOM) if self.chosen else Apart((), 0)

    @cached_property
    def neighbours(self) -> tuple[UUID | None, UUID | None]:
        """The image before and the one after."""
        return images.neighbours(self.image)

    @property
    def is_running(self) -> bool:
        return any(not analysis.state.is_terminal for analysis in self.analyses)

    @property
    def version(self) -> str:
        return version_of(self.analyses)

    @property
    def drawing_version(self) -> str:
        return drawing_version(self.version)

    @property
    def formats(self) -> Mapping[str, exports.Format]:
        """What an analysis can be taken away as."""
        return exports.FORMATS

    @property
    def may_edit(self) -> bool:
        return self.role.includes(Role.EDITOR)

    @property
    def drawing(self) -> Drawing | None:
        """That of the chosen analysis."""
        return self.drawings[-1] if self.drawings else None

    @property
    def receipts(self) -> Sequence[Any]:
        """The last of the chosen analysis, newest first. Asks the database, so only what shows them should."""
        return receipts.of_analysis(self.selected.id, RECEIPTS_SHOWN) if self.selected else ()

    @property
    def place(self) -> Place:
        return Place(self.view.at, Frame(self.image.width, self.image.height))

    @property
    def font_size(self) -> float:
        return overlay.font_size(self.window)

    @property
    def is_whole(self) -> bool:
        """Whether all that passes the filter is drawn, so that another place needs no new drawing but its labels."""
        return not any(
            drawing.vector.tiles or OUT_OF_VIEW in drawing.plan.hidden for drawing in self.drawings
        )

    @property
    def received(self) -> int:
        return sum(drawing.received for drawing in self.drawings)

    @property
    def vectors(self) -> int:
        return sum(drawing.vectors for drawing in self.drawings)

    @property
    def in_bitmaps(self) -> int:
        return sum(drawing.in_bitmaps for drawing in self.drawings)

    @property
    def hidden(self) -> Mapping[str, int]:
        return counted(self.drawings, "hidden")

    @property
    def undrawn(self) -> Mapping[str, int]:
        return counted(self.drawings, "undrawn")

    @property
    def besides(self) -> Sequence[Analysis]:
        """Those that can be drawn below the chosen one."""
        return [row for row in self.analyses if row is not self.selected and row.annotation_count]

    @property
    def attempt_before(self) -> Analysis | None:
        """The one whose worker was lost, so that the chosen one was made."""
        return next(
            (row for row in self.analyses if self.selected and row.id == self.selected.retry_of_id), None
        )

    @property
    def attempt_after(self) -> Analysis | None:
        """The one that was made when the worker of the chosen one was lost."""
        return next(
            (row for row in self.analyses if self.selected and row.retry_of_id == self.selected.id), None
        )

    @property
    def is_full(self) -> bool:
        """Whether no other analysis can be drawn besides."""
        return len(self.view.others) >= MAX_OTHERS

    def opacity_of(self, analysis: Analysis) -> int | None:
        """That of an analysis which is drawn besides the chosen one; None for all others."""
        return dict(self.view.others).get(analysis.id) if analysis is not self.selected else None

    def address(self, analysis: Analysis | None = None, **changes: Any) -> str:
        """This view with another analysis or other settings."""
        chosen = analysis or self.selected
        return self.view.address(self.image, chosen.id if chosen else None, **changes)

    def other_image(self, image_id: UUID) -> str:
        """Another image in the same way of looking; its own analysis is chosen there, and all of it is seen."""
        query = self.view.query(page=1, at=None, others=(), pick=None)
        return url_for("web.show_image", image_id=image_id, **query)

    def colour_of(self, row: Any) -> int | None:
        """The place in the palette; none for what is not drawn in the colour of its class."""
        return None if row.annotation_type in COLOURLESS else self.colours[row.class_name]

    @property
    def poll_address(self) -> str:
        return url_for("web.show_panel", image_id=self.image.id, version=self.version)


def differences(version: str, scene: "Scene") -> tuple[list[Analysis], bool]:
    """What is new since a version: the analyses in another state, and whether one that is drawn changed or went."""
    shown = {part.partition("-")[2]: part for part in version.split(".") if part}
    now = {row.id.hex[-6:]: row for row in scene.analyses}
    if not shown.keys() <= now.keys() or not shown:
        return [], True
    changed = [row for end, row in now.items() if shown.get(end, "")[:1] != letter(row)]
    drawn = {drawing.analysis.id for drawing in scene.drawings}
    redrawn = any(row.id in drawn and shown.get(end) != version_of_one(row) for end, row in now.items())
    return changed, redrawn


def choose(image: Image, rows: Sequence[Analysis], wanted: UUID | None) -> Analysis | None:
    """Of the image's analyses the one asked for, else the newest completed one, else the newest.

    Raises NotFound, or Deleted.
    """
    if wanted is not None:
        found = next((row for row in rows if row.id == wanted), None)
        if found is None and analyses.is_deleted(image, wanted):
            raise Deleted("This analysis has been deleted.")
        if found is None:
            raise NotFound("This image has no such analysis.")
        return found
    completed = (row for row in rows if row.state is Status.COMPLETED)
    return next(completed, rows[0] if rows else None)


def analyses_shown(image: Image) -> Sequence[Analysis]:
    """Newest first; none while the feature is off."""
    return analyses.of_image(image) if current_app.config["ML_ANALYSIS_ENABLED"] else []


def build(
    principal: Principal,
    image: Image,
    view: View,
    wanted: UUID | None,
    window: Window | None = None,
    *,
    draws: bool = True,
    rows: Sequence[Analysis] | None = None,
) -> Scene:
    """All that the page shows. `window` is what is drawn, if not what the view says a stage would show; `rows` are the
    `analyses_shown`, where they were read already.

    Without `draws` it is for one that is picked: nothing is drawn, and the table is on the page that has its row.
    """
    rows = analyses_shown(image) if rows is None else rows
    selected = choose(image, rows, wanted) if current_app.config["ML_ANALYSIS_ENABLED"] else None
    shown = window or Place(view.at, Frame(image.width, image.height)).window
    release()  # nothing is held while snapshots are read or fetched
    subjects = subjects_of(drawn(rows, selected, view), view, shown)
    chosen = subjects[-1] if subjects else None
    one = picked(chosen, view.pick, view.sort, PAGE_SIZE) if chosen and view.pick else None
    if not draws and one and one.page:
        view = view.on_page(one.page)
    return Scene(
        principal=principal,
        image=image,
        view=view,
        window=shown,
        analyses=rows,
        selected=selected,
        drawings=[_drawing(each, view, is_chosen=each is chosen) for each in subjects if draws],
        colours=chosen.snapshot.colours if chosen else overlay.Colours(()),
        chosen=chosen,
        picked=one,
    )


def _drawing(subject: Subject, view: View, *, is_chosen: bool) -> Drawing:
    """Only the chosen one has labels, and elements with ids."""
    ids = named(subject) if is_chosen else None
    return draw(subject, rows_of(subject), ids, view, labelled=is_chosen)


def drawn(rows: Sequence[Analysis], selected: Analysis | None, view: View) -> list[tuple[Analysis, int]]:
    """The analyses that are drawn with their opacities; what is not of this image is passed over."""
    if selected is None:
        return []
    others = dict(view.others)
    below = [(row, others[row.id]) for row in rows if row.id in others and row is not selected]
    return [*below[::-1], (selected, view.opacity)]


def subjects_of(drawn: Sequence[tuple[Analysis, int]], view: View, window: Window) -> list[Subject]:
    """What there is to draw of some analyses; call it outside any transaction."""
    return [subject(analysis, opacity, view, window, len(drawn)) for analysis, opacity in drawn]


def subject(analysis: Analysis, opacity: int, view: View, window: Window, layers: int = 1) -> Subject:
    """What there is to draw of one of so many `layers`; call it outside any transaction."""
    frame = Frame(analysis.image.width, analysis.image.height)
    snapshot = snapshots.of(analysis, storage.current())
    plan = overlay.plan(snapshot, view.filter, window, frame, layers)
    return Subject(analysis, opacity, snapshot, plan, window, frame)


def rows_of(subject: Subject) -> Sequence[Any]:
    """Those its plan needs."""
    return _at(subject, overlay.rows_needed(subject.snapshot, subject.plan), annotations.DRAWN)


def named(subject: Subject) -> tuple[Indexes, Sequence[str]]:
    """The boxes that are elements of their own and are there still, and their ids."""
    snapshot = subject.snapshot
    boxes = overlay.boxes_apart(snapshot, subject.plan)
    ids = snapshot.ids_of(boxes)
    if ids is not None:
        return boxes, ids
    found = box_ids.at(subject.analysis.id, snapshot.positions[boxes].tolist())
    return boxes[np.isin(snapshot.positions[boxes], list(found))], list(found.values())


def _at(
    subject: Subject, indexes: Indexes, columns: Sequence[ColumnElement[Any]] = annotations.ALL
) -> Sequence[Any]:
    """The rows at these places, in this order."""
    if not len(indexes):
        return ()
    positions = subject.snapshot.positions[indexes].tolist()
    rows = {row.position: row for row in annotations.at(subject.analysis.id, sorted(positions), columns)}
    return [rows[position] for position in positions if position in rows]


def _apart(subject: Subject, kind: int) -> Apart:
    indexes = np.flatnonzero(subject.plan.shown & (subject.snapshot.kinds == kind))
    return Apart(_at(subject, indexes[:SHOWN_APART]), len(indexes))


def _table(subject: Subject, view: View) -> Table:
    snapshot = subject.snapshot
    shown = snapshot.ordered(np.flatnonzero(subject.plan.shown), view.sort)
    pages = max(1, -(-len(shown) // PAGE_SIZE))
    page = min(view.page, pages)
    first = (page - 1) * PAGE_SIZE
    rows = _at(subject, shown[first : first + PAGE_SIZE])
    return Table(rows, first, page, pages, len(shown), len(snapshot))
