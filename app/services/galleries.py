"""The gallery of a project: images in one of three orders, narrowed by what is in them, from a place on.

A page is read along an index from that place, so the last one takes as long as the first. What is narrowed to is
looked for first: when it is little, all of it is known, and no walk past others is needed. One statement says all that
it can: how much there is, the images of the page, what their cards tell.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
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
)

from app import dialect
from app.models import Analysis, Image, Status
from app.models.analyses import LIVE_ALONE
from app.models.groups import PENDING
from app.services import made_once
from app.services.counting import Count
from app.services.listed import in_each

PLAIN, CARDED = 4, 8  # columns of an image of a page
LOOKED = 1000  # at so many analyses, or images, before they count as many
# what an index of parts of names can look for; for less it would be read from end to end
PART = re.compile(r"[^\W_]{3}")


class Order(NamedTuple):
    key: Any
    descending: bool = False

    def by(self, key: Any, row_id: Any, *, backwards: bool = False) -> list[Any]:
        return [one.desc() if self.descending != backwards else one for one in (key, row_id)]

    def beyond(self, key: Any, row_id: Any, *, backwards: bool = False) -> ColumnElement[bool]:
        """Than the place; nothing is beyond one that is not there."""
        place = self.place.correlate(None).scalar_subquery()
        return dialect.is_beyond(key, row_id, place, _PLACE_ID, below=self.descending != backwards)

    @property
    def place(self) -> Select[Any]:
        """Where the image `place_id` of the project stands, also one that was deleted."""
        return select(self.key).where(Image.id == _PLACE_ID, Image.project_id == bindparam("project_id"))


_PLACE_ID: Any = bindparam("place_id", type_=Image.id.type)
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


@dataclass(frozen=True)
class Part:
    """So many images from a place on, or without one after the first `skip`; with the newest analyses of each, so
    many, for its card, where there are any to show."""

    limit: int
    place: Place | None = None
    skip: int = 0
    shown: int = 0


class Card(NamedTuple):
    """Of the analyses of an image: status and model of the newest ones, how many there are, whether one has not ended,
    and how many annotations they have together."""

    newest: tuple[tuple[str, str], ...] = ()
    analyses: int = 0
    is_running: bool = False
    annotations: int = 0


class Shown(NamedTuple):
    """An image of a page; without a card where it has no analyses, or none are to be shown."""

    id: UUID
    filename: str
    width: int
    height: int
    card: Card | None


@dataclass(frozen=True)
class Page:
    images: Sequence[Shown]
    more: bool  # in the direction in which it was read
    count: Count  # of all that the filter finds
    is_placed: bool = True  # False: the project has no image where it should begin, and nothing was read


def page(project_id: UUID, wanted: Filter, images: Count, part: Part) -> Page:
    """`images` is how many the project has."""
    place, shape = part.place, wanted.shape
    values = {"project_id": project_id, **wanted.values, "skip": part.skip, "most": part.limit + 1}
    values |= {"looked": LOOKED + 1, "shown": part.shown}
    if place:
        values |= {"place_id": place.image_id}
    kind = Kind(wanted.sort, bool(place), bool(place and place.backwards), part.shown > 0)
    if wanted.narrows:
        rows, count = _narrowed(shape, kind, values)
    else:
        rows, count = made_once.rows(_walk(kind, shape), **values), images
    found = [row for row in rows if row.id is not None]
    is_placed = not place or bool(found) or bool(made_once.rows(_PLACES[wanted.sort], **values))
    some = [_shown(*row[: CARDED if kind.carded else PLAIN]) for row in found[: part.limit]]
    return Page(some[::-1] if kind.backwards else some, len(found) > part.limit, count, is_placed)


def _shown(
    image_id: UUID,
    filename: str,
    width: int,
    height: int,
    analyses: int = 0,
    annotations: int = 0,
    pending: int = 0,
    newest: Sequence[str] = (),
) -> Shown:
    """Of the first columns of a row: PLAIN of them, or CARDED."""
    card = Card(_states(tuple(newest)), analyses, pending > 0, int(annotations)) if analyses else None
    return Shown(image_id, filename, width, height, card)


@lru_cache(1000)
def _states(newest: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Statuses, which have no blanks, and models: mostly the same few, and so remembered. 60 cards: 50 -> 7 us."""
    return tuple((status, model) for status, _, model in (one.partition(" ") for one in newest))


def _narrowed(shape: Shape, kind: "Kind", values: Mapping[str, Any]) -> tuple[Sequence[Any], Count]:
    """The page and how much there is: where it is much, no more than that it is."""
    if shape.of_analyses:
        dialect.keep_to_order()
    if shape.of_analyses and not shape.text and kind.sort != "name":
        rows = made_once.rows(_walk_analyses(kind, shape), **values, of_each=values["skip"] + values["most"])
        return rows, _counted(rows[0].looked, rows[0].number)
    looked, number = made_once.rows(_look(shape), **values)[0] if shape.of_analyses else (LOOKED + 1, LOOKED)
    if looked <= LOOKED or shape.text:
        if looked > LOOKED:
            dialect.look_for_text(gathers=bool(PART.search(values["text"])))
        rows = made_once.rows(_few(kind, shape, looked <= LOOKED), **values)
        if rows[0].number <= LOOKED:
            return rows, Count(rows[0].number)
        looked, number = LOOKED + 1, LOOKED  # more than a moment ago, if they were few
        dialect.keep_to_order()
    return made_once.rows(_walk(kind, shape), **values), _counted(looked, number)


def _counted(looked: int, number: int) -> Count:
    """Of so many images are the analyses that were looked at, which are all or the first."""
    return Count(number) if looked <= LOOKED else Count(number // 100 * 100 or number, more=True)


# --- the statements, each made when it is first asked -------------------------------------------------------------


class Kind(NamedTuple):
    """What kind of page a statement reads."""

    sort: str
    placed: bool
    backwards: bool
    carded: bool

    def in_order(self, key: Any, row_id: Any) -> list[Any]:
        return SORTS[self.sort].by(key, row_id, backwards=self.backwards)

    def beyond(self, key: Any, row_id: Any) -> list[ColumnElement[bool]]:
        return [SORTS[self.sort].beyond(key, row_id, backwards=self.backwards)] * self.placed

    def bounded(self, statement: Select[Any], key: Any, row_id: Any) -> Select[Any]:
        ordered = statement.where(*self.beyond(key, row_id)).order_by(*self.in_order(key, row_id))
        return ordered.offset(bindparam("skip")).limit(bindparam("most"))

    def told(self, images: Select[Any], looked: Select[*tuple[Any, ...]] | None = None) -> Executable:
        """These images with what their cards tell; beside them, and also where there are none, what was looked at."""
        if looked is None and not self.carded:
            return images
        page = images.subquery("page")
        beside: Any = looked.subquery("looked") if looked is not None else None
        start: Any = page if beside is None else beside.outerjoin(page, true())
        columns = (page.c.id, page.c.filename, page.c.width, page.c.height)
        statement: Select[Any] = select(*columns).select_from(start)
        if self.carded:
            its = select(*_TOLD_OF).where(Analysis.image_id == page.c.id, Analysis.deleted_at.is_(None))
            statement = dialect.with_each(columns, start, its.correlate(page), _told)
        seen = () if beside is None else beside.c
        return statement.add_columns(*seen).order_by(*self.in_order(page.c.key, page.c.id))


_TOLD_OF = (
    *(Analysis.id, Analysis.created_at, Analysis.status, Analysis.model_name),
    Analysis.annotation_count,
)


def _told(its: Any) -> dialect.Told:
    """What a card tells of the analyses with these columns; no status has a blank."""
    totals = (
        func.count().label("analyses"),
        func.coalesce(func.sum(its.annotation_count), 0).label("annotations"),
        func.count().filter(its.status.in_(PENDING)).label("pending"),
    )
    newest_first = (its.created_at.desc(), its.id.desc())
    return dialect.Told(totals, "newest", its.status + " " + its.model_name, newest_first, bindparam("shown"))


@made_once.statement
def _walk(kind: Kind, shape: Shape) -> Executable:
    """Along the images in their order."""
    statement = _live(kind).where(*[_is_named()] * shape.text, *_has(shape))
    return kind.told(kind.bounded(statement, SORTS[kind.sort].key, Image.id))


@made_once.statement
def _walk_analyses(kind: Kind, shape: Shape) -> Executable:
    """Along the index that has the images in the order of time for each status; and what `_look` says."""
    keys = (Analysis.image_created_at, Analysis.image_id)
    of_each: Any = bindparam("of_each")

    def read(part: Any) -> Select[Any]:
        distinct: Select[Any] = part.where(*kind.beyond(*keys)).with_only_columns(*keys).distinct()
        return distinct.order_by(*kind.in_order(*keys)).limit(of_each)

    first = in_each(read, status=shape.status, model=shape.model)
    places = select(first.c.image_created_at.label("key"), first.c.image_id.label("id")).distinct()
    ordered = places.order_by(*kind.in_order(*places.selected_columns))
    page = ordered.offset(bindparam("skip")).limit(bindparam("most")).subquery()
    images = select(Image.id, Image.filename, Image.width, Image.height, page.c.key)
    return kind.told(images.join(page, page.c.id == Image.id), _look(shape))


@made_once.statement
def _look(shape: Shape) -> Select[Any, Any]:
    """How many of the first analyses are wanted whatever the text, and of how many images."""
    first = _looked_at(shape).subquery()
    number = func.count(first.c.image_id.distinct())
    return select(func.count().label("looked"), number.label("number")).select_from(first)


@made_once.statement
def _few(kind: Kind, shape: Shape, of_analyses: bool) -> Executable:
    """Out of few: the images of all analyses that are wanted, or those that have a name which is. And how many."""
    if of_analyses:
        keys = select(_looked_at(shape).subquery().c.image_id).distinct().subquery()
        # a join, in which each is looked up by itself: for an IN SQLite read all images, 100,000 in 146 ms instead of 6
        some = _live(kind).where(*[_is_named()] * shape.text).join(keys, Image.id == keys.c.image_id)
    else:
        some = _live(kind).where(_is_named(), *_has(shape)).limit(bindparam("looked"))
    few = some.cte("few").prefix_with("MATERIALIZED")
    number = select(func.count().label("number")).select_from(few)
    are_few = number.scalar_subquery() < bindparam("looked")  # else none of them is sorted
    return kind.told(kind.bounded(select(*few.c).where(are_few), few.c.key, few.c.id), number)


def _looked_at(shape: Shape) -> Select[Any]:
    """The image of each of the first analyses: along an index, and no other way."""
    clauses = [Analysis.project_id == bindparam("project_id"), *LIVE_ALONE, *_fits(shape)]
    along = (Analysis.status, Analysis.image_created_at, Analysis.image_id)
    return select(Analysis.image_id).where(*clauses).order_by(*along).limit(bindparam("looked"))


def _fits(shape: Shape) -> list[ColumnElement[bool]]:
    fits = [Analysis.status == bindparam("status")] * shape.status
    return fits + [Analysis.model_name == bindparam("model")] * shape.model


def _live(kind: Kind) -> Select[Any]:
    columns = (Image.id, Image.filename, Image.width, Image.height, SORTS[kind.sort].key.label("key"))
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


_PLACES = {sort: order.place for sort, order in SORTS.items()}
