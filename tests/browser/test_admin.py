"""What admins do, in a real browser. What is asked of every page is in test_site.py."""

import pytest
from playwright.sync_api import Page, expect

from tests.cast import Person
from tests.conftest import LiveServer
from tests.steps import box
from tests.support.browser import Pages
from tests.support.exhibit import Exhibit

pytestmark = pytest.mark.one_database


@pytest.fixture
def admin(live_server: LiveServer) -> Person:
    return live_server.world.person("admin@example.org", role="admin")


@pytest.fixture
def filled(shown: Exhibit) -> Exhibit:
    """An analysis with two annotations."""
    shown.store(shown.analysis(), box(class_name="leaf"), box(class_name="stem"))
    return shown


@pytest.mark.parametrize(
    "script", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["script", "plain"]
)
def test_an_account_from_making_to_disabling(pages: Pages, admin: Person, script: bool) -> None:
    page = pages.sign_in(pages.open(java_script_enabled=script), admin)
    page.locator("#account summary").click()
    page.get_by_role("link", name="Administration").click()
    page.fill("#email", "new@example.org")
    page.get_by_role("button", name="Create account").click()
    password = page.locator("#new-password").inner_text()
    pages.screenshot(page, f"admin-new-password-{'script' if script else 'plain'}")
    _sign_in_with(pages, "new@example.org", password)
    page.goto("/admin/users?q=new@")
    page.get_by_role("link", name="new@example.org").click()
    page.locator("#state summary").click()
    page.get_by_role("button", name="Yes, disable").click()
    expect(page.locator(".notice")).to_contain_text("new@example.org is disabled.")


def _sign_in_with(pages: Pages, email: str, password: str) -> None:
    page: Page = pages.open()
    page.goto("/sign-in")
    page.fill("input[name=email]", email)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda url: "/sign-in" not in url)


def test_counting_then_downloading(filled: Exhibit, pages: Pages, admin: Person) -> None:
    page = pages.sign_in(pages.open(), admin)
    page.goto("/admin/exports")
    page.select_option("#format", "csv")
    page.get_by_role("button", name="Count").click()
    expect(page.locator("#annotations")).to_have_text("2")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download CSV").click()
    assert waiting.value.suggested_filename.startswith("analyses_all_")
    text = waiting.value.path().read_text()
    assert len(text.splitlines()) == 3 and "leaf" in text
    page.goto("/admin/audit?action=analyses.exported")
    expect(page.locator(".trail > li")).to_have_count(1)
