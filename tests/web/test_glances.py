"""What is answered at a glance: nothing that the long way would refuse, and in one statement what it would say."""

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app import access
from app.errors import LoupeError
from app.extensions import db
from app.models import Analysis, Image, Membership, Principal, Project, User
from app.models.columns import new_id, now
from app.services import accounts, analyses
from app.web import glances, polls
from app.web.versions import version_of
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.steps import box, store
from tests.support.plans import plan_of, refresh_statistics
from tests.web.test_show_panel import HTMX, poll_address

ROLES = ("viewer", "editor", "owner")


@dataclass(frozen=True)
class Case:
    """Somebody with a session, and an image."""

    who: str
    disabled: bool
    version: int
    image: str


CASES = [
    Case(*values)
    for values in itertools.product(
        (*ROLES, "elsewhere", "stranger", "admin", "nobody"),
        (False, True),
        (1, 2),
        ("live", "deleted", "none"),
    )
]


@pytest.fixture
def people(world: World, project: Project) -> dict[str, UUID]:
    """Members in each role, a member of another project, a stranger, an admin who is no member, and nobody."""
    made = {role: world.person(f"{role}2@example.org") for role in ROLES}
    for role, person in made.items():
        world.member(project, person, role)
    made["elsewhere"] = world.person("elsewhere@example.org")
    world.project("Other leaves", owner=made["elsewhere"])
    made["stranger"] = world.person("stranger2@example.org")
    made["admin"] = world.person("admin2@example.org", role="admin")
    return {name: person.id for name, person in made.items()} | {"nobody": some_id()}


def test_it_sees_what_the_long_way_shows_and_nothing_else(
    app: Flask, world: World, project: Project, people: dict[str, UUID]
) -> None:
    live, deleted = world.image(project, "live.png"), world.image(project, "deleted.png")
    for image in (live, deleted):
        world.analysis(image, "processing")
    ids = {"live": live.id, "deleted": deleted.id, "none": some_id()}
    seen = 0
    with app.app_context():
        db.session.get_one(Image, deleted.id).deleted_at = now()
        for case in CASES:
            set_up(people[case.who], case)
            db.session.commit()
            wanted = the_long_way(people[case.who], case.version, ids[case.image])
            db.session.rollback()
            found = glances.look(people[case.who], case.version, ids[case.image])
            assert (found and (found.sha256, version_of(found.analyses))) == wanted, case
            seen += wanted is not None
    assert seen == 4  # the members and the admin, the live image


def set_up(user_id: UUID, case: Case) -> None:
    if user := db.session.get(User, user_id):
        user.disabled_at = now() if case.disabled else None


def the_long_way(user_id: UUID, version: int, image_id: UUID) -> tuple[str, str] | None:
    user = accounts.from_session(user_id, version)
    if user is None:
        return None
    try:
        image = access.image_for(Principal("user", user), image_id)
    except LoupeError:
        return None
    return image.sha256, version_of(analyses.of_image(image))


def test_the_version_is_that_of_the_page(
    app: Flask, world: World, image: Image, viewer: Person, project: Project
) -> None:
    """Of none, of many in all states, without one that was deleted and without those of another image."""
    world.analysis(world.image(project, "other.png"), "completed")
    for count in (0, 1, 12):
        states = itertools.cycle(("queued", "processing", "completed", "failed", "canceled"))
        made = [world.analysis(image, next(states)) for _ in range(count)]
        with app.app_context():
            if count > 1:
                db.session.get_one(Analysis, made[3].id).deleted_at = now()
                db.session.commit()
            found = glances.look(viewer.id, 1, image.id)
            plain = version_of(analyses.of_image(db.session.get_one(Image, image.id)))
        assert found is not None and version_of(found.analyses) == plain
        assert plain.count("-") == len(found.analyses)


@pytest.mark.parametrize("count", [1, 50])
def test_an_unchanged_poll_is_one_statement(
    count: int, world: World, image: Image, viewer: Person, count_queries: Callable[[], Any]
) -> None:
    for _ in range(count):
        world.analysis(image, "processing")
    poll = poll_address(viewer.client.get(f"/images/{image.id}").text)
    with count_queries() as statements:
        assert viewer.client.get(poll, headers=HTMX).status_code == 204
    (statement,) = statements
    assert "parameters" not in statement and "error_message" not in statement


def test_the_answer_is_that_of_the_view(
    app: Flask, analysis: Analysis, viewer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll = poll_address(viewer.client.get(f"/images/{analysis.image_id}").text)
    sent = {**HTMX, "X-Request-ID": "same"}
    monkeypatch.setattr(polls, "PANEL", re.compile("none"))
    ready = viewer.client.get(poll, headers=sent)
    monkeypatch.delattr(app.view_functions["web.show_panel"], "at_a_glance")
    usual = viewer.client.get(poll, headers=sent)
    assert (ready.status, ready.data, sorted(ready.headers)) == (
        usual.status,
        usual.data,
        sorted(usual.headers),
    )


def test_only_reading_is_answered(app: Flask, analysis: Analysis, viewer: Person) -> None:
    poll = poll_address(viewer.client.get(f"/images/{analysis.image_id}").text)
    options = viewer.client.options(poll, headers=HTMX)
    assert options.status_code == 200 and "GET" in options.headers["Allow"]
    assert viewer.client.head(poll, headers=HTMX).status_code == 204
    app.config["ML_ANALYSIS_ENABLED"] = False
    assert viewer.client.get(poll, headers=HTMX).status_code == 404


def test_it_goes_along_the_keys(app: Flask, world: World, project: Project, viewer: Person) -> None:
    """By the primary keys of all that says who may look, and by the index of an image's analyses."""
    shown = world.image(project)
    with app.app_context():
        columns = {
            name: getattr(shown, name) for name in ("project_id", "filename", "content_type", "size_bytes")
        }
        columns |= {name: getattr(shown, name) for name in ("sha256", "width", "height", "storage_path")}
        images = [columns | {"id": new_id(), "filename": f"{n}.png"} for n in range(2000)]
        named = {"model_name": "leaf-net", "model_version": "1.0.0"}
        rows = [named | {"id": new_id(), "image_id": one["id"]} for one in images for _ in range(3)]
        users = [{"id": new_id(), "email": f"{n}@example.org", "password_hash": ""} for n in range(2000)]
        members = [{"project_id": project.id, "user_id": one["id"], "role": "viewer"} for one in users]
        for model, made in ((Image, images), (Analysis, rows), (User, users), (Membership, members)):
            db.session.execute(db.insert(model), made)
        db.session.commit()
    refresh_statistics(app)
    plan = plan_of(app, lambda: glances.look(viewer.id, 1, shown.id))
    assert "idx_ml_analyses_image_id" in plan, plan
    for table in ("users", "memberships", "data_instances", "ml_analyses"):
        assert f"Seq Scan on {table}" not in plan and f"SCAN {table}" not in plan, plan


def test_what_was_drawn_comes_in_one_statement_as_it_came_first(
    world: World, image: Image, viewer: Person, pipeline: Pipeline, count_queries: Callable[[], Any]
) -> None:
    analysis = world.analysis(image, "processing")
    store(pipeline, analysis, [box()])
    viewer.client.get(f"/images/{image.id}")
    for query in ("", "?table=1&sort=class", "?off=leaf"):
        address = f"/images/{image.id}/overlay{query}"
        sent = {**HTMX, "X-Request-ID": "same"}
        first = viewer.client.get(address, headers=sent)
        with count_queries() as statements:
            again = viewer.client.get(address, headers=sent)
            unchanged = viewer.client.get(address, headers={**sent, "If-None-Match": first.headers["ETag"]})
        assert len(statements) == 2 and unchanged.status_code == 304
        assert (again.data, sorted(again.headers)) == (first.data, sorted(first.headers))
    store(pipeline, analysis, [box(client_id="another")])
    later = viewer.client.get(f"/images/{image.id}/overlay", headers=HTMX)
    assert later.data.count(b'<rect class="shape"') == 2


def test_what_was_drawn_is_for_those_who_may_look(
    app: Flask, world: World, image: Image, viewer: Person, stranger: Person, client: Any
) -> None:
    world.analysis(image, "completed")
    address = f"/images/{image.id}/overlay"
    viewer.client.get(f"/images/{image.id}")
    assert [viewer.client.get(address, headers=HTMX).status_code for _ in range(2)] == [200, 200]
    assert stranger.client.get(address, headers=HTMX).status_code == 403
    assert client.get(address, headers=HTMX).status_code == 401
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = now()
        db.session.commit()
    assert viewer.client.get(address, headers=HTMX).status_code == 410
