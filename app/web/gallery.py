"""What the lists of projects and of a project's images show: the query they are narrowed by, and their rows."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from flask import url_for

from app.models import Analysis, Image, Project, Status
from app.services import analyses, images, overviews

PAGE_SIZE = 60
COVER_SIZE = 4


@dataclass(frozen=True)
class GalleryQuery:
    """Part of a file name, the state and the model of any analysis, an order, a page."""

    wanted: images.GalleryFilter
    page: int = 1

    @property
    def narrows(self) -> bool:
        return bool(self.wanted.text or self.wanted.status or self.wanted.model)

    def address(self, project: Project, page: int, **more: str) -> str:
        wanted = self.wanted
        query = {"q": wanted.text, "state": wanted.status or "", "model": wanted.model}
        query |= {
            "sort": wanted.sort if wanted.sort != "newest" else "",
            "page": str(page) if page > 1 else "",
        }
        filled = {name: str(value) for name, value in (query | more).items() if value}
        return url_for("web.show_project", project_id=project.id, **filled)  # type: ignore[arg-type]


def read_query(args: Mapping[str, str], *, ml: bool) -> GalleryQuery:
    """A value that makes no sense counts as not given: an old or mistyped link still opens."""
    status, sort, page = args.get("state", ""), args.get("sort", ""), args.get("page", "")
    wanted = images.GalleryFilter(
        text=args.get("q", "").replace("\0", "").strip()[:255],
        status=Status(status) if ml and status in list(Status) else None,
        model=args.get("model", "").replace("\0", "")[:255] if ml else "",
        sort=sort if sort in images.SORTS else "newest",
    )
    whole = page.isascii() and page.isdigit() and len(page) < 7
    return GalleryQuery(wanted, max(1, int(page)) if whole else 1)


@dataclass(frozen=True)
class Gallery:
    """A page of the gallery; `analyses` and `models` are empty while the feature is off."""

    project: Project
    query: GalleryQuery
    images: Sequence[Image]
    matching: int
    totals: overviews.Totals
    analyses: Mapping[UUID, Sequence[Analysis]]
    models: Sequence[str]
    statuses = tuple(Status)

    @classmethod
    def load(cls, project: Project, query: GalleryQuery, *, ml: bool) -> "Gallery":
        """The page asked for, or the last one when there are fewer."""
        rows, matching = images.gallery(
            project, query.wanted, skip=(query.page - 1) * PAGE_SIZE, limit=PAGE_SIZE
        )
        if not rows and matching:
            return cls.load(project, replace(query, page=-(-matching // PAGE_SIZE)), ml=ml)
        return cls(
            project=project,
            query=query,
            images=rows,
            matching=matching,
            totals=overviews.totals(project.id),
            analyses=analyses.of_images([image.id for image in rows]) if ml else {},
            models=analyses.models_of_project(project.id) if ml else [],
        )

    @property
    def pages(self) -> int:
        return max(1, -(-self.matching // PAGE_SIZE))

    @property
    def is_running(self) -> bool:
        return any(not analysis.state.is_terminal for rows in self.analyses.values() for analysis in rows)

    @property
    def version(self) -> str:
        """Changes whenever the page would look different."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(image.id.bytes)
            for analysis in self.analyses.get(image.id, ()):
                digest.update(analysis.id.bytes + analysis.revision.to_bytes(8))
        return digest.hexdigest()[:16]

    def annotation_count(self, image: Image) -> int:
        return sum(analysis.annotation_count for analysis in self.analyses.get(image.id, ()))

    def link(self, page: int) -> str:
        return self.query.address(self.project, page)

    @property
    def poll_address(self) -> str:
        return self.query.address(self.project, self.query.page, version=self.version)


@dataclass(frozen=True)
class ProjectCard:
    project: Project
    role: str
    image_count: int
    cover: Sequence[UUID]
    statuses: Mapping[str, int]


def project_cards(rows: Sequence[tuple[Project, Any, int]], *, ml: bool) -> list[ProjectCard]:
    """`rows` as `projects.listing` gives them: project, role, number of images."""
    ids = [project.id for project, _, _ in rows]
    covers = overviews.covers(ids, COVER_SIZE)
    statuses = overviews.statuses(ids) if ml else {}
    return [
        ProjectCard(project, role, number, covers[project.id], statuses.get(project.id, {}))
        for project, role, number in rows
    ]
