"""GET and POST /api/projects, GET /api/projects/{id}."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import AuditEvent, Image, Membership, Project
from app.models.columns import now
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.html import LintClient
from tests.steps import check_problem, fields_at_fault

FIELDS = {"id", "name", "description", "created_at", "role", "image_count"}


def test_who_may(client: LintClient, stranger: Person, pipeline: Pipeline, project: Project) -> None:
    for path in ("/api/projects", f"/api/projects/{project.id}"):
        check_problem(client.get(path), 401, "unauthenticated")
    check_problem(client.post("/api/projects", json={"name": "x"}), 401, "unauthenticated")
    check_problem(stranger.client.post("/api/projects", json={"name": "x"}), 401, "unauthenticated")
    check_problem(pipeline.post("/api/projects", {"name": "x"}), 401, "scheme-not-allowed")
    check_problem(stranger.api("GET", f"/api/projects/{project.id}"), 403, "forbidden")
    check_problem(stranger.api("GET", f"/api/projects/{some_id()}"), 404, "not-found")
    assert stranger.api("GET", "/api/projects").json == []


def test_wrong_method(owner: Person, project: Project) -> None:
    for path in ("/api/projects", f"/api/projects/{project.id}"):
        check_problem(owner.api("DELETE", path), 405, "method-not-allowed")


def test_lists_own_projects_with_role_and_number_of_images(
    world: World, project: Project, owner: Person, viewer: Person, admin: Person, stranger: Person
) -> None:
    other = world.project("Bark", owner=stranger, viewer=owner)
    world.image(project)
    world.image(project)
    seen = {entry["name"]: entry for entry in owner.api("GET", "/api/projects").json}
    assert {name: (entry["role"], entry["image_count"]) for name, entry in seen.items()} == {
        "Leaves": ("owner", 2),
        "Bark": ("viewer", 0),
    }
    assert set(seen["Leaves"]) == FIELDS
    assert [entry["name"] for entry in viewer.api("GET", "/api/projects").json] == ["Leaves"]
    by_admin = admin.api("GET", "/api/projects").json
    assert [(entry["id"], entry["role"]) for entry in by_admin] == [
        (str(other.id), "owner"),
        (str(project.id), "owner"),
    ]


def test_the_list_takes_as_many_queries_for_many_projects_as_for_one(
    world: World, project: Project, owner: Person, count_queries: Callable[[], Any]
) -> None:
    with count_queries() as few:
        owner.api("GET", "/api/projects")
    for number in range(10):
        world.project(f"P{number}", owner=owner)
    with count_queries() as many:
        assert len(owner.api("GET", "/api/projects").json) == 11
    assert len(many) == len(few) <= 6


def test_shows_one(project: Project, image: Image, editor: Person) -> None:
    answer = editor.api("GET", f"/api/projects/{project.id}")
    assert answer.status_code == 200
    assert answer.json == {
        "id": str(project.id),
        "name": "Leaves",
        "description": "",
        "created_at": project.created_at.isoformat(),
        "role": "editor",
        "image_count": 1,
    }


def test_a_deleted_image_is_not_counted(app: Flask, project: Project, image: Image, owner: Person) -> None:
    delete(app, image)
    assert owner.api("GET", f"/api/projects/{project.id}").json["image_count"] == 0
    assert owner.api("GET", "/api/projects").json[0]["image_count"] == 0


def delete(app: Flask, image: Image) -> None:
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = now()
        db.session.commit()


def test_creates_and_owns_it(world: World, stranger: Person) -> None:
    wanted = {"name": "  Ça\u0301 va ", "description": "Two\nlines"}
    answer = stranger.api("POST", "/api/projects", json=wanted)
    assert answer.status_code == 201
    assert set(answer.json) == FIELDS
    assert (answer.json["name"], answer.json["description"]) == ("Çá va", "Two\nlines")
    assert (answer.json["role"], answer.json["image_count"]) == ("owner", 0)
    assert stranger.api("GET", f"/api/projects/{answer.json['id']}").json == answer.json
    [membership] = members(world)
    assert (membership.user_id, membership.role) == (stranger.id, "owner")
    events = world.rows(AuditEvent, subject_type="project", subject_id=answer.json["id"])
    assert [event.action for event in events] == ["project.created", "project.member_set"]
    assert {event.actor_label for event in events} == {stranger.email}
    assert {event.request_id for event in events} == {answer.headers["X-Request-ID"]}


def members(world: World) -> list[Membership]:
    with world.app.app_context():
        found = list(db.session.scalars(db.select(Membership)))
        db.session.expunge_all()
        return found


def test_names_what_it_ignored(stranger: Person) -> None:
    answer = stranger.api("POST", "/api/projects", json={"name": "x", "descripton": "typo"})
    assert answer.status_code == 201
    assert answer.json["ignored"] == ["descripton"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": ["x"]}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": "x", "description": "y" * 10_001}, "description"),
        ({"name": "x", "description": 1}, "description"),
        ([], ""),
        ("text", ""),
        (7, ""),
    ],
)
def test_refuses_bad_fields(world: World, stranger: Person, body: Any, field: str) -> None:
    assert fields_at_fault(stranger.api("POST", "/api/projects", json=body)) == {field}
    assert world.count(Project) == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null and more",
        b"{",
        b'{"name": "a", "name": "b"}',
        b'{"name": NaN}',
        b'{"name": 1e400}',
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        b'\xef\xbb\xbf{"name": "x"}',
        '{"name": "x"}'.encode("utf-16"),
        b"[" * 100_000,
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"__proto__": 1, "name": "x"}',
        b'{"name": ' + b"[" * 40 + b"]" * 40 + b"}",
    ],
)
def test_refuses_what_is_not_strict_json(world: World, stranger: Person, body: bytes) -> None:
    answer = stranger.api("POST", "/api/projects", data=body, content_type="application/json")
    check_problem(answer, 400, "malformed-request")
    assert world.count(Project) == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_refuses_other_content_types(stranger: Person, kind: str) -> None:
    answer = stranger.api("POST", "/api/projects", data=b'{"name": "x"}', content_type=kind)
    check_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize("kind", [None, "application/json; charset=utf-8", "application/merge-patch+json"])
def test_takes_json_under_these_types(stranger: Person, kind: str | None) -> None:
    answer = stranger.api("POST", "/api/projects", data=b'{"name": "x"}', content_type=kind)
    assert answer.status_code == 201


def test_a_body_over_the_limit_is_refused_unread(stranger: Person) -> None:
    answer = stranger.api("POST", "/api/projects", data=b" " * (33 * 1024 * 1024))
    assert check_problem(answer, 413, "payload-too-large")["limit"] == 32 * 1024 * 1024
