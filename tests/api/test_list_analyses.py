"""GET /api/images/{id}/analyses and GET /api/projects/{id}/analyses."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, Image, Project
from app.models.columns import now
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.html import LintClient
from tests.steps import box, check_problem, fields_at_fault, store

FIELDS = {
    "id",
    "image_id",
    "model_name",
    "model_version",
    "status",
    "error_message",
    "parameters",
    "provenance",
    "requested_by_id",
    "external_job_id",
    "priority",
    "group_id",
    "created_at",
    "started_at",
    "completed_at",
    "updated_at",
    "annotation_count",
    "attempt",
    "retry_of_id",
}
START = datetime(2026, 1, 1, tzinfo=UTC)


def ids(answer: Any) -> list[str]:
    return [entry["id"] for entry in answer.json["analyses"]]


@pytest.fixture
def twelve(world: World, project: Project, image: Image) -> list[str]:
    """The ids of twelve analyses of two images, newest first; three at a time were made in the same instant."""
    images = (image, world.image(project, "second.png"))
    made = [
        world.analysis(
            images[number % 2],
            ("queued", "processing", "completed", "failed")[number % 4],
            model_name=("leaf-net", "bark-net")[number % 2],
            created_at=START + timedelta(days=number // 3),
        )
        for number in range(12)
    ]
    return [str(a.id) for a in sorted(made, key=lambda a: (a.created_at, a.id), reverse=True)]


# --- of an image -------------------------------------------------------------------------------------------------


def test_who_may_list_an_images(
    client: LintClient, image: Image, viewer: Person, stranger: Person, pipeline: Pipeline
) -> None:
    path = f"/api/images/{image.id}/analyses"
    check_problem(client.get(path), 401, "unauthenticated")
    check_problem(stranger.api("GET", path), 403, "forbidden")
    check_problem(pipeline.request("GET", path), 401, "scheme-not-allowed")
    check_problem(viewer.api("GET", f"/api/images/{some_id()}/analyses"), 404, "not-found")
    check_problem(viewer.api("PUT", path), 405, "method-not-allowed")
    assert viewer.api("GET", path).json == {"analyses": [], "total": 0}


def test_every_field_and_no_annotations(
    world: World, image: Image, owner: Person, viewer: Person, pipeline: Pipeline
) -> None:
    analysis = world.analysis(
        image,
        "processing",
        parameters={"threshold": 0.5},
        provenance={"commit": "abc"},
        external_job_id="job-1",
        priority=-3,
        group_id="night",
        requested_by_id=owner.id,
    )
    store(pipeline, analysis, [box(), box()])
    answer = viewer.api("GET", f"/api/images/{image.id}/analyses")
    [entry] = answer.json["analyses"]
    assert answer.json["total"] == 1
    assert set(entry) == FIELDS
    assert entry["annotation_count"] == 2
    assert (entry["parameters"], entry["provenance"]) == ({"threshold": 0.5}, {"commit": "abc"})
    assert (entry["external_job_id"], entry["priority"], entry["group_id"]) == ("job-1", -3, "night")
    assert entry["requested_by_id"] == str(owner.id)
    assert entry["completed_at"] is None
    assert datetime.fromisoformat(entry["created_at"]) == analysis.created_at
    assert datetime.fromisoformat(entry["created_at"]).utcoffset() == timedelta(0)


def test_pages_of_an_image(world: World, image: Image, viewer: Person) -> None:
    made = [str(world.analysis(image, created_at=START + timedelta(hours=n)).id) for n in range(5)][::-1]
    path = f"/api/images/{image.id}/analyses"
    assert ids(viewer.api("GET", path)) == made
    page = viewer.api("GET", f"{path}?skip=1&limit=2")
    assert (ids(page), page.json["total"]) == (made[1:3], 5)
    assert ids(viewer.api("GET", f"{path}?skip=9")) == []
    for query in ("limit=0", "limit=501", "skip=-1", "skip=x", "limit="):
        assert fields_at_fault(viewer.api("GET", f"{path}?{query}")) == {query.partition("=")[0]}


def test_a_mistyped_parameter_shows(
    image: Image, viewer: Person, project: Project, analysis: Analysis
) -> None:
    for path in (
        f"/api/images/{image.id}/analyses",
        f"/api/projects/{project.id}/analyses",
        f"/api/analyses/{analysis.id}/annotations",
    ):
        assert viewer.api("GET", f"{path}?limt=3").json["ignored"] == ["limt"]
        assert "ignored" not in viewer.api("GET", f"{path}?limit=3").json


# --- of a project ------------------------------------------------------------------------------------------------


def walk(person: Person, path: str, **query: Any) -> list[str]:
    """The ids of all pages, following next_cursor to its end."""
    seen: list[str] = []
    for _ in range(100):
        answer = person.api("GET", path, query_string=query)
        assert answer.status_code == 200, answer.text
        assert len(answer.json["analyses"]) <= query["limit"]
        seen += ids(answer)
        if answer.json["next_cursor"] is None:
            return seen
        query["cursor"] = answer.json["next_cursor"]
    raise AssertionError("the cursor never ends")


def test_who_may_list_a_projects(
    client: LintClient, project: Project, viewer: Person, stranger: Person, admin: Person
) -> None:
    path = f"/api/projects/{project.id}/analyses"
    check_problem(client.get(path), 401, "unauthenticated")
    check_problem(stranger.api("GET", path), 403, "forbidden")
    check_problem(viewer.api("GET", f"/api/projects/{some_id()}/analyses"), 404, "not-found")
    check_problem(viewer.api("POST", path), 405, "method-not-allowed")
    for person in (viewer, admin):
        assert person.api("GET", path).json == {"analyses": [], "next_cursor": None}


def test_newest_first(project: Project, viewer: Person, twelve: list[str]) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/analyses")
    assert ids(answer) == twelve
    assert answer.json["next_cursor"] is None
    assert set(answer.json["analyses"][0]) == FIELDS


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 11, 12, 13])
def test_a_walk_is_complete_and_without_repeats(
    project: Project, viewer: Person, twelve: list[str], limit: int
) -> None:
    assert walk(viewer, f"/api/projects/{project.id}/analyses", limit=limit) == twelve


def test_a_walk_is_stable_while_analyses_come_in(
    world: World, project: Project, image: Image, viewer: Person, twelve: list[str]
) -> None:
    path = f"/api/projects/{project.id}/analyses"
    first = viewer.api("GET", path, query_string={"limit": 5})
    world.analysis(image)
    second = viewer.api("GET", path, query_string={"limit": 5, "cursor": first.json["next_cursor"]})
    assert ids(first) + ids(second) == twelve[:10]


def test_filters(project: Project, viewer: Person, twelve: list[str]) -> None:
    path = f"/api/projects/{project.id}/analyses"
    every = viewer.api("GET", path).json["analyses"]

    def expected(wanted: Callable[[dict[str, Any]], bool]) -> list[str]:
        found = [entry["id"] for entry in every if wanted(entry)]
        assert 0 < len(found) < 12
        return found

    def got(**query: Any) -> list[str]:
        return walk(viewer, path, limit=2, **query)

    third = (START + timedelta(days=2)).isoformat()
    assert got(status="failed") == expected(lambda a: a["status"] == "failed")
    assert got(model="bark-net") == expected(lambda a: a["model_name"] == "bark-net")
    assert got(created_after=third) == expected(lambda a: a["created_at"] >= third)
    assert got(created_before=third) == expected(lambda a: a["created_at"] < third)
    both = got(status="queued", model="leaf-net", created_after=third)
    assert both == expected(
        lambda a: (a["status"], a["model_name"]) == ("queued", "leaf-net") and a["created_at"] >= third
    )
    assert got(status="canceled") == []
    assert got(model="nothing") == []
    assert (
        got(created_after="2026-01-03T05:00:00+05:00")
        == got(created_after="2026-01-03T00:00:00Z")
        == got(created_after=third)
    )


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=done", "status"),
        ("status=", "status"),
        ("status=QUEUED", "status"),
        ("model=", "model"),
        ("model=%00", "model"),
        ("model=" + "x" * 256, "model"),
        ("created_after=yesterday", "created_after"),
        ("created_after=2026-01-01", "created_after"),
        ("created_after=2026-01-01T00:00:00", "created_after"),
        ("created_before=2026-13-01T00:00:00Z", "created_before"),
        ("created_before=1767225600", "created_before"),
        ("created_after=0001-01-01T00:00:00%2B14:00", "created_after"),
        ("created_before=9999-12-31T23:59:59-14:00", "created_before"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=-5", "limit"),
    ],
)
def test_bad_filters_are_422(project: Project, viewer: Person, query: str, field: str) -> None:
    assert fields_at_fault(viewer.api("GET", f"/api/projects/{project.id}/analyses?{query}")) == {field}


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


HOSTILE = [
    "",
    "x",
    "é",
    "%00",
    "=" * 50,
    "A" * 5000,
    "!!!!",
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    base64.urlsafe_b64encode(b"[1e999,1]").decode(),
    base64.urlsafe_b64encode(b"[NaN,1]").decode(),
    base64.urlsafe_b64encode(b"[" * 5000).decode(),
    packed(None),
    packed({}),
    packed([]),
    packed([1]),
    packed([1, 2, 3]),
    packed([None, None]),
    packed([True, False]),
    packed([[1], 2]),
    packed([2**60, 2**60]),
    packed(["a\0b", 1]),
    packed(["\ud800", 1]),
    packed(["x' OR 1=1 --", "y"]),
]


def test_hostile_cursors_are_422(project: Project, viewer: Person, twelve: list[str]) -> None:
    for cursor in (
        *HOSTILE,
        packed([1, 2]),
        packed(["2026-01-01T00:00:00+00:00", "not-an-id"]),
        packed(["0001-01-01T00:00:00+14:00", str(some_id())]),
        packed(["9999-12-31T23:59:59-14:00", str(some_id())]),
    ):
        answer = viewer.api("GET", f"/api/projects/{project.id}/analyses", query_string={"cursor": cursor})
        assert fields_at_fault(answer) == {"cursor"}, cursor


def test_deleted_images_and_other_projects_are_left_out(
    app: Flask,
    world: World,
    project: Project,
    image: Image,
    viewer: Person,
    stranger: Person,
    twelve: list[str],
) -> None:
    world.analysis(world.image(world.project("Bark", owner=stranger)))
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = now()
        db.session.commit()
    entries = viewer.api("GET", f"/api/projects/{project.id}/analyses").json["analyses"]
    assert len(entries) == 6
    assert str(image.id) not in {entry["image_id"] for entry in entries}


def test_the_number_of_queries_does_not_grow(
    world: World, project: Project, image: Image, viewer: Person, count_queries: Callable[[], Any]
) -> None:
    world.analysis(image)
    for path in (f"/api/projects/{project.id}/analyses", f"/api/images/{image.id}/analyses"):
        with count_queries() as few:
            viewer.api("GET", path)
        for _ in range(6):
            world.analysis(image)
        with count_queries() as many:
            assert len(viewer.api("GET", path).json["analyses"]) >= 7
        assert len(few) == len(many) <= 8


def test_the_feature_off_is_404(
    make_app: Callable[..., Flask], project: Project, image: Image, viewer: Person
) -> None:
    person = Person(make_app(ML_ANALYSIS_ENABLED="false"), viewer.id, viewer.email, viewer.key)
    for path in (f"/api/projects/{project.id}/analyses", f"/api/images/{image.id}/analyses"):
        check_problem(person.api("GET", path), 404, "not-found")
    assert person.api("GET", f"/api/images/{image.id}").status_code == 200
