"""What the lists of projects and of a project's images show: the query they are narrowed by, and their rows."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, NamedTuple
from uuid import UUID

from flask import url_for

from app.models import Project, Status
from app.services import counting, galleries, overviews, surroundings

PAGE_SIZE = 60
COVER_SIZE = 4
BADGES = 4  # of the analyses of an image
OFFERED = 500  # models to choose from
_ANY = UUID(int=2**128 - 1)


@dataclass(frozen=True)
class GalleryQuery:
    """Part of a file name, the state and the model of any analysis, an order; and where in it the page begins.

    The place says it, and the number of the page is what people are told; an old link has only that.
    """

    wanted: galleries.Filter
    page: int = 1
    place: galleries.Place | None = None

    @property
    def narrows(self) -> bool:
        return self.wanted.narrows

    def address(self, project: Project, **more: str) -> str:
        wanted = self.wanted
        query = {"q": wanted.text, "state": wanted.status or "", "model": wanted.model}
        query |= {
            "sort": wanted.sort if wanted.sort != "newest" else "",
            "page": str(self.page) if self.page > 1 else "",
        }
        if self.place:
            query["before" if self.place.backwards else "after"] = str(self.place.image_id)
        filled = {name: str(value) for name, value in (query | more).items() if value}
        return url_for("web.show_project", project_id=project.id, **filled)  # type: ignore[arg-type]

    def at(self, page: int, place: galleries.Place | None) -> "GalleryQuery":
        return replace(self, page=max(1, page), place=place if page > 1 else None)


def read_query(args: Mapping[str, str], *, ml: bool) -> GalleryQuery:
    """A value that makes no sense counts as not given: an old or mistyped link still opens."""
    status, sort, page = args.get("state", ""), args.get("sort", ""), args.get("page", "")
    wanted = galleries.Filter(
        text=args.get("q", "").replace("\0", "").strip()[:255],
        status=Status(status) if ml and status in list(Status) else None,
        model=args.get("model", "").replace("\0", "")[:255] if ml else "",
        sort=sort if sort in galleries.SORTS else "newest",
    )
    whole = page.isascii() and page.isdigit() and len(page) < 7
    number = max(1, int(page)) if whole else 1
    return GalleryQuery(wanted, number, _place(args) if number > 1 else None)


def _place(args: Mapping[str, str]) -> galleries.Place | None:
    for name in ("after", "before"):
        with suppress(ValueError):
            return galleries.Place(UUID(args.get(name, "")), backwards=name == "before")
    return None


class Shown(NamedTuple):
    """An image as its card has it: `states` are those of the newest analyses with their models, and how many more."""

    image_id: str
    address: str
    preview: str
    filename: str
    about: str
    states: tuple[tuple[tuple[str, str], ...], int] | None


@dataclass(frozen=True)
class Gallery:
    """A page of the gallery; without cards, models and groups while the feature is off."""

    project: Project
    query: GalleryQuery
    page: galleries.Page
    around: surroundings.Surroundings
    follows: bool
    statuses = tuple(Status)

    @classmethod
    def load(cls, project: Project, query: GalleryQuery, now: datetime, *, ml: bool) -> "Gallery":
        around = surroundings.of_project(project.id, now, most=OFFERED if ml else 0)
        read = partial(galleries.page, project.id, query.wanted, around.totals.images)
        query, page, follows = _page(read, query, BADGES if ml else 0)
        return cls(project, query, page, around, follows)

    @property
    def images(self) -> Sequence[galleries.Shown]:
        return self.page.images

    @property
    def totals(self) -> counting.Totals:
        return self.around.totals

    @property
    def matching(self) -> counting.Count:
        return self.page.count

    @property
    def models(self) -> Sequence[str]:
        """To choose from, with the one that is chosen, also where there are more or it has nothing now."""
        offered, chosen = self.around.models, self.query.wanted.model
        return offered if not chosen or chosen in offered else sorted([*offered, chosen])

    @property
    def shown(self) -> list[Shown]:
        """Each with all that its card says, as a template that looks something up takes longer."""
        address_of, preview_of = addresses("web.show_image"), addresses("web.image_preview")
        return [_shown(image, address_of, preview_of) for image in self.images]

    @property
    def pages(self) -> counting.Count:
        """No fewer than are known to be there, whatever was counted a while ago."""
        there = self.query.page + self.follows
        return replace(self.matching, number=max(there, _pages(self.matching)))

    @cached_property
    def is_running(self) -> bool:
        return any(image.card and image.card.is_running for image in self.images)

    @cached_property
    def version(self) -> str:
        """Changes whenever the page would look different."""
        seen = [(image.id.bytes, image.card) for image in self.images]
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]

    @cached_property
    def newer(self) -> str | None:
        """The address of the page before this one."""
        return self._beside(self.query.page - 1, self.images[0], True) if self.query.page > 1 else None

    @cached_property
    def older(self) -> str | None:
        return self._beside(self.query.page + 1, self.images[-1], False) if self.follows else None

    def _beside(self, page: int, image: Any, backwards: bool) -> str:
        return self.query.at(page, galleries.Place(image.id, backwards)).address(self.project)

    @property
    def here(self) -> str:
        return self.query.address(self.project)

    @property
    def poll_address(self) -> str:
        return self.query.address(self.project, version=self.version)


def _shown(
    image: galleries.Shown, address_of: Callable[[str], str], preview_of: Callable[[str], str]
) -> Shown:
    image_id, filename, width, height, card = image
    name, about, states = str(image_id), f"{width} × {height}", None
    if card:
        about = f"{about} · {_said(card.annotations)}"
        states = card.newest, card.analyses - len(card.newest)
    return Shown(name, address_of(name), preview_of(name), filename, about, states)


def _said(annotations: int) -> str:
    """On one line, so that a narrow card breaks before it."""
    number = f"{annotations:,} annotation{'' if annotations == 1 else 's'}"
    return (number if annotations else "no annotations yet").replace(" ", "\N{NO-BREAK SPACE}")


def addresses(endpoint: str) -> Callable[[str], str]:
    """What `url_for` says for each `image_id`, asked once: 30 us less for each of the 120 of a page."""
    before, after = url_for(endpoint, image_id=_ANY).split(str(_ANY))
    return lambda image_id: f"{before}{image_id}{after}"


def _page(
    read: Callable[[galleries.Part], galleries.Page], query: GalleryQuery, badges: int
) -> tuple[GalleryQuery, galleries.Page, bool]:
    """The page asked for, or the last one when there are fewer; and whether another one follows."""
    place = query.place
    if place:
        page = read(galleries.Part(PAGE_SIZE, place, shown=badges))
        goes_on = page.more if place.backwards else len(page.images) > 0
        if goes_on:
            return query, page, page.more or place.backwards
        if page.is_placed:
            # back at the beginning, where there may be less than a page; or what came after is gone
            return _page(read, query.at(1 if place.backwards else query.page - 1, None), badges)
    page = read(galleries.Part(PAGE_SIZE, skip=(query.page - 1) * PAGE_SIZE, shown=badges))
    if page.images or query.page == 1:
        return query.at(query.page, None), page, page.more
    last = _pages(page.count)
    is_known = not page.count.more and last < query.page
    return _page(read, query.at(last if is_known else (query.page + 1) // 2, None), badges)


def _pages(matching: counting.Count) -> int:
    return max(1, -(-matching.number // PAGE_SIZE))


@dataclass(frozen=True)
class ProjectCard:
    project: Project
    role: str
    totals: counting.Totals
    cover: Sequence[UUID]
    statuses: Mapping[str, counting.Count]


def project_cards(rows: Sequence[tuple[Project, Any]], now: datetime, *, ml: bool) -> list[ProjectCard]:
    """`rows` are projects and the person's role in each."""
    ids = [project.id for project, _ in rows]
    covers, totals = overviews.covers(ids, COVER_SIZE), counting.totals_of(ids, now)
    return [
        ProjectCard(project, role, of_it, covers[project.id], of_it.by_status if ml else {})
        for project, role in rows
        for of_it in (totals[project.id],)
    ]
