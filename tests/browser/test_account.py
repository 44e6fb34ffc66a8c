"""The account page in a real browser: a key is seen once, a new password ends the other sessions."""

import re
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect

from app.models import UserKey
from tests.cast import Person
from tests.conftest import LiveServer
from tests.support.browser import Pages

pytestmark = pytest.mark.one_database

NEW = "a new and longer password"


@pytest.fixture
def person(live_server: LiveServer) -> Person:
    return live_server.world.person("owner@example.org")


def projects_status(live_server: LiveServer, key: str) -> int:
    answer = requests.get(live_server.url + "/api/projects", headers={"X-API-Key": key}, timeout=60)
    return answer.status_code


def make_key(page: Page, name: str) -> str:
    page.get_by_label("What the key is for").fill(name)
    page.get_by_role("button", name="Make key").click()
    field = page.get_by_label("Copy it now")
    expect(field).to_be_visible()
    return field.input_value()


@pytest.mark.parametrize("javascript", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_a_key_from_its_making_to_its_end(
    live_server: LiveServer, pages: Pages, person: Person, javascript: bool
) -> None:
    page = pages.sign_in(pages.open(java_script_enabled=javascript), person)
    page.get_by_label("Account").click()
    page.get_by_role("link", name="Account").click()
    key = make_key(page, "notebook")
    assert re.fullmatch(r"mluser_[a-z2-7]{16}_[\w-]{43}", key)
    assert not page.get_by_label("Copy it now").is_editable()
    assert projects_status(live_server, key) == 200
    pages.screenshot(page, f"account-new-key-{'js' if javascript else 'plain'}")
    page.reload()  # sends the form again
    expect(page.get_by_text("This form has made its key already").first).to_be_visible()
    assert key not in page.content()
    page.goto("/account")
    assert key not in page.content()
    assert live_server.world.count(UserKey, name="notebook") == 1
    row = page.get_by_role("row", name=re.compile("notebook"))
    row.get_by_label("Revoke notebook", exact=True).click()
    row.get_by_role("button", name="Yes, revoke notebook").click()
    expect(page.get_by_text("The key “notebook” has been revoked.")).to_be_visible()
    expect(row).to_contain_text("revoked")
    expect(row.get_by_role("button")).to_have_count(0)
    assert projects_status(live_server, key) == 401
    pages.problems.clear()  # the browser tells of the 409


def test_a_new_password_ends_the_other_session(pages: Pages, person: Person) -> None:
    here, there = (pages.sign_in(pages.open(), person) for _ in range(2))
    here.goto("/account")
    here.get_by_label("Current password").fill(person.password)
    here.locator("#password-password").fill(NEW)
    here.get_by_label("New password again").fill(NEW)
    here.get_by_role("button", name="Change password").click()
    expect(here.get_by_text("Your password has been changed.")).to_be_visible()
    there.goto("/account")
    expect(there.get_by_role("heading", name="Sign in")).to_be_visible()
    here.locator("#everywhere summary").click()
    here.get_by_role("button", name="Yes, sign out everywhere").click()
    expect(here.get_by_text("You have been signed out everywhere.")).to_be_visible()
    pages.screenshot(here, "account-signed-out")
    here.get_by_label("E-mail").fill(person.email)
    here.get_by_label("Password").fill(NEW)
    here.get_by_role("button", name="Sign in").click()
    here.wait_for_url(lambda address: urlsplit(address).path == "/account" or urlsplit(address).path == "/")


def test_the_sign_in_page_says_when_to_try_again(pages: Pages, person: Person) -> None:
    page = pages.open()
    page.goto("/sign-in")
    for _ in range(6):
        page.get_by_label("E-mail").fill(person.email)
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#sign-in-error")).to_be_visible()
    expect(page.locator("#sign-in-error")).to_contain_text(re.compile(r"Try again in \d+ seconds"))
    assert page.get_by_label("E-mail").input_value() == person.email
    pages.screenshot(page, "sign-in-slowed-down")
    pages.problems.clear()  # the browser tells of the refusals
