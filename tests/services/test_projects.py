"""Projects: an owner is always left, and every change of members is written down."""

import threading
from collections.abc import Iterator

import pytest
from flask import Flask

from app.errors import Conflict, InvalidPayload, NotFound
from app.extensions import db
from app.models import SYSTEM, AuditEvent, Membership, Principal, Project, Role, User
from app.services import projects
from tests.cast import Person
from tests.factories import World, some_id


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.rollback()


def roles(project: Project) -> dict[str, str]:
    return {row.user.email.partition("@")[0]: row.role for row in projects.members(project)}


def here(project: Project) -> Project:
    return db.session.get_one(Project, project.id)


def user(person: Person) -> User:
    return db.session.get_one(User, person.id)


def test_whoever_makes_it_owns_it(owner: Person, context: None) -> None:
    made = projects.create(" Leaves ", " green ", by=Principal("user", user(owner)))
    assert (made.name, made.description, made.created_by_id) == ("Leaves", "green", owner.id)
    assert roles(made) == {"owner": "owner"}
    assert roles(projects.create("Bark", "", by=SYSTEM)) == {}


@pytest.mark.parametrize("name", ["", "  ", "\n", "x" * 256])
def test_the_name(context: None, name: str) -> None:
    with pytest.raises(InvalidPayload):
        projects.create(name, "", by=SYSTEM)


def test_the_last_owner_stays(project: Project, owner: Person, editor: Person, context: None) -> None:
    row = here(project)
    with pytest.raises(Conflict):
        projects.remove_member(row, owner.id, by=SYSTEM)
    for role in (Role.EDITOR, Role.VIEWER):
        with pytest.raises(Conflict):
            projects.set_member(row, user(owner), role, by=SYSTEM)
    assert roles(row)["owner"] == "owner"
    projects.set_member(row, user(editor), Role.OWNER, by=SYSTEM)
    projects.set_member(row, user(owner), Role.VIEWER, by=SYSTEM)
    assert roles(row) == {"owner": "viewer", "editor": "owner", "viewer": "viewer"}
    with pytest.raises(Conflict):
        projects.remove_member(row, editor.id, by=SYSTEM)


def test_others_come_and_go(project: Project, editor: Person, stranger: Person, context: None) -> None:
    row = here(project)
    projects.set_member(row, user(stranger), Role.VIEWER, by=SYSTEM)
    projects.remove_member(row, editor.id, by=SYSTEM)
    assert roles(row) == {"owner": "owner", "stranger": "viewer", "viewer": "viewer"}
    for nobody in (editor.id, some_id()):
        with pytest.raises(NotFound):
            projects.remove_member(row, nobody, by=SYSTEM)


def test_each_change_is_written_down_and_none_that_is_none(
    project: Project, owner: Person, viewer: Person, context: None
) -> None:
    row, by = here(project), Principal("user", user(owner), "request-1")
    projects.set_member(row, user(viewer), Role.VIEWER, by=by)
    projects.set_member(row, user(viewer), Role.EDITOR, by=by)
    projects.remove_member(row, viewer.id, by=by)
    db.session.flush()
    events = list(db.session.scalars(db.select(AuditEvent).filter_by(project_id=project.id)))
    assert [(event.action, event.before, event.after) for event in events] == [
        (
            "project.member_set",
            {"user": viewer.email, "role": "viewer"},
            {"user": viewer.email, "role": "editor"},
        ),
        ("project.member_removed", {"user": viewer.email, "role": "editor"}, None),
    ]
    assert {(event.actor_label, event.request_id) for event in events} == {(owner.email, "request-1")}


def at_once(app: Flask, changes: list[object]) -> list[str]:
    """Runs each in its own thread and transaction; "ok" or the name of what was raised."""
    start, results = threading.Barrier(len(changes)), []

    def run(change: object) -> None:
        with app.app_context():
            start.wait()
            try:
                change()  # type: ignore[operator]
                db.session.commit()
                results.append("ok")
            except Exception as raised:
                db.session.rollback()
                results.append(type(raised).__name__)

    threads = [threading.Thread(target=run, args=(change,)) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(results)


def test_the_last_two_owners_cannot_leave_at_once(
    app: Flask, world: World, owner: Person, editor: Person
) -> None:
    project = world.project("Leaves", owner=owner)
    world.member(project, editor, "owner")

    def leave(person: Person) -> object:
        return lambda: projects.remove_member(here(project), person.id, by=SYSTEM)

    assert at_once(app, [leave(owner), leave(editor)]) == ["Conflict", "ok"]
    with app.app_context():
        assert list(roles(here(project)).values()) == ["owner"]


def test_one_person_added_many_times_at_once_is_one_member(
    app: Flask, project: Project, stranger: Person
) -> None:
    def add(role: Role) -> object:
        return lambda: projects.set_member(here(project), user(stranger), role, by=SYSTEM)

    results = at_once(app, [add(role) for role in (Role.VIEWER, Role.EDITOR, Role.VIEWER, Role.EDITOR)])
    assert results == ["ok"] * 4
    with app.app_context():
        rows = db.session.scalars(db.select(Membership).filter_by(user_id=stranger.id)).all()
        assert len(rows) == 1
