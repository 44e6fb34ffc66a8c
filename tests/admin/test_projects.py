"""/admin/projects: all of them; made for an owner, named and described anew."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, AuditEvent, Image, Membership, Project
from tests.cast import Person
from tests.factories import World, some_id

PROJECTS, NEW = "/admin/projects", "/admin/projects/new"


@pytest.fixture
def address(project: Project) -> str:
    return f"{PROJECTS}/{project.id}"


def test_who_may(check_only_admins: Callable[..., None], address: str) -> None:
    check_only_admins([PROJECTS, address], [NEW, address])


def test_get_on_the_address_of_the_form(admin: Person) -> None:
    assert admin.client.get(NEW).location == PROJECTS
    assert admin.client.get(f"{PROJECTS}/{some_id()}").status_code == 404


def test_the_list_counts(
    world: World, project: Project, image: Image, analysis: Analysis, admin: Person
) -> None:
    world.image(project, "other.png")
    world.project("Bark <b>")
    text = admin.client.get(PROJECTS).text
    rows = re.findall(r"<tr><th scope=.row.*?</tr>", text, re.S)
    assert [re.findall(r'class="num">(\d+)', row) for row in rows] == [["0", "0", "0"], ["3", "2", "1"]]
    assert "Bark &lt;b&gt;" in rows[0]


def test_without_analyses(make_app: Any, analysis: Analysis, admin: Person, project: Project) -> None:
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), admin.id, admin.email, admin.key)
    for page in (PROJECTS, f"{PROJECTS}/{project.id}"):
        text = off.client.get(page).text
        assert "nalys" not in text and "nnotation" not in text and "xport" not in text


def test_pages_and_queries(app: Flask, world: World, admin: Person, count_queries: Callable[[], Any]) -> None:
    assert "No projects yet" in admin.client.get(PROJECTS).text
    world.project("Leaves")
    with count_queries() as few:
        admin.client.get(PROJECTS)
    with app.app_context():
        db.session.add_all(Project(name=f"Project {n}") for n in range(60))
        db.session.commit()
    with count_queries() as many:
        text = admin.client.get(PROJECTS).text
    assert len(few) == len(many) <= 8
    assert "61 projects" in text and "Page 1 of 2" in text
    assert "Leaves" in admin.client.get(f"{PROJECTS}?page=2").text
    assert "Leaves" in admin.client.get(f"{PROJECTS}?q=LEAV").text
    assert "No project matches" in admin.client.get(f"{PROJECTS}?q=%25").text


def test_making_one_for_an_owner(world: World, admin: Person, stranger: Person) -> None:
    sent = {"name": "Bark", "owner": stranger.email.upper(), "description": "of trees"}
    answer = admin.client.submit(PROJECTS, NEW, sent)
    [made] = world.rows(Project, name="Bark")
    assert (answer.status_code, answer.location) == (303, f"{PROJECTS}/{made.id}")
    assert made.created_by_id == admin.id and made.description == "of trees"
    [member] = _members(world, made)
    assert member == (stranger.id, "owner")
    assert [event.action for event in world.rows(AuditEvent, project_id=made.id)] == [
        "project.created",
        "project.member_set",
    ]
    assert "Bark" in stranger.client.get("/").text


def _members(world: World, project: Project) -> list[tuple[Any, str]]:
    with world.app.app_context():
        rows = db.session.query(Membership).filter_by(project_id=project.id)
        return [(row.user_id, row.role) for row in rows]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"name": "", "owner": "admin@example.org"}, "name"),
        ({"name": "x" * 256, "owner": "admin@example.org"}, "name"),
        ({"name": "Bark", "owner": "nobody@example.org"}, "owner"),
        ({"name": "Bark", "owner": ""}, "owner"),
        ({"name": "Bark", "owner": "admin@example.org", "description": "a\x07b"}, "description"),
    ],
)
def test_what_is_wrong_stands_beside_the_field(
    world: World, admin: Person, sent: dict[str, str], field: str
) -> None:
    answer = admin.client.submit(PROJECTS, NEW, sent)
    assert answer.status_code == 422 and f'id="{field}-fault" role="alert"' in answer.text
    assert sent["name"] in answer.text and sent["owner"] in answer.text
    assert world.count(Project) == 0


def test_a_page(project: Project, image: Image, address: str, admin: Person, owner: Person) -> None:
    text = admin.client.get(address).text
    assert owner.email in text and "1 image" in text
    for link in (
        f"/projects/{project.id}",
        f"/projects/{project.id}/members",
        f"/admin/exports?project={project.id}",
        f"/admin/exports?project={project.id}&amp;format=everything&amp;count=1",
        f"/admin/audit?project={project.id}",
    ):
        assert f'href="{link}"' in text
        assert admin.client.get(link.replace("&amp;", "&")).status_code == 200
    assert "Add a member" in admin.client.get(f"/projects/{project.id}/members").text


def test_a_new_name_and_description(world: World, project: Project, address: str, admin: Person) -> None:
    answer = admin.client.submit(address, address, {"description": "green\r\nthings"})
    assert (answer.status_code, answer.location) == (303, address)
    admin.client.submit(address, address)
    admin.client.submit(address, address, {"name": "Bark", "description": "brown"})
    changed = world.reload(project)
    assert (changed.name, changed.description) == ("Bark", "brown")
    events = world.rows(AuditEvent, action="project.changed")
    assert [(event.before, event.after) for event in events] == [
        ({"description": ""}, {"description": "green\nthings"}),
        ({"name": "Leaves", "description": "green\nthings"}, {"name": "Bark", "description": "brown"}),
    ]
    assert {event.project_id for event in events} == {project.id}


def test_a_refused_change_keeps_what_was_sent(
    world: World, project: Project, address: str, admin: Person
) -> None:
    answer = admin.client.submit(address, address, {"name": " ", "description": "kept text"})
    assert answer.status_code == 422 and "name-fault" in answer.text and "kept text" in answer.text
    assert world.reload(project).name == "Leaves"
