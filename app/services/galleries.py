"""The gallery of a project: images in one of three orders, narrowed by what is in them, from a place on.

A page is read along an index from that place, so the last one takes as long as the first. What is narrowed to is
looked for first: when it is little, all of it is known, and no walk past others is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, SQLColumnExpression, func, select, true, tuple_

from app import dialect
from app.extensions import db
from app.models import Analysis, Image, Status
from app.models.analyses import LIVE
from app.services.counting import Count
from app.services.listed import in_each

LOOKED = 1000  # at so many analyses, or images, before they count as many


class Order(NamedTuple):
    key: SQLColumnExpression[Any]
    descending: bool = False

    def by(self, key: Any, row_id: Any, *, backwards: bool = False) -> list[Any]:
        return [one.desc() if self.descending != backwards else one for one in (key, row_id)]

    def beyond(
        self, key: Any, row_id: Any, place: tuple[Any, UUID], *, backwards: bool
    ) -> ColumnElement[bool]:
        here, there = tuple_(key, row_id), tuple_(*place)
        return here < there if self.descending != backwards else here > there


SORTS = {
    "newest": Order(Image.created_at, descending=True),
    "oldest": Order(Image.created_at),
    "name": Order(func.lower(Image.filename)),
}


@dataclass(frozen=True)
class Filter:
    """What the gallery shows: part of a file name, the status or model of any analysis, an order of SORTS."""

    text: str = ""
    status: Status | None = None
    model: str = ""
    sort: str = "newest"

    @property
    def narrows(self) -> bool:
        return bool(self.text or self.of_analyses)

    @property
    def of_analyses(self) -> bool:
        return bool(self.status or self.model)


@dataclass(frozen=True)
class Place:
    """After this image in the order of the gallery, or `backwards` before it."""

    image_id: UUID
    backwards: bool = False


class Page(NamedTuple):
    images: Sequence[Image]
    more: bool  # in the direction in which it was read
    is_placed: bool = True  # False: the project has no image where it should begin, and nothing was read


@dataclass(frozen=True)
class Found:
    """What a filter finds in a project: `ids` are those of all images, where they are few."""

    project_id: UUID
    wanted: Filter
    count: Count
    ids: Sequence[UUID] | None = None

    def page(self, *, limit: int, place: Place | None = None, skip: int = 0) -> Page:
        """From the place on, or without one from the beginning."""
        order, backwards = SORTS[self.wanted.sort], bool(place and place.backwards)
        here = _place(self.project_id, order, place) if place else None
        if place and not here:
            return Page((), more=False, is_placed=False)
        by_time = self.wanted.of_analyses and not self.wanted.text and self.wanted.sort != "name"
        if self.ids is None and by_time:
            statement = _of_analyses(self.project_id, self.wanted, here, backwards, skip + limit + 1)
        else:
            if self.ids is not None:
                dialect.keep_to_order(False)  # few are sorted: in their order all others would be passed
            statement = _live(self.project_id).where(*self._clauses())
            if here:
                statement = statement.where(order.beyond(order.key, Image.id, here, backwards=backwards))
            statement = statement.order_by(*order.by(order.key, Image.id, backwards=backwards))
        rows = db.session.scalars(statement.offset(skip).limit(limit + 1)).all()
        page = rows[:limit]
        return Page(page[::-1] if backwards else page, len(rows) > limit)

    def _clauses(self) -> list[ColumnElement[bool]]:
        if self.ids is not None:
            return [Image.id.in_(self.ids)]
        return [*_named(self.wanted), *_has(self.project_id, self.wanted)]


def find(project_id: UUID, wanted: Filter, images: Count) -> Found:
    """`images` is how many the project has."""
    if not wanted.narrows:
        return Found(project_id, wanted, images)
    dialect.keep_to_order()
    number = 0
    if wanted.of_analyses:
        looked, number = _look(project_id, wanted)
        if looked <= LOOKED:
            some = _images_of(project_id, wanted)
            return Found(project_id, wanted, Count(len(some)), some)
    if wanted.text:
        clauses = (*_named(wanted), *_has(project_id, wanted))
        named = _live(project_id).where(*clauses).with_only_columns(Image.id).limit(LOOKED + 1)
        some = list(db.session.scalars(named))
        if len(some) <= LOOKED:
            return Found(project_id, wanted, Count(len(some)), some)
        number = LOOKED
    return Found(project_id, wanted, Count(number // 100 * 100 or number, more=True))


def _look(project_id: UUID, wanted: Filter) -> tuple[int, int]:
    """How many of the first LOOKED analyses, and one more, are wanted whatever the text, and of how many images."""
    first = _analyses(project_id, wanted).with_only_columns(Analysis.image_id).limit(LOOKED + 1).subquery()
    row = db.session.execute(select(func.count(), func.count(first.c.image_id.distinct()))).one()
    return row[0], row[1]


def _images_of(project_id: UUID, wanted: Filter) -> list[UUID]:
    """The images of all analyses that are wanted, of which there are few."""
    is_named = _named(wanted)[0] if wanted.text else true()
    statement = _analyses(project_id, wanted).with_only_columns(Analysis.image_id, is_named.label("named"))
    return list({row.image_id for row in db.session.execute(statement) if row.named})


def _analyses(project_id: UUID, wanted: Filter) -> Select[Any]:
    """Along an index, and no other way."""
    clauses = [Analysis.project_id == project_id, *LIVE]
    if wanted.status:
        clauses.append(Analysis.status == wanted.status)
    if wanted.model:
        clauses.append(Analysis.model_name == wanted.model)
    along = (Analysis.status, Analysis.image_created_at, Analysis.image_id)
    return select(Analysis.id).join(Analysis.image).where(*clauses).order_by(*along)


def _of_analyses(
    project_id: UUID, wanted: Filter, here: tuple[Any, UUID] | None, backwards: bool, limit: int
) -> Select[Image]:
    """Images along the index that has them in the order of time for each status."""
    order = SORTS[wanted.sort]
    keys = (Analysis.image_created_at, Analysis.image_id)

    def read(part: Any) -> Select[Any]:
        if here:
            part = part.where(order.beyond(*keys, here, backwards=backwards))
        distinct: Select[Any] = part.with_only_columns(*keys).distinct()
        return distinct.order_by(*order.by(*keys, backwards=backwards)).limit(limit)

    first = in_each(project_id, wanted.status, wanted.model or None, read)
    places = select(first.c.image_created_at.label("at"), first.c.image_id.label("id")).distinct()
    ordered = places.order_by(
        *order.by(places.selected_columns.at, places.selected_columns.id, backwards=backwards)
    )
    page = ordered.limit(limit).subquery()
    statement = select(Image).join(page, page.c.id == Image.id)
    return statement.order_by(*order.by(page.c.at, page.c.id, backwards=backwards))


def _live(project_id: UUID) -> Select[Image]:
    return select(Image).where(Image.project_id == project_id, Image.deleted_at.is_(None))


def _named(wanted: Filter) -> list[ColumnElement[bool]]:
    return [Image.filename.icontains(wanted.text, autoescape=True)] if wanted.text else []


def _has(project_id: UUID, wanted: Filter) -> list[ColumnElement[bool]]:
    """Whether it has such an analysis, asked image by image: PostgreSQL makes a join of an EXISTS, and reads all."""
    if not wanted.of_analyses:
        return []
    statuses = [wanted.status] if wanted.status else list(Status)
    clauses = [
        Analysis.project_id == project_id,
        Analysis.status.in_(statuses),
        Analysis.image_created_at == Image.created_at,
        Analysis.image_id == Image.id,
        Analysis.deleted_at.is_(None),
    ]
    if wanted.model:
        clauses.append(Analysis.model_name == wanted.model)
    one = select(Analysis.id).where(*clauses).correlate(Image).limit(1)
    return [one.scalar_subquery().is_not(None)]


def _place(project_id: UUID, order: Order, place: Place) -> tuple[Any, UUID] | None:
    """Where in the order an image of the project stands, also one that was deleted."""
    of_it = (Image.id == place.image_id, Image.project_id == project_id)
    row = db.session.execute(select(order.key, Image.id).where(*of_it)).one_or_none()
    return (row[0], row[1]) if row else None


# --- what is shown beside them -----------------------------------------------------------------------------------


class Card(NamedTuple):
    """Of the analyses of an image: the newest ones as rows of `id status model_name`, how many there are, whether one
    has not ended, and how many annotations they have together."""

    newest: Sequence[Any] = ()
    analyses: int = 0
    is_running: bool = False
    annotations: int = 0


def cards(image_ids: Sequence[UUID], shown: int) -> dict[UUID, Card]:
    """Of each image that has analyses, with the `shown` newest of them."""
    pending = [status.value for status in Status if not status.is_terminal]
    of_image: dict[str, Any] = {"partition_by": Analysis.image_id}
    newest_first = (Analysis.created_at.desc(), Analysis.id.desc())
    whole = select(
        *(Analysis.image_id, Analysis.id, Analysis.status, Analysis.model_name),
        func.row_number().over(order_by=newest_first, **of_image).label("place"),
        func.count().over(**of_image).label("analyses"),
        func.sum(Analysis.annotation_count).over(**of_image).label("annotations"),
        func.count().filter(Analysis.status.in_(pending)).over(**of_image).label("pending"),
    ).where(Analysis.image_id.in_(image_ids), Analysis.deleted_at.is_(None))
    found = whole.subquery()
    rows: dict[UUID, list[Any]] = {}
    for row in db.session.execute(select(found).where(found.c.place <= shown).order_by(found.c.place)):
        rows.setdefault(row.image_id, []).append(row)
    return {
        image_id: Card(some, some[0].analyses, some[0].pending > 0, int(some[0].annotations))
        for image_id, some in rows.items()
    }
