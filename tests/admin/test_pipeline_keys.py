"""/admin/pipeline-keys: made and shown once, narrowed, rotated, revoked; who used them, when and from where."""

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app import signing
from app.extensions import db
from app.models import SYSTEM, AuditEvent, PipelineKey, Project
from app.models.columns import now
from app.services import pipeline_keys
from tests.cast import Person, encode
from tests.factories import World, some_id
from tests.fakes import FixedClock
from tests.html import LintClient
from tests.support.signatures import v2_headers

KEYS, NEW = "/admin/pipeline-keys", "/admin/pipeline-keys/new"
SEALED = "a key to encrypt signing secrets under"
FULL = re.compile(r"mlpip_[a-z2-7]{16}_[\w-]{43}")
SECRET = re.compile(r"mlsec_[\w-]{43}")


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(ML_KEY_ENCRYPTION_KEYS=SEALED)


@pytest.fixture
def make_key(app: Flask, project: Project) -> Callable[..., PipelineKey]:
    """make_key("leaf worker", revoked_at=…): of `project` unless others are given."""

    def make(name: str = "leaf worker", *projects: Project, **columns: Any) -> PipelineKey:
        with app.app_context():
            rows = [db.session.get_one(Project, one.id) for one in projects or (project,)]
            made = pipeline_keys.create(name, rows, encryption_keys=[SEALED], by=SYSTEM)
            for column, value in columns.items():
                setattr(made.key, column, value)
            db.session.commit()
            db.session.refresh(made.key)
            db.session.expunge_all()
            return made.key

    return make


@pytest.fixture
def key(make_key: Callable[..., PipelineKey]) -> PipelineKey:
    return make_key()


def address(key: PipelineKey) -> str:
    return f"{KEYS}/{key.id}"


def names(text: str) -> list[str]:
    return re.findall(r'<tr[^>]*><th scope="row"><div class="person"><b><a [^>]*>([^<]*)<', text)


def fault(text: str, field: str) -> str:
    """What stands beside a field; it is announced."""
    found = re.search(rf'<span class="fault" id="{field}-fault" role="alert">([^<]*)<', text)
    return found[1] if found else ""


def opens(app: Flask, full: str, analysis_id: object) -> int:
    client = app.test_client(use_cookies=False)
    return client.get(f"/api/analyses/{analysis_id}", headers={"X-API-Key": full}).status_code


def actions(world: World) -> list[str]:
    events = world.rows(AuditEvent, subject_type="pipeline_key")
    return [event.action.removeprefix("pipeline_key.") for event in events]


# --- who may -----------------------------------------------------------------------------------------------------


def test_who_may(check_only_admins: Callable[..., None], world: World, key: PipelineKey) -> None:
    page = address(key)
    check_only_admins([KEYS, page], [NEW, page, f"{page}/rotate", f"{page}/revoke"])
    assert world.count(PipelineKey) == 1 and world.reload(key).revoked_at is None


def test_get_on_addresses_of_forms(admin: Person, key: PipelineKey) -> None:
    assert admin.client.get(NEW).location == KEYS
    for act in ("rotate", "revoke"):
        answer = admin.client.get(f"{address(key)}/{act}")
        assert (answer.status_code, answer.location) == (303, address(key))
    for path in (f"{KEYS}/nothing", f"{KEYS}/%00abc", f"{KEYS}/{some_id()}", f"{KEYS}/nothing/revoke"):
        assert admin.client.get(path).status_code == 404


def test_without_analyses_there_is_no_trace_of_keys(make_app: Any, admin: Person, key: PipelineKey) -> None:
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), admin.id, admin.email, admin.key)
    assert off.client.get(KEYS).status_code == off.client.get(address(key)).status_code == 404
    assert "pipeline" not in off.client.get("/admin/users").text.lower()
    assert f'href="{KEYS}"' in admin.client.get("/admin/users").text


# --- the list ----------------------------------------------------------------------------------------------------


def test_the_list(
    world: World, project: Project, make_key: Callable[..., PipelineKey], admin: Person
) -> None:
    others = [world.project(f"P{n}") for n in range(4)]
    soon, later = now() + timedelta(days=2), now() + timedelta(days=90)
    used = {
        "last_used_at": now(),
        "last_used_from": "192.0.2.7",
        "last_used_agent": "<b>worker</b>/1",
        "expires_at": soon,
    }
    make_key("first", *others, **used)
    make_key("second <b>", min_scheme="plain", expires_at=later)
    make_key("third", revoked_at=now())
    make_key("fourth", expires_at=now() - timedelta(days=1))
    text = admin.client.get(KEYS).text
    assert names(text) == ["second &lt;b&gt;", "first"] and "2 live keys" in text
    second, first = re.findall(r'<tr[^>]*><th scope="row">.*?</tr>', text, re.S)
    assert "P0, P1, P2" in first and "and 1 more" in first and "v2 only" in first
    assert "192.0.2.7 by &lt;b&gt;worker&lt;/b&gt;/1" in first and ">expiring<" in first
    assert "Leaves" in second and "v2 and plain" in second and "never" in second and ">live<" in second
    everything = admin.client.get(f"{KEYS}?state=all").text
    assert names(everything) == ["fourth", "third", "second &lt;b&gt;", "first"]
    assert ">revoked<" in everything and ">expired<" in everything and "4 keys" in everything
    assert names(admin.client.get(f"{KEYS}?state=nonsense&page=zero").text) == names(text)


def test_pages_and_queries(
    app: Flask,
    admin: Person,
    key: PipelineKey,
    count_queries: Callable[[], AbstractContextManager[list[str]]],
) -> None:
    admin.client.get("/")  # signed in
    with count_queries() as few:
        admin.client.get(KEYS)
    with app.app_context():
        projects = list(db.session.scalars(db.select(Project)))
        for n in range(60):
            pipeline_keys.create(f"worker {n}", projects, encryption_keys=[SEALED], by=SYSTEM)
        db.session.commit()
    with count_queries() as many:
        text = admin.client.get(KEYS).text
    assert len(few) == len(many) <= 8
    assert "61 live keys" in text and "Page 1 of 2" in text
    assert "leaf worker" in admin.client.get(f"{KEYS}?page=2").text


def test_nothing_there_yet(world: World, admin: Person) -> None:
    text = admin.client.get(KEYS).text
    assert "No live key" in text and "no project yet" in text and f'action="{NEW}"' not in text
    assert "No pipeline keys yet" in admin.client.get(f"{KEYS}?state=all").text


# --- making one --------------------------------------------------------------------------------------------------


def make(admin: Person, *projects: Project, **more: Any) -> Any:
    sent = {"name": "leaf worker", "projects": [str(project.id) for project in projects], **more}
    return admin.client.submit(KEYS, NEW, sent)


def test_a_key_is_shown_once(
    app: Flask, world: World, project: Project, analysis: Any, admin: Person
) -> None:
    answer = make(admin, project, name=" leaf worker ")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    (full,), (secret,) = set(FULL.findall(answer.text)), set(SECRET.findall(answer.text))
    [row] = world.rows(PipelineKey)
    assert (row.name, row.min_scheme, row.expires_at, row.created_by_id) == (
        "leaf worker",
        "v2",
        None,
        admin.id,
    )
    assert opens(app, full, analysis.id) == 200
    path, body = f"/api/analyses/{analysis.id}/status", encode({"status": "failed"})
    moment = int(app.extensions["clock"]().timestamp())
    headers = v2_headers(secret, "PATCH", path, body, moment, key_id=row.id)
    sent = app.test_client(use_cookies=False).patch(
        path, data=body, headers={**headers, "Content-Type": "application/json"}
    )
    assert sent.status_code == 200, sent.text
    later = admin.client.get(address(row)).text + admin.client.get(KEYS).text
    assert not FULL.search(later) and not SECRET.search(later)
    [told] = world.rows(AuditEvent, action="pipeline_key.created")
    assert (told.actor_id, told.subject_id) == (admin.id, row.id)
    kept = f"{row.secret_hash} {row.signing_secret} {told.after}"
    assert full.split("_", 2)[2] not in kept and secret not in kept


def test_nothing_is_asked_after_a_key_is_kept(
    app: Flask, project: Project, admin: Person, token: Callable[[Person], str], count_queries: Any
) -> None:
    """Were the database to go away between the commit and the page, nobody would ever see the key."""
    sent = {"csrf_token": token(admin), "name": "n", "projects": project.id, "key_id": signing.mint_key_id()}
    with app.app_context():
        engine = db.engine
    with count_queries() as statements:

        def note(_connection: object) -> None:
            statements.append("COMMIT")

        event.listen(engine, "commit", note)
        answer = admin.client.post(NEW, data=sent)
        event.remove(engine, "commit", note)
    assert answer.status_code == 201
    assert statements[-1] == "COMMIT" and any("INSERT INTO pipeline_keys" in one for one in statements)


def test_a_form_sent_twice_makes_one_key(
    world: World, project: Project, admin: Person, token: Callable[[Person], str]
) -> None:
    sent = {"csrf_token": token(admin), "name": "n", "projects": project.id, "key_id": signing.mint_key_id()}
    assert admin.client.post(NEW, data=sent).status_code == 201
    again = admin.client.post(NEW, data=sent)
    assert again.status_code == 409 and "shown only once" in fault(again.text, "name")
    assert not FULL.search(again.text) and world.count(PipelineKey) == 1


def test_a_form_sent_many_times_at_once_makes_one_key(
    app: Flask, world: World, project: Project, admin: Person, token: Callable[[Person], str], at_once: Any
) -> None:
    sent = {"csrf_token": token(admin), "name": "n", "projects": project.id, "key_id": signing.mint_key_id()}
    cookie = admin.client.get_cookie(app.config["SESSION_COOKIE_NAME"])
    assert cookie is not None

    def send() -> int:
        client = LintClient(app, app.response_class)
        client.set_cookie(cookie.key, cookie.value)
        return int(client.post(NEW, data=sent).status_code)

    assert sorted(at_once([send] * 6)) == [201, 409, 409, 409, 409, 409]
    assert world.count(PipelineKey) == 1 and actions(world) == ["created"]


def test_what_one_chooses(world: World, project: Project, admin: Person) -> None:
    other = world.project("Moss")
    day = (now() + timedelta(days=30)).date()
    answer = make(admin, project, other, min_scheme="plain", expires_at=day.isoformat())
    assert answer.status_code == 201
    [row] = world.rows(PipelineKey)
    assert row.min_scheme == "plain"
    assert row.expires_at == datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC)
    text = admin.client.get(address(row)).text
    assert "for 2 projects" in text and "Moss" in text and "Leaves" in text


@pytest.mark.parametrize(
    ("sent", "field", "reason"),
    [
        ({"name": ""}, "name", "1 to 255"),
        ({"name": "x" * 256}, "name", "1 to 255"),
        ({"name": "a\u202eb"}, "name", "bidirectional"),
        ({"projects": []}, "projects", "at least one"),
        ({"projects": [str(some_id())]}, "projects", "no such project"),
        ({"projects": ["leaves"]}, "projects", "Ids of projects"),
        ({"min_scheme": "v3"}, "min_scheme", "v2 or plain"),
        ({"expires_at": "tomorrow"}, "expires_at", "Write a day"),
        ({"expires_at": "2020-01-01"}, "expires_at", "over already"),
        ({"key_id": "mine"}, "name", "String does not match"),
    ],
)
def test_what_is_wrong_stands_beside_the_field(
    world: World, project: Project, admin: Person, sent: dict[str, Any], field: str, reason: str
) -> None:
    answer = make(admin, project, **sent)
    assert answer.status_code == 422 and reason in fault(answer.text, field), fault(answer.text, field)
    assert world.count(PipelineKey) == 0
    if "projects" not in sent:
        assert f'value="{project.id}" checked' in answer.text, "what was ticked stays ticked"


def test_what_cannot_be_ticked_is_written(world: World, project: Project, admin: Person) -> None:
    """With more projects than a form offers, the others are named by their ids; what makes no sense is shown again."""
    wrong = make(admin, project, projects=[str(project.id), "<leaves>"]).text
    assert 'id="other-projects" name="projects" value="&lt;leaves&gt;"' in wrong
    with world.app.app_context():
        db.session.add_all(Project(name=f"A {n:03}") for n in range(200))
        db.session.commit()
    assert f'value="{project.id}"' not in admin.client.get(KEYS).text
    answer = make(admin, projects=["", f" {project.id}"])
    assert answer.status_code == 201
    [row] = world.rows(PipelineKey)
    assert f'value="{project.id}" checked' in admin.client.get(address(row)).text


def test_without_a_key_to_encrypt_under(
    make_app: Any, world: World, key: PipelineKey, admin: Person, token: Callable[[Person], str]
) -> None:
    bare = Person(make_app(), admin.id, admin.email, admin.key)
    for path, action in ((KEYS, NEW), (address(key), f"{address(key)}/rotate")):
        text = bare.client.get(path).text
        assert "ML_KEY_ENCRYPTION_KEYS" in text and f'action="{action}"' not in text
        sent = {"csrf_token": token(bare), "name": "n", "overlap": "0"}
        assert bare.client.post(action, data={**sent, "key_id": "a" * 16}).status_code in (422, 503)
    assert world.count(PipelineKey) == 1
    assert bare.client.submit(address(key), f"{address(key)}/revoke").status_code == 303


# --- one key -----------------------------------------------------------------------------------------------------


def test_the_page_of_a_key(world: World, admin: Person, make_key: Callable[..., PipelineKey]) -> None:
    key = make_key("leaf <worker>", last_used_at=now(), last_used_from="192.0.2.7", last_used_agent="<i>")
    text = admin.client.get(address(key)).text
    assert "leaf &lt;worker&gt;" in text and "from 192.0.2.7 by &lt;i&gt;" in text and key.id in text
    assert f'href="/admin/audit?who={key.id}"' in text


def test_what_a_key_did_is_in_the_trail(
    app: Flask, project: Project, analysis: Any, admin: Person, image: Any
) -> None:
    full = FULL.findall(make(admin, project).text)[0]
    client = app.test_client(use_cookies=False)
    wanted = {"model_name": "leaf-net", "model_version": "1"}
    made = client.post(f"/api/images/{image.id}/analyses", json=wanted, headers={"X-API-Key": full})
    assert made.status_code == 201
    trail = admin.client.get(f"/admin/audit?who={full.split('_')[1]}").text
    assert made.json["id"] in trail and "pipeline_key.created" not in trail.split("<ol")[-1].split("</ol")[0]


def test_a_change(app: Flask, world: World, project: Project, key: PipelineKey, admin: Person) -> None:
    other = world.project("Moss")
    sent = {"name": "moss worker", "projects": [str(other.id)], "min_scheme": "plain"}
    answer = admin.client.submit(address(key), address(key), sent)
    assert (answer.status_code, answer.location) == (303, address(key))
    admin.client.submit(address(key), address(key))
    row = world.reload(key)
    assert (row.name, row.min_scheme) == ("moss worker", "plain")
    [told] = world.rows(AuditEvent, action="pipeline_key.changed")
    assert told.before["projects"] == [str(project.id)] and told.after["projects"] == [str(other.id)]


def test_a_refused_change_keeps_what_was_sent(
    world: World, project: Project, key: PipelineKey, admin: Person
) -> None:
    answer = admin.client.submit(address(key), address(key), {"name": "kept " * 60, "projects": []})
    assert answer.status_code == 422 and "1 to 255" in fault(answer.text, "name")
    assert "kept kept" in answer.text and f'value="{project.id}" checked' not in answer.text
    none = admin.client.submit(address(key), address(key), {"projects": []})
    assert "at least one" in fault(none.text, "projects")
    assert world.reload(key).name == "leaf worker"


def test_rotating_with_an_overlap(
    app: Flask, world: World, project: Project, analysis: Any, admin: Person
) -> None:
    old = FULL.findall(make(admin, project).text)[0]
    [key] = world.rows(PipelineKey)
    answer = admin.client.submit(address(key), f"{address(key)}/rotate", {"overlap": "1h"})
    assert answer.status_code == 201
    (new,), (secret,) = set(FULL.findall(answer.text)), set(SECRET.findall(answer.text))
    assert opens(app, old, analysis.id) == opens(app, new, analysis.id) == 200
    left = world.reload(key).expires_at - now()
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    successor = new.split("_")[1]
    text = admin.client.get(address(key)).text
    assert f'href="{KEYS}/{successor}"' in text and ">expiring<" in text and secret not in text
    assert f'href="{address(key)}"' in admin.client.get(f"{KEYS}/{successor}").text
    assert actions(world) == ["created", "rotated", "created"]
    with app.app_context():
        db.session.get_one(PipelineKey, key.id).expires_at = now()
        db.session.commit()
    assert (opens(app, old, analysis.id), opens(app, new, analysis.id)) == (401, 200)


def test_rotating_without_an_overlap(
    app: Flask, world: World, project: Project, analysis: Any, admin: Person, token: Callable[[Person], str]
) -> None:
    old = FULL.findall(make(admin, project).text)[0]
    [key] = world.rows(PipelineKey)
    sent = {"csrf_token": token(admin), "overlap": "0", "key_id": signing.mint_key_id()}
    assert admin.client.post(f"{address(key)}/rotate", data=sent).status_code == 201
    assert opens(app, old, analysis.id) == 401
    again = admin.client.post(f"{address(key)}/rotate", data=sent)
    assert again.status_code == 409 and "is over" in fault(again.text, "overlap")
    assert world.count(PipelineKey) == 2


def test_a_rotation_sent_twice_makes_one_key(
    world: World, key: PipelineKey, admin: Person, token: Callable[[Person], str]
) -> None:
    sent = {"csrf_token": token(admin), "overlap": "7d", "key_id": signing.mint_key_id()}
    assert admin.client.post(f"{address(key)}/rotate", data=sent).status_code == 201
    again = admin.client.post(f"{address(key)}/rotate", data=sent)
    assert again.status_code == 409 and "shown only once" in fault(again.text, "overlap")
    wrong = admin.client.post(f"{address(key)}/rotate", data={**sent, "overlap": "forever"})
    assert wrong.status_code == 422 and "Choose one" in fault(wrong.text, "overlap")
    assert world.count(PipelineKey) == 2


def test_revoking(app: Flask, world: World, project: Project, analysis: Any, admin: Person) -> None:
    full = FULL.findall(make(admin, project).text)[0]
    [key] = world.rows(PipelineKey)
    answer = admin.client.submit(address(key), f"{address(key)}/revoke")
    assert (answer.status_code, answer.location) == (303, address(key))
    assert opens(app, full, analysis.id) == 401
    text = admin.client.get(address(key)).text
    assert "has been revoked" in text and "<form" not in text.partition("<main")[2]
    assert actions(world) == ["created", "revoked"]


def test_a_key_that_is_over_is_not_changed(
    world: World, make_key: Callable[..., PipelineKey], admin: Person, token: Callable[[Person], str]
) -> None:
    key = make_key(revoked_at=now())
    [project] = world.rows(Project)
    sent = {"csrf_token": token(admin), "name": "other", "projects": project.id}
    answer = admin.client.post(address(key), data=sent)
    assert answer.status_code == 409 and "is over" in answer.text
    assert world.reload(key).name == "leaf worker"


# --- where else keys are shown -----------------------------------------------------------------------------------


def test_people_see_when_their_keys_were_used(clock: FixedClock, owner: Person, admin: Person) -> None:
    clock.advance(minutes=2)  # since the last use that is noted
    place, agent = {"REMOTE_ADDR": "192.0.2.9"}, {"User-Agent": "notebook <1>"}
    answer = owner.api("GET", "/api/projects", headers=agent, environ_base=place)
    answer.close()  # it is written down when the answer is sent
    assert answer.status_code == 200
    for text in (owner.client.get("/account").text, admin.client.get(f"/admin/users/{owner.id}").text):
        assert "from 192.0.2.9 by notebook &lt;1&gt;" in text


def test_the_trail_leads_to_the_key(key: PipelineKey, admin: Person) -> None:
    text = admin.client.get(f"/admin/audit?subject_type=pipeline_key&subject={key.id}").text
    assert f'href="{address(key)}"' in text
