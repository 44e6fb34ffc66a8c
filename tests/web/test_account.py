"""/account: everyone's own name, keys, password and sessions."""

import re

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from app import signing
from app.extensions import db
from app.models import SYSTEM, AuditEvent, SignInFailure, User, UserKey
from app.services import accounts, sign_ins
from tests.cast import PASSWORD, Person
from tests.factories import World
from tests.fakes import FixedClock
from tests.html import LintClient

NEW = "a new and longer password"
KEY = re.compile(r"mluser_[a-z2-7]{16}_[\w-]{43}")
FORMS = ("/account", "/account/keys", "/account/password", "/account/sign-out-everywhere")


def token(person: Person) -> str:
    return person.client.get("/account").text.split('name="csrf_token" value="')[1].split('"')[0]


def actions(world: World) -> list[str]:
    return [row.action for row in world.rows(AuditEvent)]


def another_browser(app: Flask, person: Person, password: str = PASSWORD) -> LintClient:
    client = LintClient(app, app.response_class)
    client.submit("/sign-in", "/sign-in", {"email": person.email, "password": password})
    return client


# --- who may -----------------------------------------------------------------------------------------------------


def test_everyone_has_one(owner: Person, admin: Person) -> None:
    for person, role in ((owner, "user"), (admin, "admin")):
        text = person.client.get("/account").text
        assert f"{person.email} · {role} · since" in text
        assert f'value="{person.email.partition("@")[0]}"' in text


def test_nobody_else_gets_there(client: LintClient, owner: Person) -> None:
    answer = client.get("/account")
    assert (answer.status_code, answer.location) == (303, "/sign-in?next=/account")
    for path in (*FORMS, "/account/keys/abcdefghij234567/revoke"):
        assert client.post(path).status_code == 303, path
        assert owner.client.post(path).status_code == 403, f"{path} takes no token"


def test_a_key_opens_no_page(owner: Person) -> None:
    assert owner.api("GET", "/account").status_code == 303


def test_another_method(owner: Person) -> None:
    for path in FORMS:
        assert owner.client.delete(path).status_code == 405


# --- the name ----------------------------------------------------------------------------------------------------


def rename(person: Person, name: str) -> TestResponse:
    return person.client.submit("/account", "/account", {"name": name})


def test_another_name(world: World, owner: Person) -> None:
    answer = rename(owner, "  Olga Ownér ")
    assert (answer.status_code, answer.location) == (303, "/account")
    text = owner.client.get("/account").text
    assert "Your name has been changed." in text and "<b>Olga Ownér</b>" in text
    (row,) = world.rows(AuditEvent, action="user.renamed")
    assert (row.actor_id, row.before, row.after) == (owner.id, {"name": "owner"}, {"name": "Olga Ownér"})
    assert rename(owner, "").status_code == 303, "a person may be known by the address alone"


@pytest.mark.parametrize("name", ["x" * 256, "two\nlines", "\u202eright to left", "no\u00a0break"])
def test_a_name_that_is_refused(world: World, owner: Person, name: str) -> None:
    answer = rename(owner, name)
    assert answer.status_code == 422
    assert 'aria-invalid="true"' in answer.text and 'id="account-name-fault"' in answer.text
    assert world.reload(world.rows(User, id=owner.id)[0]).name == "owner"


def test_names_given_at_once_follow_each_other(app: Flask, world: World, owner: Person, at_once) -> None:  # type: ignore[no-untyped-def]
    """What the trail says was there before is what really was."""

    def give(name: str) -> None:
        with app.app_context():
            accounts.rename(db.session.get_one(User, owner.id), name, by=SYSTEM)
            db.session.commit()

    at_once([lambda name=f"name {n}": give(name) for n in range(6)])
    events = world.rows(AuditEvent, action="user.renamed")
    befores = [row.before["name"] for row in events]
    afters = [row.after["name"] for row in events]
    assert len(set(befores)) == len(set(afters)) == 6
    assert set(befores) - set(afters) == {"owner"}
    [user] = world.rows(User, id=owner.id)
    assert set(afters) - set(befores) == {user.name}


# --- keys --------------------------------------------------------------------------------------------------------


def make_key(person: Person, name: str = "notebook") -> TestResponse:
    return person.client.submit("/account", "/account/keys", {"name": name})


def test_a_key_is_shown_once(world: World, owner: Person) -> None:
    answer = make_key(owner, " notebook ")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    (key,) = set(KEY.findall(answer.text))
    assert "It is not shown again" in answer.text
    assert Person(owner.app, owner.id, owner.email, key).api("GET", "/api/projects").status_code == 200
    assert key not in owner.client.get("/account").text
    (row,) = world.rows(UserKey, name="notebook")
    assert key.split("_", 2)[2] not in f"{row.secret_hash} {actions(world)}"
    (told,) = world.rows(AuditEvent, action="user_key.created", actor_id=owner.id)
    assert (told.subject_id, told.after) == (row.id, {"user": owner.email, "name": "notebook"})


def test_nothing_is_asked_after_a_key_is_kept(app: Flask, owner: Person, count_queries) -> None:  # type: ignore[no-untyped-def]
    """Were the database to go away between the commit and the page, nobody would ever see the key."""
    sent = {"csrf_token": token(owner), "name": "notebook", "key_id": signing.mint_key_id()}
    with app.app_context():
        engine = db.engine
    with count_queries() as statements:

        def note(_connection: object) -> None:
            statements.append("COMMIT")

        event.listen(engine, "commit", note)
        answer = owner.client.post("/account/keys", data=sent)
        event.remove(engine, "commit", note)
    assert answer.status_code == 201 and KEY.search(answer.text)
    assert statements.index("COMMIT") == len(statements) - 1


def test_the_same_form_again_makes_no_second_key(world: World, owner: Person) -> None:
    form = {"csrf_token": token(owner), "name": "notebook", "key_id": "abcdefghij234567"}
    first, again = (owner.client.post("/account/keys", data=form) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 409)
    assert KEY.search(first.text) and not KEY.search(again.text)
    assert "has made its key already" in again.text
    assert world.count(UserKey, name="notebook") == 1


def test_the_same_form_many_times_at_once(at_once, live_server) -> None:  # type: ignore[no-untyped-def]
    import requests

    person = live_server.world.person("owner@example.org")
    session = requests.Session()
    field = 'name="csrf_token" value="'
    form = {"email": person.email, "password": PASSWORD}
    for path in ("/sign-in", "/account"):
        form["csrf_token"] = session.get(live_server.url + path).text.split(field)[1].split('"')[0]
        if path == "/sign-in":
            session.post(live_server.url + path, data=form)
    sent = {"csrf_token": form["csrf_token"], "name": "notebook", "key_id": "abcdefghij234567"}
    cookies = session.cookies.get_dict()

    def send() -> int:
        return requests.post(
            f"{live_server.url}/account/keys", data=sent, cookies=cookies, timeout=60
        ).status_code

    assert sorted(at_once([send] * 6)) == [201] + [409] * 5
    assert live_server.world.count(UserKey, name="notebook") == 1


@pytest.mark.parametrize(
    ("name", "key_id"), [("", "abcdefghij234567"), ("two\nlines", "abcdefghij234567"), ("x", "../../etc")]
)
def test_a_key_that_is_refused(world: World, owner: Person, name: str, key_id: str) -> None:
    form = {"csrf_token": token(owner), "name": name, "key_id": key_id}
    answer = owner.client.post("/account/keys", data=form)
    assert answer.status_code == 422 and 'id="key-name-fault"' in answer.text
    assert world.count(UserKey, user_id=owner.id) == 1


def test_at_most_fifty_live_ones(app: Flask, owner: Person) -> None:
    from app.models import SYSTEM

    with app.app_context():
        user = db.session.get_one(User, owner.id)
        for number in range(accounts.MAX_LIVE_KEYS - 1):
            accounts.create_user_key(user, f"key {number}", by=SYSTEM)
        db.session.commit()
    answer = make_key(owner, "one more")
    assert answer.status_code == 409 and "There are 50 live keys" in answer.text
    assert 'value="one more"' in answer.text, "what was typed is kept"
    with app.app_context():  # from before there was a limit
        db.session.add(UserKey(id="a" * 16, user_id=owner.id, name="old", secret_hash="0" * 64))
        db.session.commit()
    assert make_key(owner, "and another").status_code == 409


def test_revoking(world: World, owner: Person) -> None:
    key_id = owner.key.split("_")[1]
    answer = owner.client.submit("/account", f"/account/keys/{key_id}/revoke")
    assert (answer.status_code, answer.location) == (303, "/account")
    text = owner.client.get("/account").text
    assert "The key “tests” has been revoked." in text and "/revoke" not in text
    assert owner.api("GET", "/api/projects").status_code == 401
    again = owner.client.post(f"/account/keys/{key_id}/revoke", data={"csrf_token": token(owner)})
    assert again.status_code == 303
    assert world.count(AuditEvent, action="user_key.revoked", subject_id=key_id) == 1


def test_the_live_keys_come_first(owner: Person) -> None:
    make_key(owner, "second")
    owner.client.submit("/account", f"/account/keys/{owner.key.split('_')[1]}/revoke")
    make_key(owner, "third")
    text = owner.client.get("/account").text
    assert text.index("<b>third</b>") < text.index("<b>second</b>") < text.index("<b>tests</b>")


@pytest.mark.parametrize("who", ["stranger", "admin"])
def test_a_key_of_somebody_else_is_not_there(
    request: pytest.FixtureRequest, world: World, owner: Person, who: str
) -> None:
    other: Person = request.getfixturevalue(who)
    sent = {"csrf_token": token(other)}
    key_id = owner.key.split("_")[1]
    for path_id in (key_id, "abcdefghij234567", "nothing", "a%00b", "%ED%A0%80", "é"):
        assert other.client.post(f"/account/keys/{path_id}/revoke", data=sent).status_code == 404, path_id
    assert owner.api("GET", "/api/projects").status_code == 200
    assert key_id not in other.client.get("/account").text


def test_the_page_says_how_a_key_is_sent(make_app, owner: Person) -> None:  # type: ignore[no-untyped-def]
    elsewhere = make_app(PUBLIC_URL="http://loupe.example.org")
    person = Person(elsewhere, owner.id, owner.email, owner.key)
    said = person.client.get("/account").text.replace("&#34;", '"')
    assert 'curl -H "X-API-Key: $LOUPE_KEY" http://loupe.example.org/api/projects' in said


def test_the_page_costs_the_same_with_many_keys(owner: Person, count_queries) -> None:  # type: ignore[no-untyped-def]
    owner.client.get("/account")
    with count_queries() as few:
        owner.client.get("/account")
    for number in range(5):
        make_key(owner, f"key {number}")
    with count_queries() as many:
        owner.client.get("/account")
    assert len(few) == len(many) <= 4


# --- the password ------------------------------------------------------------------------------------------------


def change(person: Person, current: str, new: str = NEW, again: str | None = None) -> TestResponse:
    data = {"current": current, "password": new, "again": new if again is None else again}
    return person.client.submit("/account", "/account/password", data)


def test_a_new_password_ends_every_other_session(app: Flask, world: World, owner: Person) -> None:
    other = another_browser(app, owner)
    before = owner.client.get("/account") and owner.client.get_cookie("loupe")
    answer = change(owner, PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/account")
    assert "Every other session has ended." in owner.client.get("/account").text
    after = owner.client.get_cookie("loupe")
    assert before and after and before.value != after.value
    assert other.get("/account").status_code == 303
    assert another_browser(app, owner, NEW).get("/account").status_code == 200
    assert another_browser(app, owner, PASSWORD).get("/account").status_code == 303
    assert owner.api("GET", "/api/projects").status_code == 200, "keys stay"
    assert world.count(AuditEvent, action="user.password_changed", actor_id=owner.id) == 1


def test_spaces_belong_to_a_password(app: Flask, owner: Person) -> None:
    assert change(owner, PASSWORD, "  ten spaces  ").status_code == 303
    assert another_browser(app, owner, "ten spaces").get("/account").status_code == 303
    assert another_browser(app, owner, "  ten spaces  ").get("/account").status_code == 200


@pytest.mark.parametrize(
    ("current", "new", "again", "field", "reason"),
    [
        ("wrong", NEW, NEW, "current", "This is not your password."),
        ("", NEW, NEW, "current", "This is not your password."),
        (PASSWORD, "short", "short", "password", "Must have at least 10 characters"),
        (PASSWORD, NEW, NEW + "!", "again", "This is not the same password."),
        (PASSWORD, "x" * 1025, "x" * 1025, "password", "Longer than maximum length 1024."),
    ],
)
def test_what_is_refused(
    app: Flask, owner: Person, current: str, new: str, again: str, field: str, reason: str
) -> None:
    answer = change(owner, current, new, again)
    assert answer.status_code == 422
    assert f'id="password-{field}-fault" role="alert">{reason}</span>' in answer.text
    assert answer.text.count('aria-invalid="true"') == 1
    assert NEW not in answer.text and PASSWORD not in answer.text
    assert another_browser(app, owner).get("/account").status_code == 200, "the old one still holds"


def test_guessing_is_slowed_down_like_signing_in(
    app: Flask, world: World, owner: Person, clock: FixedClock
) -> None:
    for _ in range(5):
        assert change(owner, "wrong").status_code == 422
    answer = change(owner, PASSWORD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert "Try again in 60 seconds" in answer.text and "<main" in answer.text
    assert another_browser(app, owner).get("/account").status_code == 303, "signing in is slowed down too"
    clock.advance(60)
    assert change(owner, PASSWORD).status_code == 303
    assert world.count(SignInFailure, subject=sign_ins.subject_of_account(owner.email)) == 0


# --- every session -----------------------------------------------------------------------------------------------


def test_signing_out_everywhere(app: Flask, world: World, owner: Person) -> None:
    other = another_browser(app, owner)
    answer = owner.client.submit("/account", "/account/sign-out-everywhere")
    assert (answer.status_code, answer.location) == (303, "/sign-in")
    page = owner.client.get("/sign-in")
    assert "You have been signed out everywhere." in page.text
    assert "signed out everywhere" not in owner.client.get("/sign-in").text, "said once"
    assert [client.get("/account").status_code for client in (owner.client, other)] == [303, 303]
    assert owner.api("GET", "/api/projects").status_code == 200, "keys stay"
    (row,) = world.rows(AuditEvent, action="user.signed_out_everywhere")
    assert (row.actor_id, row.subject_id) == (owner.id, str(owner.id))
