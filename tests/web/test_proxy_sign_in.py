"""People's pages for somebody whom a trusted reverse proxy signed in."""

from collections.abc import Callable

import pytest
from flask import Flask

from app.models import AuditEvent, Image, User
from tests.cast import Person
from tests.factories import World
from tests.html import LintClient

PROXY_SECRET = "shared-with-the-proxy-0123456789"


@pytest.fixture
def proxied(make_app: Callable[..., Flask]) -> Flask:
    return make_app(AUTH_PROXY_SECRET=PROXY_SECRET)


@pytest.fixture
def behind(proxied: Flask) -> Callable[..., LintClient]:
    """behind(person): a browser of which the proxy says that this person uses it."""

    def browser(email: str) -> LintClient:
        client = LintClient(proxied, proxied.response_class)
        client.environ_base |= {"HTTP_X_USER_EMAIL": email, "HTTP_X_PROXY_SECRET": PROXY_SECRET}
        return client

    return browser


def test_no_page_asks_for_a_password(behind: Callable[..., LintClient], owner: Person) -> None:
    browser = behind(owner.email)
    assert browser.get("/").status_code == 200
    assert browser.get("/sign-in").location == "/"


def test_what_is_kept_for_one_is_not_for_another(
    behind: Callable[..., LintClient], owner: Person, image: Image
) -> None:
    """Whoever the proxy signs in has another cookie of it, and no session of ours."""
    answer = behind(owner.email).get(f"/images/{image.id}/content?v={image.sha256[:16]}", buffered=True)
    assert "immutable" in answer.headers["Cache-Control"] and "Cookie" in answer.vary


def test_the_menu_offers_no_sign_out(behind: Callable[..., LintClient], owner: Person) -> None:
    page = behind(owner.email).get("/").text
    assert owner.email in page and 'href="/account"' in page and "Sign out" not in page
    assert "Sign out" in owner.client.get("/").text


def test_the_account_page_says_who_signed_them_in(behind: Callable[..., LintClient], owner: Person) -> None:
    page = behind(owner.email).get("/account").text
    assert "signed in by the proxy" in page and f"signed you in as {owner.email}" in page
    for form in ("/account/password", "/account/sign-out-everywhere"):
        assert form not in page
    assert 'action="/account/keys"' in page and 'action="/account"' in page


def test_what_is_not_offered_is_refused(
    behind: Callable[..., LintClient], owner: Person, world: World
) -> None:
    browser = behind(owner.email)
    token = browser.get("/account").text.split('name="csrf_token" value="')[1].split('"')[0]
    for path in ("/account/password", "/account/sign-out-everywhere"):
        answer = browser.post(path, data={"csrf_token": token})
        assert answer.status_code == 403 and "proxy in front of this server" in answer.text
    assert world.rows(User, id=owner.id)[0].session_version == 1


def test_keys_and_the_name_are_the_persons_own(
    behind: Callable[..., LintClient], owner: Person, world: World
) -> None:
    browser = behind(owner.email)
    assert browser.submit("/account", "/account", {"name": "Olga"}).status_code == 303
    assert browser.submit("/account", "/account/keys", {"name": "notebook"}).status_code == 201
    assert world.count(AuditEvent, action="user_key.created", actor_id=owner.id) == 1


def test_an_old_session_of_somebody_else_does_not_win(
    proxied: Flask, owner: Person, stranger: Person
) -> None:
    theirs = Person(proxied, stranger.id, stranger.email, stranger.key).client
    assert stranger.email in theirs.get("/account").text
    theirs.environ_base |= {"HTTP_X_USER_EMAIL": owner.email, "HTTP_X_PROXY_SECRET": PROXY_SECRET}
    page = theirs.get("/account").text
    assert owner.email in page and stranger.email not in page
    assert theirs.submit("/", "/projects", {"name": "Whose"}).status_code == 303
    assert World(proxied).count(AuditEvent, action="project.created", actor_id=owner.id) == 1
    theirs.environ_base["HTTP_X_PROXY_SECRET"] = "wrong"
    assert stranger.email in theirs.get("/account").text, "without proof the header says nothing"


def test_a_session_is_no_way_around_the_refusal(proxied: Flask, owner: Person, world: World) -> None:
    """Whoever the proxy names must have an account that is not disabled, whatever the browser still holds."""
    client = Person(proxied, owner.id, owner.email, owner.key).client
    client.environ_base |= {
        "HTTP_X_USER_EMAIL": "nobody@example.org",
        "HTTP_X_PROXY_SECRET": PROXY_SECRET,
    }
    answer = client.get("/")
    assert answer.status_code == 403 and "There is no account for nobody@example.org." in answer.text


@pytest.mark.parametrize("foreign", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
def test_another_site_changes_nothing(
    behind: Callable[..., LintClient], owner: Person, world: World, foreign: dict[str, str]
) -> None:
    browser = behind(owner.email)
    answer = browser.submit("/account", "/account", {"name": "Taken over"}, headers=foreign)
    assert answer.status_code == 403
    assert world.rows(User, id=owner.id)[0].name == "owner"
