"""The gallery of a project: images in one of three orders, narrowed by what is in them, from a place on.

A page is read along an index from that place, so the last one takes as long as the first. What is narrowed to is
looked for first: when it is little, all of it is known, and no walk past others is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Select,
    bindparam,
    func,
    select,
    true,
    tuple_,
)

from app import dialect
from app.models import Analysis, Image, Status
from app.models.analyses import LIVE
from app.models.groups import PENDING
from app.services import made_once
from app.services.counting import Count
from app.services.listed import in_each

LOOKED = 1000  # at so many analyses, or images, before they count as many


class Order(NamedTuple):
    key: Any
    descending: bool = False

    def by(self, key: Any, row_id: Any, *, backwards: bool = False) -> list[Any]:
        return [one.desc() if self.descending != backwards else one for one in (key, row_id)]

    def beyond(self, key: Any, row_id: Any, *, backwards: bool = False) -> ColumnElement[bool]:
        """Than the place with the parameters `place_key` and `place_id`."""
        place = bindparam("place_key", type_=self.key.type), bindparam("place_id", type_=Image.id.type)
        here, there = tuple_(key, row_id), tuple_(*place)
        return here < there if self.descending != backwards else here > there


SORTS = {
    "newest": Order(Image.created_at, descending=True),
    "oldest": Order(Image.created_at),
    "name": Order(func.lower(Image.filename)),
}


class Shape(NamedTuple):
    """By what a statement narrows; to which values, it is told when it is asked."""

    text: bool
    status: bool
    model: bool

    @property
    def of_analyses(self) -> bool:
        return self.status or self.model


@dataclass(frozen=True)
class Filter:
    """What the gallery shows: part of a file name, the status or model of any analysis, an order of SORTS."""

    text: str = ""
    status: Status | None = None
    model: str = ""
    sort: str = "newest"

    @property
    def shape(self) -> Shape:
        return Shape(bool(self.text), bool(self.status), bool(self.model))

    @property
    def narrows(self) -> bool:
        return any(self.shape)

    @property
    def values(self) -> Mapping[str, Any]:
        """The parameters of every statement about it. In the text nothing stands for other text."""
        text = self.text.replace("/", "//").replace("%", "/%").replace("_", "/_")
        return {"text": text, "status": self.status, "model": self.model}


@dataclass(frozen=True)
class Place:
    """After this image in the order of the gallery, or `backwards` before it."""

    image_id: UUID
    backwards: bool = False


class Page(NamedTuple):
    images: Sequence[Any]  # of `id filename width height`
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
        sort, backwards = self.wanted.sort, bool(place and place.backwards)
        values = {"project_id": self.project_id, **self.wanted.values, "skip": skip, "most": limit + 1}
        if place:
            of_it = {"project_id": self.project_id, "image_id": place.image_id}
            if not (here := made_once.rows(_PLACES[sort], **of_it)):
                return Page((), more=False, is_placed=False)
            values |= {"place_key": here[0][0], "place_id": place.image_id}
        shape = self.wanted.shape
        if self.ids is not None:
            dialect.keep_to_order(False)  # few are sorted: in their order all others would be passed
            values["ids"] = self.ids
            statement = _page(sort, backwards, bool(place), None)
        elif shape.of_analyses and not shape.text and sort != "name":
            values["of_each"] = skip + limit + 1
            statement = _page_of_analyses(sort, backwards, bool(place), shape)
        else:
            statement = _page(sort, backwards, bool(place), shape)
        rows = made_once.rows(statement, **values)
        page = rows[:limit]
        return Page(page[::-1] if backwards else page, len(rows) > limit)


def find(project_id: UUID, wanted: Filter, images: Count) -> Found:
    """`images` is how many the project has."""
    if not wanted.narrows:
        return Found(project_id, wanted, images)
    dialect.keep_to_order()
    number, shape = 0, wanted.shape
    values = {"project_id": project_id, **wanted.values, "most": LOOKED + 1}
    if shape.of_analyses:
        looked, number = made_once.rows(_look(shape), **values)[0]
        if looked <= LOOKED:
            some = list({row[0] for row in made_once.rows(_images_of(shape), **values) if row.named})
            return Found(project_id, wanted, Count(len(some)), some)
    if shape.text:
        some = [row[0] for row in made_once.rows(_named_images(shape), **values)]
        if len(some) <= LOOKED:
            return Found(project_id, wanted, Count(len(some)), some)
        number = LOOKED
    return Found(project_id, wanted, Count(number // 100 * 100 or number, more=True))


# --- the statements, each made when it is first asked -------------------------------------------------------------


@made_once.statement
def _look(shape: Shape) -> Executable:
    """How many of the first analyses are wanted whatever the text, and of how many images."""
    first = _analyses(shape).with_only_columns(Analysis.image_id).limit(bindparam("most")).subquery()
    return select(func.count(), func.count(first.c.image_id.distinct()))


@made_once.statement
def _images_of(shape: Shape) -> Executable:
    """The images of all analyses that are wanted, of which there are few."""
    is_named = _is_named() if shape.text else true()
    return _analyses(shape).with_only_columns(Analysis.image_id, is_named.label("named"))


@made_once.statement
def _named_images(shape: Shape) -> Executable:
    return _live(Image.id).where(_is_named(), *_has(shape)).limit(bindparam("most"))


@made_once.statement
def _page(sort: str, backwards: bool, placed: bool, shape: Shape | None) -> Executable:
    """Images in an order: those of a shape, or those that are known."""
    order = SORTS[sort]
    statement = _live(Image.id, Image.filename, Image.width, Image.height)
    if shape is None:
        statement = statement.where(dialect.is_one_of(Image.id, "ids"))
    else:
        statement = statement.where(*[_is_named()] * shape.text, *_has(shape))
    if placed:
        statement = statement.where(order.beyond(order.key, Image.id, backwards=backwards))
    ordered = statement.order_by(*order.by(order.key, Image.id, backwards=backwards))
    return ordered.offset(bindparam("skip")).limit(bindparam("most"))


@made_once.statement
def _page_of_analyses(sort: str, backwards: bool, placed: bool, shape: Shape) -> Executable:
    """Images along the index that has them in the order of time for each status."""
    order = SORTS[sort]
    keys = (Analysis.image_created_at, Analysis.image_id)
    of_each: Any = bindparam("of_each")

    def read(part: Any) -> Select[Any]:
        if placed:
            part = part.where(order.beyond(*keys, backwards=backwards))
        distinct: Select[Any] = part.with_only_columns(*keys).distinct()
        return distinct.order_by(*order.by(*keys, backwards=backwards)).limit(of_each)

    first = in_each(read, status=shape.status, model=shape.model)
    places = select(first.c.image_created_at.label("at"), first.c.image_id.label("id")).distinct()
    ordered = places.order_by(
        *order.by(places.selected_columns.at, places.selected_columns.id, backwards=backwards)
    )
    page = ordered.limit(of_each).subquery()
    statement = select(Image.id, Image.filename, Image.width, Image.height).join(page, page.c.id == Image.id)
    statement = statement.order_by(*order.by(page.c.at, page.c.id, backwards=backwards))
    return statement.offset(bindparam("skip")).limit(bindparam("most"))


def _analyses(shape: Shape) -> Select[Any]:
    """Along an index, and no other way."""
    clauses = [Analysis.project_id == bindparam("project_id"), *LIVE, *_fits(shape)]
    along = (Analysis.status, Analysis.image_created_at, Analysis.image_id)
    return select(Analysis.id).join(Analysis.image).where(*clauses).order_by(*along)


def _fits(shape: Shape) -> list[ColumnElement[bool]]:
    fits = [Analysis.status == bindparam("status")] * shape.status
    return fits + [Analysis.model_name == bindparam("model")] * shape.model


def _live(*columns: Any) -> Select[Any]:
    return select(*columns).where(Image.project_id == bindparam("project_id"), Image.deleted_at.is_(None))


def _is_named() -> ColumnElement[bool]:
    return Image.filename.icontains(bindparam("text"), escape="/")


def _has(shape: Shape) -> list[ColumnElement[bool]]:
    """Whether it has such an analysis, asked image by image: PostgreSQL makes a join of an EXISTS, and reads all."""
    if not shape.of_analyses:
        return []
    clauses = [
        Analysis.project_id == bindparam("project_id"),
        *([] if shape.status else [Analysis.status.in_(list(Status))]),
        Analysis.image_created_at == Image.created_at,
        Analysis.image_id == Image.id,
        Analysis.deleted_at.is_(None),
    ]
    one = select(Analysis.id).where(*clauses, *_fits(shape)).correlate(Image).limit(1)
    return [one.scalar_subquery().is_not(None)]


# where in an order an image of the project stands, also one that was deleted
_PLACES = {
    sort: select(order.key).where(
        Image.id == bindparam("image_id"), Image.project_id == bindparam("project_id")
    )
    for sort, order in SORTS.items()
}


# --- what is shown beside them -----------------------------------------------------------------------------------


class Card(NamedTuple):
    """Of the analyses of an image: status and model of the newest ones, how many there are, whether one has not ended,
    and how many annotations they have together."""

    newest: tuple[tuple[str, str], ...] = ()
    analyses: int = 0
    is_running: bool = False
    annotations: int = 0


def cards(image_ids: Sequence[UUID], shown: int) -> dict[UUID, Card]:
    """Of each image that has analyses, with the `shown` newest of them."""
    found: dict[UUID, Card] = {}
    for image_id, some in groupby(made_once.rows(_cards(), image_ids=image_ids, shown=shown), itemgetter(0)):
        rows = list(some)
        _, _, _, analyses, annotations, pending = rows[0]
        newest = tuple((row[1], row[2]) for row in rows)
        found[image_id] = Card(newest, analyses, pending > 0, int(annotations))
    return found


@made_once.statement
def _cards() -> Executable:
    """One window for all of it, as PostgreSQL needs a half more for two."""
    newest_first = (Analysis.created_at.desc(), Analysis.id.desc())
    of_image: dict[str, Any] = {
        "partition_by": Analysis.image_id,
        "order_by": newest_first,
        "rows": (None, None),
    }
    whole = (
        select(
            *(Analysis.image_id, Analysis.status, Analysis.model_name, Analysis.created_at, Analysis.id),
            func.row_number().over(**of_image).label("place"),
            func.count().over(**of_image).label("analyses"),
            func.sum(Analysis.annotation_count).over(**of_image).label("annotations"),
            func.count().filter(Analysis.status.in_(PENDING)).over(**of_image).label("pending"),
        )
        .where(dialect.is_one_of(Analysis.image_id, "image_ids"), Analysis.deleted_at.is_(None))
        .subquery()
    )
    one = whole.c
    shown = select(one.image_id, one.status, one.model_name, one.analyses, one.annotations, one.pending)
    ordered = shown.order_by(one.image_id, one.created_at.desc(), one.id.desc())
    return ordered.where(one.place <= bindparam("shown"))
