"""GET /api/projects/{id}/images: a bare array, with X-Total-Count and Link."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.http import parse_list_header

from app.extensions import db
from app.models import Image, Project
from app.models.columns import now
from tests.cast import Person
from tests.factories import World, picture, some_id
from tests.html import LintClient
from tests.steps import check_problem, fields_at_fault


@pytest.fixture
def five(world: World, project: Project) -> list[str]:
    """The ids of five images, newest first."""
    return [str(world.image(project, f"{number}.png").id) for number in range(5)][::-1]


def links(answer: Any) -> dict[str, tuple[int, int]]:
    """(skip, limit) by rel."""
    found = {}
    for entry in parse_list_header(answer.headers["Link"]):
        address, _, rel = entry.partition("; ")
        query = parse_qs(urlsplit(address.strip("<>")).query)
        found[rel.removeprefix("rel=").strip('"')] = (int(query["skip"][0]), int(query["limit"][0]))
    return found


def test_who_may(client: LintClient, project: Project, viewer: Person, stranger: Person) -> None:
    path = f"/api/projects/{project.id}/images"
    check_problem(client.get(path), 401, "unauthenticated")
    check_problem(stranger.api("GET", path), 403, "forbidden")
    check_problem(viewer.api("GET", f"/api/projects/{some_id()}/images"), 404, "not-found")
    check_problem(viewer.api("PATCH", path), 405, "method-not-allowed")
    assert viewer.api("GET", path).json == []


def test_an_empty_list_has_its_headers(project: Project, viewer: Person) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/images")
    assert answer.headers["X-Total-Count"] == "0"
    assert links(answer) == {"first": (0, 100), "last": (0, 100)}


def test_newest_first_each_as_it_is_shown_alone(project: Project, viewer: Person, five: list[str]) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/images")
    assert isinstance(answer.json, list)
    assert [entry["id"] for entry in answer.json] == five
    assert answer.headers["X-Total-Count"] == "5"
    assert answer.json[0] == viewer.api("GET", f"/api/images/{five[0]}").json


@pytest.mark.parametrize(
    ("query", "places", "expected"),
    [
        ("limit=2", [0, 1], {"first": (0, 2), "next": (2, 2), "last": (4, 2)}),
        ("limit=2&skip=2", [2, 3], {"first": (0, 2), "prev": (0, 2), "next": (4, 2), "last": (4, 2)}),
        ("limit=2&skip=4", [4], {"first": (0, 2), "prev": (2, 2), "last": (4, 2)}),
        ("limit=2&skip=1", [1, 2], {"first": (0, 2), "prev": (0, 2), "next": (3, 2), "last": (4, 2)}),
        ("limit=5", [0, 1, 2, 3, 4], {"first": (0, 5), "last": (0, 5)}),
        ("skip=5", [], {"first": (0, 100), "prev": (0, 100), "last": (0, 100)}),
        ("skip=2147483647", [], {"first": (0, 100), "prev": (2147483547, 100), "last": (0, 100)}),
    ],
)
def test_pages(
    project: Project, viewer: Person, five: list[str], query: str, places: list[int], expected: Any
) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/images?{query}")
    assert [entry["id"] for entry in answer.json] == [five[place] for place in places]
    assert answer.headers["X-Total-Count"] == "5"
    assert links(answer) == expected


def test_following_next_gives_everything_once(project: Project, viewer: Person, five: list[str]) -> None:
    seen, path = [], f"/api/projects/{project.id}/images?limit=2"
    for _ in range(10):
        answer = viewer.api("GET", path)
        seen += [entry["id"] for entry in answer.json]
        if "next" not in links(answer):
            break
        skip, limit = links(answer)["next"]
        path = f"/api/projects/{project.id}/images?skip={skip}&limit={limit}"
    assert seen == five


def test_links_carry_the_public_address(
    make_app: Callable[..., Flask], project: Project, viewer: Person, five: list[str]
) -> None:
    served = make_app(PUBLIC_URL="https://loupe.example.org")
    person = Person(served, viewer.id, viewer.email, viewer.key)
    header = person.api("GET", f"/api/projects/{project.id}/images?limit=2").headers["Link"]
    assert header.startswith(f"<https://loupe.example.org/api/projects/{project.id}/images?skip=0&limit=2>")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.0",
        "limit=%2B5",
        "limit=%D9%A3",
        "limit=1e2",
        "limit=99999999999999999999",
        "skip=-1",
        "skip=x",
        "skip=1099511627776",
        "skip=%00",
        "skip=1%20",
    ],
)
def test_bad_pages_are_422(project: Project, viewer: Person, query: str) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/images?{query}")
    assert fields_at_fault(answer) == {query.partition("=")[0]}


def test_only_live_images_of_this_project(
    app: Flask, world: World, project: Project, viewer: Person, stranger: Person, five: list[str]
) -> None:
    world.image(world.project("Bark", owner=stranger))
    with app.app_context():
        db.session.execute(db.update(Image).where(Image.filename == "3.png").values(deleted_at=now()))
        db.session.commit()
    answer = viewer.api("GET", f"/api/projects/{project.id}/images")
    assert [entry["id"] for entry in answer.json] == [five[0], *five[2:]]
    assert answer.headers["X-Total-Count"] == "4"


def test_the_number_of_queries_does_not_grow(
    world: World, project: Project, viewer: Person, count_queries: Callable[[], Any]
) -> None:
    world.image(project, content=picture())
    path = f"/api/projects/{project.id}/images"
    with count_queries() as few:
        viewer.api("GET", path)
    for _ in range(8):
        world.image(project)
    with count_queries() as many:
        assert len(viewer.api("GET", path).json) == 9
    assert len(few) == len(many) <= 8
