"""/projects/{id}/members: seen by everyone in the project, managed by its owners."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.extensions import db
from app.models import AuditEvent, Membership, Project, User
from app.models.columns import new_id
from tests.cast import Person
from tests.factories import QUICK_HASH, World, some_id


@pytest.fixture
def address(project: Project) -> str:
    return f"/projects/{project.id}/members"


def roles(world: World, project: Project) -> dict[str, str]:
    with world.app.app_context():
        rows = db.session.query(Membership).filter_by(project_id=project.id)
        return {str(row.user_id): row.role for row in rows}


def test_who_may_see_them(
    address: str, owner: Person, viewer: Person, stranger: Person, admin: Person
) -> None:
    for person in (owner, viewer, admin):
        text = person.client.get(address).text
        assert owner.email in text and viewer.email in text
    assert stranger.client.get(address).status_code == 403
    assert stranger.client.get(f"/projects/{some_id()}/members").status_code == 404


def test_only_an_owner_is_offered_to_manage(address: str, owner: Person, editor: Person) -> None:
    assert "Add a member" in owner.client.get(address).text
    assert "<form" not in editor.client.get(address).text.split("<main")[1]


def add(person: Person, address: str, email: str, role: str) -> TestResponse:
    return person.client.submit(address, address, {"email": email, "role": role})


def test_adding_a_member(
    world: World, project: Project, address: str, owner: Person, stranger: Person
) -> None:
    answer = add(owner, address, f" {stranger.email.upper()} ", "editor")
    assert (answer.status_code, answer.location) == (303, address)
    assert roles(world, project)[str(stranger.id)] == "editor"
    assert "stranger@example.org is now an editor" in owner.client.get(address).text
    assert "project.member_set" in [row.action for row in world.rows(AuditEvent)]


@pytest.mark.parametrize(
    ("email", "role"), [("nobody@example.org", "viewer"), ("", "viewer"), ("stranger@example.org", "king")]
)
def test_what_cannot_be_added_is_said(
    address: str, owner: Person, stranger: Person, email: str, role: str
) -> None:
    answer = add(owner, address, email, role)
    assert answer.status_code == 422 and 'role="alert"' in answer.text


def test_changing_and_removing(
    world: World, project: Project, address: str, owner: Person, viewer: Person
) -> None:
    answer = owner.client.submit(address, f"{address}/{viewer.id}", {"role": "owner"})
    assert answer.status_code == 303 and roles(world, project)[str(viewer.id)] == "owner"
    answer = owner.client.submit(address, f"{address}/{viewer.id}/remove")
    assert answer.status_code == 303 and str(viewer.id) not in roles(world, project)


def test_the_last_owner_stays(world: World, project: Project, address: str, owner: Person) -> None:
    before = roles(world, project)
    for answer in (
        owner.client.submit(address, f"{address}/{owner.id}", {"role": "viewer"}),
        owner.client.submit(address, f"{address}/{owner.id}/remove"),
    ):
        assert answer.status_code == 409 and "at least one owner" in answer.text
    assert roles(world, project) == before


def test_who_leaves_is_sent_to_the_list(
    world: World, project: Project, address: str, owner: Person, viewer: Person
) -> None:
    owner.client.submit(address, f"{address}/{viewer.id}", {"role": "owner"})
    assert owner.client.submit(address, f"{address}/{owner.id}/remove").location == "/"


def test_others_may_not(address: str, owner: Person, editor: Person, viewer: Person) -> None:
    token = editor.client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]
    for path in (address, f"{address}/{viewer.id}", f"{address}/{viewer.id}/remove"):
        form = {"csrf_token": token, "email": viewer.email, "role": "owner"}
        assert editor.client.post(path, data=form).status_code == 403


def test_somebody_who_is_no_member(address: str, owner: Person, stranger: Person) -> None:
    token = owner.client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]
    for path in (f"{address}/{stranger.id}", f"{address}/{stranger.id}/remove"):
        assert owner.client.post(path, data={"csrf_token": token, "role": "viewer"}).status_code == 404


def test_a_member_is_not_added_again(
    world: World, project: Project, address: str, owner: Person, editor: Person
) -> None:
    """Else a slip would take a role away."""
    answer = add(owner, address, editor.email, "viewer")
    assert answer.status_code == 409 and "is a member already, as editor" in answer.text
    assert roles(world, project)[str(editor.id)] == "editor"


def add_many(world: World, project: Project, number: int) -> None:
    people = [
        {"id": new_id(), "email": f"p{n:03}@example.org", "name": f"Nr {n}", "password_hash": QUICK_HASH}
        for n in range(number)
    ]
    rows = [{"project_id": project.id, "user_id": person["id"], "role": "viewer"} for person in people]
    with world.app.app_context():
        db.session.execute(db.insert(User), people)
        db.session.execute(db.insert(Membership), rows)
        db.session.commit()


@pytest.mark.parametrize("page", ["/projects/{}/members", "/admin/projects/{}"])
def test_the_queries_do_not_grow(
    world: World, project: Project, admin: Person, count_queries: Callable[[], Any], page: str
) -> None:
    path = page.format(project.id)
    admin.client.get(path)
    with count_queries() as few:
        admin.client.get(path)
    add_many(world, project, 20)
    with count_queries() as many:
        text = admin.client.get(path).text
    assert "p019@example.org" in text and len(few) == len(many) <= 10


def test_the_first_500_are_listed_and_the_others_found(
    world: World, project: Project, address: str, owner: Person, admin: Person
) -> None:
    assert 'role="search"' not in owner.client.get(address).text
    add_many(world, project, 510)
    text = owner.client.get(address).text
    assert "513 people" in text and "These are the first 500 by address." in text
    assert len(re.findall(r'id="remove-', text)) == 500 and "p509@" not in text
    found = owner.client.get(f"{address}?q=NR+509").text
    assert re.findall(r"p\d+@example.org</span>", found) == ["p509@example.org</span>"]
    assert "Nobody here has this" in owner.client.get(f"{address}?q=%25").text
    [last] = world.rows(User, email="p509@example.org")
    changed = owner.client.submit(f"{address}?q=p509", f"{address}/{last.id}", {"role": "editor"})
    assert changed.status_code == 303 and roles(world, project)[str(last.id)] == "editor"
    text = admin.client.get(f"/admin/projects/{project.id}").text
    assert "513 members" in text and "These are the first 500 by address." in text
