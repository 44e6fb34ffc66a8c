"""GET /, POST /projects and GET /projects/{id}: the list and the gallery."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, AuditEvent, Project, Status
from tests.cast import Person
from tests.factories import World, some_id

HTMX = {"HX-Request": "true"}


def names_in(text: str) -> list[str]:
    """The file names on the cards, in order."""
    return [part.split('"')[0] for part in text.split('<b title="')[1:]]


# --- the list ----------------------------------------------------------------------------------------------------


def test_everybody_sees_their_own_projects(
    project: Project, owner: Person, viewer: Person, stranger: Person, admin: Person
) -> None:
    assert "Leaves" in owner.client.get("/").text
    assert "Leaves" in viewer.client.get("/").text
    assert "Leaves" in admin.client.get("/").text
    answer = stranger.client.get("/")
    assert "Leaves" not in answer.text and "No projects yet" in answer.text


def test_a_card_tells_the_role_and_what_is_in_it(world: World, project: Project, viewer: Person) -> None:
    world.analysis(world.image(project), "failed")
    world.image(project)
    text = viewer.client.get("/").text
    assert "2 images · 1 analysis" in text
    assert '<span class="chip">viewer</span>' in text
    assert text.count("/preview") == 2
    assert 'class="badge failed"' in text


def test_the_list_asks_the_database_a_fixed_number_of_times(
    world: World, owner: Person, count_queries: Callable[[], Any]
) -> None:
    def queries() -> int:
        with count_queries() as statements:
            assert owner.client.get("/").status_code == 200
        return len(statements)

    world.image(world.project("One", owner=owner))
    queries()  # signs in
    few = queries()
    for number in range(5):
        world.analysis(world.image(world.project(f"More {number}", owner=owner)), "queued")
    assert queries() == few


def test_making_a_project(world: World, owner: Person) -> None:
    answer = owner.client.submit(
        "/", "/projects", {"name": " Moss & <Lichen> ", "description": "From the north"}
    )
    assert answer.status_code == 303
    (project,) = world.rows(Project, name="Moss & <Lichen>")
    assert answer.location == f"/projects/{project.id}"
    text = owner.client.get(answer.location).text
    assert "Moss &amp; &lt;Lichen&gt;" in text and "has been created" in text and "From the north" in text
    assert '<span class="chip">owner</span>' in owner.client.get("/").text
    assert "project.created" in [row.action for row in world.rows(AuditEvent)]


@pytest.mark.parametrize("name", ["", "   ", "x" * 256, "left\u202eright", "nul\0"])
def test_a_project_needs_a_sound_name(world: World, owner: Person, name: str) -> None:
    answer = owner.client.submit("/", "/projects", {"name": name})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert world.rows(Project) == []


# --- the gallery -------------------------------------------------------------------------------------------------


def test_who_may_see_the_gallery(
    project: Project, owner: Person, editor: Person, viewer: Person, stranger: Person, admin: Person
) -> None:
    address = f"/projects/{project.id}"
    for person in (owner, editor, viewer, admin):
        assert person.client.get(address).status_code == 200
    assert stranger.client.get(address).status_code == 403
    assert stranger.client.get(f"/projects/{some_id()}").status_code == 404
    assert owner.client.post(address).status_code == 405


def test_only_who_may_upload_is_offered_it(project: Project, editor: Person, viewer: Person) -> None:
    address = f"/projects/{project.id}"
    assert 'type="file"' in editor.client.get(address).text
    assert 'type="file"' not in viewer.client.get(address).text


def test_the_limit_of_a_file_is_told_as_it_is_set(project: Project, editor: Person) -> None:
    assert "up to 50 MiB each" in editor.client.get(f"/projects/{project.id}").text


def test_an_empty_gallery_says_so(project: Project, viewer: Person) -> None:
    assert "No images yet" in viewer.client.get(f"/projects/{project.id}").text


def test_a_card_has_a_thumbnail_a_size_and_a_badge_for_each_analysis(
    world: World, project: Project, viewer: Person
) -> None:
    image = world.image(project)
    world.analysis(image, "completed", annotation_count=3)
    world.analysis(image, "queued", model_name="moss-net")
    text = viewer.client.get(f"/projects/{project.id}").text
    assert f"/images/{image.id}/preview" in text
    assert "64 × 48 · 3\N{NO-BREAK SPACE}annotations" in text
    assert 'class="badge completed"' in text and 'class="badge queued"' in text
    assert "1 image · 2 analyses · 3 annotations" in text


@pytest.fixture
def varied(world: World, project: Project) -> str:
    """The address of a gallery with oak.png (completed by leaf-net), Beech.png (failed by moss-net) and ash_50%."""
    world.analysis(world.image(project, "oak.png"), "completed")
    world.analysis(world.image(project, "Beech.png"), "failed", model_name="moss-net")
    world.image(project, "ash_50%")
    return f"/projects/{project.id}"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["ash_50%", "Beech.png", "oak.png"]),
        ("sort=oldest", ["oak.png", "Beech.png", "ash_50%"]),
        ("sort=name", ["ash_50%", "Beech.png", "oak.png"]),
        ("q=OAK", ["oak.png"]),
        ("q=%25", ["ash_50%"]),
        ("q=_", ["ash_50%"]),
        ("q=/", []),
        ("state=failed", ["Beech.png"]),
        ("model=leaf-net", ["oak.png"]),
        ("state=completed&model=moss-net", []),
        ("state=nonsense&sort=nonsense&page=nonsense", ["ash_50%", "Beech.png", "oak.png"]),
        ("page=99999", ["ash_50%", "Beech.png", "oak.png"]),
        ("page=-1&q=%00", ["ash_50%", "Beech.png", "oak.png"]),
    ],
)
def test_narrowing_and_ordering(viewer: Person, varied: str, query: str, expected: list[str]) -> None:
    answer = viewer.client.get(f"{varied}?{query}")
    assert answer.status_code == 200
    assert names_in(answer.text) == expected
    assert ("No image matches" in answer.text) is (not expected)


def test_a_card_names_some_analyses_and_counts_the_others(
    world: World, project: Project, viewer: Person
) -> None:
    image = world.image(project)
    for number in range(6):
        world.analysis(image, "completed", model_name=f"net-{number}")
    text = viewer.client.get(f"/projects/{project.id}").text
    named = text.count('class="badge')
    assert 0 < named < 6 and f'<span class="chip">+{6 - named}</span>' in text


def test_pages_of_the_gallery(
    world: World, project: Project, viewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["app.web.gallery"], "PAGE_SIZE", 2)
    for number in range(5):
        world.image(project, f"{number}.png")
    first = viewer.client.get(f"/projects/{project.id}?sort=name")
    assert names_in(first.text) == ["0.png", "1.png"] and "Page 1 of 3" in first.text
    last = viewer.client.get(f"/projects/{project.id}?sort=name&page=3")
    assert names_in(last.text) == ["4.png"] and f"/projects/{project.id}?sort=name&amp;page=2" in last.text


def test_the_gallery_polls_while_something_runs_and_then_stops(
    world: World, project: Project, viewer: Person
) -> None:
    image = world.image(project)
    analysis = world.analysis(image, "processing")
    text = viewer.client.get(f"/projects/{project.id}").text
    poll = text.split('hx-get="')[1].split('"')[0].replace("&amp;", "&")
    assert 'hx-trigger="every 8s"' in text
    assert viewer.client.get(poll, headers=HTMX).status_code == 204
    with world.app.app_context():
        db.session.get_one(Analysis, analysis.id).move_to(Status.COMPLETED)
        db.session.commit()
    answer = viewer.client.get(poll, headers=HTMX)
    assert answer.status_code == 200
    assert "hx-trigger" not in answer.text and 'class="badge completed"' in answer.text


def test_the_gallery_asks_the_database_a_fixed_number_of_times(
    world: World, project: Project, viewer: Person, count_queries: Callable[[], Any]
) -> None:
    def queries() -> int:
        with count_queries() as statements:
            assert viewer.client.get(f"/projects/{project.id}").status_code == 200
        return len(statements)

    world.analysis(world.image(project), "queued")
    queries()  # signs in
    few = queries()
    for _ in range(6):
        world.analysis(world.image(project), "completed")
    assert queries() == few <= 9


def test_without_the_feature_there_is_no_trace_of_it(
    make_app: Callable[..., Flask], world: World, project: Project, owner: Person
) -> None:
    world.analysis(world.image(project), "processing")
    off = make_app(ML_ANALYSIS_ENABLED="false")
    person = Person(off, owner.id, owner.email, owner.key)
    for address in ("/", f"/projects/{project.id}", f"/projects/{project.id}?state=failed&model=x"):
        text = person.client.get(address).text.lower()
        assert "leaf.png" in text or address == "/"
        for trace in (
            "analys",
            "annotation",
            "badge",
            "leaf-net",
            "hx-trigger",
            'name="state"',
            'name="model"',
            "export",
        ):
            assert trace not in text, f"{trace} on {address}"
