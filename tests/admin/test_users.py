"""/admin/users: who has an account, and what an admin changes about it."""

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.errors import Conflict, Forbidden, InvalidPayload
from app.extensions import db
from app.models import SYSTEM, AuditEvent, Membership, Principal, Project, User, UserKey
from app.models.columns import now
from app.services import accounts, sign_ins
from tests.cast import PASSWORD, Person
from tests.factories import QUICK_HASH, World, some_id
from tests.html import LintClient

USERS, NEW = "/admin/users", "/admin/users/new"


@pytest.fixture
def address(stranger: Person) -> str:
    return f"{USERS}/{stranger.id}"


def key_of(world: World, person: Person) -> UserKey:
    [key] = world.rows(UserKey, user_id=person.id)
    return key


def user_of(world: World, person: Person) -> User:
    [user] = world.rows(User, id=person.id)
    return user


def events(world: World, action: str) -> list[AuditEvent]:
    return world.rows(AuditEvent, action=action)


def test_who_may(
    check_only_admins: Callable[..., None], world: World, address: str, stranger: Person
) -> None:
    forms = [f"{address}/{name}" for name in ("role", "state", "password", "sign-out")]
    forms.append(f"{address}/keys/{key_of(world, stranger).id}/revoke")
    check_only_admins([USERS, address], [NEW, *forms])
    assert user_of(world, stranger).role == "user" and user_of(world, stranger).disabled_at is None
    assert key_of(world, stranger).revoked_at is None


def test_the_way_there(admin: Person, viewer: Person, project: Project) -> None:
    assert 'href="/admin/">' in admin.client.get("/").text
    assert "/admin" not in viewer.client.get("/").text
    assert (admin.client.get("/admin/").location, viewer.client.get("/admin/").status_code) == (USERS, 403)
    assert 'href="/admin/users" aria-current="page"' in admin.client.get(USERS).text


def test_get_on_addresses_of_forms(world: World, admin: Person, stranger: Person, address: str) -> None:
    key = key_of(world, stranger).id
    assert admin.client.get(NEW).location == USERS
    for path in ("role", "state", "password", "sign-out", f"keys/{key}/revoke"):
        answer = admin.client.get(f"{address}/{path}")
        assert (answer.status_code, answer.location) == (303, address)
    for path in (
        f"{USERS}/{some_id()}",
        f"{USERS}/{some_id()}/role",
        f"{address}/keys/nothing/revoke",
        f"{address}/keys/%00abc/revoke",
    ):
        assert admin.client.get(path).status_code == 404


# --- the list ----------------------------------------------------------------------------------------------------


def test_the_list(world: World, project: Project, admin: Person, editor: Person, stranger: Person) -> None:
    text = admin.client.get(USERS).text
    assert "5 accounts" in text
    row = re.search(rf"<tr>(?:(?!</tr>).)*{editor.email}.*?</tr>", text, re.S)
    assert row and re.findall(r'class="num">(\d+)', row.group()) == ["1", "1"]


def make_many(app: Flask, number: int, **columns: Any) -> None:
    with app.app_context():
        for n in range(number):
            user = User(
                email=f"person{n:03}@example.org", name=f"Nr {n}", password_hash=QUICK_HASH, **columns
            )
            db.session.add(user)
        db.session.commit()


def test_pages_and_queries(
    app: Flask, admin: Person, count_queries: Callable[[], AbstractContextManager[list[str]]]
) -> None:
    admin.client.get(USERS)
    with count_queries() as few:
        admin.client.get(USERS)
    make_many(app, 120)
    with count_queries() as many:
        text = admin.client.get(USERS).text
    assert len(few) == len(many) <= 6
    assert "LIMIT" in next(line for line in many if "ORDER BY users.email" in line)
    assert "121 accounts" in text and "Page 1 of 3" in text
    assert "person049" not in text and "person048" in text
    assert "person119" in admin.client.get(f"{USERS}?page=3").text
    assert "Page 3 of 3" in admin.client.get(f"{USERS}?page=99").text
    for nonsense in ("0", "-1", "x", "٣", "9" * 30):
        assert "Page 1 of 3" in admin.client.get(USERS, query_string={"page": nonsense}).text
    assert 'href="/admin/users?q=person1&amp;page=2"' not in admin.client.get(f"{USERS}?q=person1").text
    assert 'href="/admin/users?q=nr&amp;page=2"' in admin.client.get(f"{USERS}?q=nr").text


def test_search_and_states(app: Flask, world: World, admin: Person) -> None:
    make_many(app, 3)
    with app.app_context():
        off = db.session.query(User).filter_by(email="person001@example.org").one()
        off.disabled_at = now()
        db.session.commit()

    def found(**query: str) -> list[str]:
        text = admin.client.get(USERS, query_string=query).text
        return re.findall(r'/admin/users/[0-9a-f-]{36}">([^<]+)<', text)

    assert found(q="NR 1") == ["Nr 1"] and found(q="person002@") == ["Nr 2"]
    assert found(state="disabled") == ["Nr 1"]
    assert found(state="enabled") == ["admin", "Nr 0", "Nr 2"]
    assert found(state="admin") == ["admin"]
    assert found(state="king") == found()
    for nothing in ("%", "_", "nobody", "\0", "'; DROP TABLE users; --"):
        text = admin.client.get(USERS, query_string={"q": nothing}).text
        assert ("Nobody matches" in text) is (nothing != "\0"), nothing


# --- new accounts ------------------------------------------------------------------------------------------------


def test_a_new_account_shows_its_password_once(app: Flask, world: World, admin: Person) -> None:
    sent = {"email": " New@Example.org ", "name": "New", "role": "admin"}
    answer = admin.client.submit(USERS, NEW, sent)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    password = re.findall(r'id="new-password">([^<]+)<', answer.text)[0]
    assert len(password) >= 16
    [user] = world.rows(User, email="new@example.org")
    assert (user.role, user.name) == ("admin", "New")
    assert password not in admin.client.get(f"{USERS}/{user.id}").text
    client = LintClient(app, app.response_class)
    assert (
        client.submit("/sign-in", "/sign-in", {"email": user.email, "password": password}).status_code == 303
    )
    again = admin.client.submit(USERS, NEW, sent)
    assert again.status_code == 409 and password not in again.text and "already an account" in again.text
    [event] = events(world, "user.created")
    assert event.after == {"email": user.email, "role": "admin"} and event.actor_label == admin.email
    assert password not in str([(e.before, e.after) for e in world.rows(AuditEvent)])


def test_a_password_that_was_typed(world: World, admin: Person) -> None:
    sent = {"email": "new@example.org", "password": "typed by the admin"}
    answer = admin.client.submit(USERS, NEW, sent)
    [user] = world.rows(User, email="new@example.org")
    assert (answer.status_code, answer.location) == (303, f"{USERS}/{user.id}")
    page = admin.client.get(answer.location).text
    assert "has been made" in page and "typed by the admin" not in page


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        ({"email": "nonsense"}, 422, "email"),
        ({"email": ""}, 422, "email"),
        ({"email": "admin@example.org"}, 409, "email"),
        ({"email": "a@b", "password": "too short"}, 422, "password"),
        ({"email": "a@b", "name": "two\u202elines"}, 422, "name"),
        ({"email": "a@b", "role": "king"}, 422, "role"),
    ],
)
def test_what_is_wrong_stands_beside_the_field(
    world: World, admin: Person, sent: dict[str, str], status: int, field: str
) -> None:
    answer = admin.client.submit(USERS, NEW, {"name": "Kept", **sent})
    assert answer.status_code == status
    assert f'id="{field}-fault" role="alert"' in answer.text
    assert 'value="Kept"' in answer.text or field == "name"
    assert sent.get("password", "\0") not in answer.text
    assert world.count(User) == 1


# --- one account -------------------------------------------------------------------------------------------------


def test_a_page(world: World, project: Project, admin: Person, editor: Person) -> None:
    text = admin.client.get(f"{USERS}/{editor.id}").text
    assert "Leaves" in text and "editor</span>" in text and key_of(world, editor).id in text
    assert editor.key not in text and QUICK_HASH not in text
    alone = admin.client.get(f"{USERS}/{admin.id}").text
    assert "A member of no project." in alone and "Your own role can be changed by another admin" in alone
    assert 'action="/admin/users/' + f'{admin.id}/role"' not in alone


def test_the_queries_of_a_page_do_not_grow(
    world: World, admin: Person, stranger: Person, address: str, count_queries: Any
) -> None:
    admin.client.get(address)
    with count_queries() as few:
        admin.client.get(address)
    for n in range(4):
        world.project(f"P{n}", viewer=stranger)
        with world.app.app_context():
            accounts.create_user_key(db.session.get_one(User, stranger.id), f"k{n}", by=SYSTEM)
            db.session.commit()
    with count_queries() as many:
        text = admin.client.get(address).text
    assert "P3" in text and "k3" in text and len(few) == len(many)


def test_the_first_500_projects_are_listed(app: Flask, admin: Person, stranger: Person, address: str) -> None:
    with app.app_context():
        made = [Project(name=f"Project {n:03}") for n in range(510)]
        db.session.add_all(made)
        db.session.flush()
        db.session.add_all(Membership(project_id=row.id, user_id=stranger.id, role="viewer") for row in made)
        db.session.commit()
    text = admin.client.get(address).text
    assert "Project 499" in text and "Project 500" not in text
    assert "These are the first 500 of 510 by name." in text


def test_role(world: World, admin: Person, stranger: Person, address: str) -> None:
    before = stranger.client.get("/")
    assert before.status_code == 200
    answer = admin.client.submit(address, f"{address}/role")
    assert (answer.status_code, answer.location) == (303, address)
    assert "is now an admin" in admin.client.get(address).text
    assert user_of(world, stranger).role == "admin"
    assert stranger.client.get("/").status_code == 303, "the session goes on"
    admin.client.submit(address, f"{address}/role")
    first, second = events(world, "user.role_set")
    assert (first.before, first.after) == ({"role": "user"}, {"role": "admin"})
    assert (second.before, second.after) == ({"role": "admin"}, {"role": "user"})
    assert (first.subject_type, first.subject_id, first.actor_id) == ("user", str(stranger.id), admin.id)


def test_disabling_and_enabling(world: World, admin: Person, stranger: Person, address: str) -> None:
    assert stranger.client.get("/").status_code == 200
    assert admin.client.submit(address, f"{address}/state").status_code == 303
    assert stranger.client.get("/").status_code == 303
    assert stranger.api("GET", "/api/projects").status_code == 401
    assert "disabled" in admin.client.get(address).text
    assert admin.client.submit(address, f"{address}/state").status_code == 303
    assert stranger.client.get("/").status_code == 303, "the old session came back"
    assert stranger.api("GET", "/api/projects").status_code == 200
    assert events(world, "user.disabled")[0].after == {"disabled": True}
    assert events(world, "user.enabled")[0].before == {"disabled": True}


def test_nonsense_in_the_forms(
    world: World, admin: Person, stranger: Person, address: str, token: Callable[[Person], str]
) -> None:
    for path, sent in (("role", "king"), ("role", ""), ("state", "gone"), ("version", "x"), ("version", "")):
        action = "password" if path == "version" else path
        data = {"csrf_token": token(admin), path: sent}
        answer = admin.client.post(f"{address}/{action}", data=data)
        assert answer.status_code == 422 and 'class="fault" role="alert"' in answer.text, (path, sent)
    user = user_of(world, stranger)
    assert (user.role, user.disabled_at, user.session_version) == ("user", None, 1)


def test_a_reset_password_is_shown_once_and_a_reload_changes_nothing(
    app: Flask, world: World, admin: Person, stranger: Person, address: str, token: Callable[[Person], str]
) -> None:
    assert stranger.client.get("/").status_code == 200
    sent = {"csrf_token": token(admin), "version": "1"}
    answer = admin.client.post(f"{address}/password", data=sent)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    password = re.findall(r'id="new-password">([^<]+)<', answer.text)[0]
    assert stranger.client.get("/").status_code == 303, "the session goes on"
    again = admin.client.post(f"{address}/password", data=sent)
    assert again.status_code == 409 and "new-password" not in again.text
    assert password not in admin.client.get(address).text
    for word, status in ((PASSWORD, 401), (password, 303)):
        client = LintClient(app, app.response_class)
        data = {"email": stranger.email, "password": word}
        assert client.submit("/sign-in", "/sign-in", data).status_code == status
    assert len(events(world, "user.password_changed")) == 1


def test_revoking_a_key(world: World, admin: Person, stranger: Person, viewer: Person, address: str) -> None:
    key = key_of(world, stranger)
    action = f"{address}/keys/{key.id}/revoke"
    assert admin.client.submit(address, action).location == address
    assert stranger.api("GET", "/api/projects").status_code == 401
    assert "revoked" in admin.client.get(address).text and action not in admin.client.get(address).text
    assert [event.subject_id for event in events(world, "user_key.revoked")] == [key.id]
    other = f"{USERS}/{viewer.id}/keys/{key.id}/revoke"
    assert admin.client.get(other).status_code == 404, "a key of somebody else"


def test_signing_somebody_out(
    world: World, admin: Person, stranger: Person, address: str, token: Callable[[Person], str]
) -> None:
    assert stranger.client.get("/").status_code == 200
    answer = admin.client.submit(address, f"{address}/sign-out")
    assert (answer.status_code, answer.location) == (303, address)
    assert "has been signed out everywhere" in admin.client.get(address).text
    assert stranger.client.get("/").status_code == 303, "the session goes on"
    assert stranger.api("GET", "/api/projects").status_code == 200, "the keys ended too"
    [event] = events(world, "user.signed_out_everywhere")
    assert (event.subject_id, event.actor_id) == (str(stranger.id), admin.id)


def test_ones_own_password_and_sessions_are_on_the_account_page(
    world: World, admin: Person, token: Callable[[Person], str]
) -> None:
    """Whoever finds an admin's browser open could otherwise have a password made for themselves."""
    own = f"{USERS}/{admin.id}"
    text = admin.client.get(own).text
    assert 'href="/account">your account page</a>' in text
    assert f'action="{own}/password"' not in text and f'action="{own}/sign-out"' not in text
    answer = admin.client.post(f"{own}/password", data={"csrf_token": token(admin), "version": "1"})
    assert answer.status_code == 409 and "new-password" not in answer.text
    assert "Change your own password on your account page." in answer.text
    user = user_of(world, admin)
    assert (user.session_version, user.password_hash) == (1, QUICK_HASH)


def test_nothing_is_asked_after_a_secret_is_kept(
    app: Flask, admin: Person, address: str, token: Callable[[Person], str], count_queries: Any
) -> None:
    """Were the database to go away between the commit and the page, nobody would ever see the password."""
    forms = {NEW: {"email": "new@example.org"}, f"{address}/password": {"version": "1"}}
    for form, sent in forms.items():
        data = {"csrf_token": token(admin), **sent}
        with count_queries() as statements:
            with app.app_context():
                engine = db.engine

            def note(_connection: Any, statements: list[str] = statements) -> None:
                statements.append("COMMIT")

            event.listen(engine, "commit", note)
            answer = admin.client.post(form, data=data)
            event.remove(engine, "commit", note)
        assert "new-password" in answer.text
        assert statements.index("COMMIT") == len(statements) - 1, form


# --- two at once -------------------------------------------------------------------------------------------------


def test_two_accounts_for_one_address_at_once(
    world: World, admin: Person, token: Callable[[Person], str], at_once: Callable[..., list[Any]]
) -> None:
    other = world.person("other@example.org", role="admin")
    tokens = {person.email: token(person) for person in (admin, other)}
    for turn in range(3):
        email = f"new{turn}@example.org"

        def make(person: Person, email: str = email) -> int:
            data = {"csrf_token": tokens[person.email], "email": email, "password": "long enough"}
            return int(person.client.post(NEW, data=data).status_code)

        statuses = at_once([lambda: make(admin), lambda: make(other)])
        assert sorted(statuses) == [303, 409]
        assert world.count(User, email=email) == 1


def test_the_same_without_an_admin_to_wait_for(
    app: Flask, world: World, at_once: Callable[..., list[Any]]
) -> None:
    """At the command line and for a proxy nothing is held, so the database itself says no to the second."""

    def make() -> str:
        with app.app_context():
            try:
                accounts.create_user("new@example.org", "long enough", by=SYSTEM)
                db.session.commit()
                return "made"
            except Conflict:
                db.session.rollback()
                return "refused"

    assert sorted(at_once([make] * 4)) == ["made", "refused", "refused", "refused"]
    assert len(events(world, "user.created")) == 1


# --- an admin who is none any more -------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"role": "user"}, {"disabled_at": now()}], ids=["demoted", "disabled"])
def test_who_is_no_admin_any_more_changes_nothing(
    app: Flask, world: World, admin: Person, stranger: Person, change: dict[str, Any]
) -> None:
    """The guard let them in, and another admin was quicker."""
    with app.app_context():
        actor, target = db.session.get_one(User, admin.id), db.session.get_one(User, stranger.id)
        db.session.execute(
            db.update(User)
            .where(User.id == admin.id)
            .values(change)
            .execution_options(synchronize_session=False)
        )
        assert actor.is_admin and actor.disabled_at is None, "what the guard saw"
        by = Principal("user", actor)
        acts: list[Callable[[], Any]] = [
            lambda: accounts.set_role(target, "admin", by=by),
            lambda: accounts.set_disabled(target, True, by=by),
            lambda: accounts.reset_password(target, QUICK_HASH, 1, by=by),
            lambda: accounts.sign_out(target, by=by),
            lambda: accounts.create_user("new@example.org", "long enough", by=by),
        ]
        for act in acts:
            with pytest.raises(Forbidden):
                act()
            db.session.flush()
        db.session.commit()
    user = user_of(world, stranger)
    assert (user.role, user.disabled_at, user.session_version) == ("user", None, 1)
    assert world.count(User) == 2


# --- somebody must be left to administer -------------------------------------------------------------------------


def test_admins_cannot_shut_themselves_out(
    world: World, admin: Person, token: Callable[[Person], str]
) -> None:
    world.person("other@example.org", role="admin")
    for path, sent in (("role", "user"), ("state", "disabled")):
        data = {"csrf_token": token(admin), path: sent}
        answer = admin.client.post(f"{USERS}/{admin.id}/{path}", data=data)
        assert answer.status_code == 409 and "from your own account" in answer.text
    user = user_of(world, admin)
    assert (user.role, user.disabled_at) == ("admin", None)


def test_the_last_admin_stays(app: Flask, world: World, admin: Person) -> None:
    off = world.person("off@example.org", role="admin")
    with app.app_context():
        accounts.set_disabled(db.session.get_one(User, off.id), True, by=SYSTEM)
        db.session.commit()
        user = db.session.get_one(User, admin.id)
        with pytest.raises(Conflict, match="last admin"):
            accounts.set_disabled(user, True, by=SYSTEM)
        with pytest.raises(Conflict, match="last admin"):
            accounts.set_role(user, "user", by=SYSTEM)
        accounts.set_role(db.session.get_one(User, off.id), "user", by=SYSTEM)
        with pytest.raises(InvalidPayload):
            accounts.set_role(user, "king", by=SYSTEM)


@pytest.mark.parametrize("way", ["demote", "disable", "both"])
def test_the_last_two_admins_cannot_go_at_once(app: Flask, world: World, way: str) -> None:
    """Each takes the other's place away, many times over: always exactly one is refused."""
    for turn in range(4):
        pair = [world.person(f"admin{turn}{side}@example.org", role="admin") for side in "ab"]
        start, results = threading.Barrier(2), list[str]()

        def act(by: Person, on: Person, how: str, start: threading.Barrier, results: list[str]) -> None:
            with app.app_context():
                actor = Principal("user", db.session.get_one(User, by.id))
                target = db.session.get_one(User, on.id)
                db.session.rollback()
                start.wait(10)
                try:
                    if how == "demote":
                        accounts.set_role(target, "user", by=actor)
                    else:
                        accounts.set_disabled(target, True, by=actor)
                    db.session.commit()
                    results.append("ok")
                except (Conflict, Forbidden):
                    db.session.rollback()
                    results.append("refused")

        hows = ("demote", "disable") if way == "both" else (way, way)
        threads = [
            threading.Thread(target=act, args=(pair[i], pair[1 - i], hows[i], start, results)) for i in (0, 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(results) == ["ok", "refused"]
        left = [row for row in world.rows(User, role="admin") if row.disabled_at is None]
        assert len(left) == 1
        with app.app_context():  # the next pair starts alone
            db.session.get_one(User, left[0].id).role = "user"
            db.session.commit()


def test_nor_through_the_pages(world: World, token: Callable[[Person], str]) -> None:
    """Whoever comes second is refused as the last admin, or is no admin any more, or has no session."""
    pair = [world.person(f"{name}@example.org", role="admin") for name in ("a", "b")]
    tokens = [token(person) for person in pair]
    start, statuses = threading.Barrier(2), list[int]()

    def press(i: int) -> None:
        data = {"csrf_token": tokens[i], "role": "user"}
        start.wait(10)
        statuses.append(pair[i].client.post(f"{USERS}/{pair[1 - i].id}/role", data=data).status_code)

    threads = [threading.Thread(target=press, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(statuses) == 2 and set(statuses) <= {303, 403, 409}
    assert world.count(User, role="admin") == 1
    assert len(events(world, "user.role_set")) == 1


def test_spaces_belong_to_a_password(admin: Person, client: LintClient) -> None:
    password = "  a long password  "
    sent = {"email": "new@example.org", "password": password}
    assert admin.client.submit(USERS, f"{USERS}/new", sent).status_code == 303
    refused = client.submit(
        "/sign-in", "/sign-in", {"email": "new@example.org", "password": password.strip()}
    )
    assert refused.status_code == 401
    let_in = client.submit("/sign-in", "/sign-in", {"email": "new@example.org", "password": password})
    assert let_in.status_code == 303


def test_an_admin_lets_somebody_in_who_was_slowed_down(
    world: World, admin: Person, client: LintClient
) -> None:
    person = world.person("forgetful@example.org")
    for _ in range(sign_ins.MOST_OF_ACCOUNT + 1):
        wrong = client.submit("/sign-in", "/sign-in", {"email": person.email, "password": "wrong"})
    assert wrong.status_code == 429
    page = f"{USERS}/{person.id}"
    assert "5 attempts in the last 15 minutes: the account is slowed down" in admin.client.get(page).text
    assert admin.client.submit(page, f"{page}/let-in").status_code == 303
    assert "in the last 15 minutes" not in admin.client.get(page).text
    right = client.submit("/sign-in", "/sign-in", {"email": person.email, "password": PASSWORD})
    assert right.status_code == 303
    (event,) = world.rows(AuditEvent, action="user.let_in")
    assert (event.subject_id, event.actor_id) == (str(person.id), admin.id)
