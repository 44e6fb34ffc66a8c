"""The admin pages in a real browser: a walk over all of them, light, dark and on a phone, with pictures to look at."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from app.extensions import db
from app.models import SYSTEM, Project, User
from app.services import accounts, projects
from tests.cast import Person
from tests.conftest import LiveServer
from tests.steps import box
from tests.support.browser import Pages
from tests.support.shown import Shown

LOOKS: list[dict[str, Any]] = [
    {"name": "light"},
    {"name": "dark", "color_scheme": "dark"},
    {"name": "phone", "width": 390, "height": 844},
    {"name": "plain", "java_script_enabled": False},
]


@pytest.fixture
def admin(live_server: LiveServer) -> Person:
    return live_server.world.person("admin@example.org", role="admin")


@pytest.fixture
def filled(shown: Shown, live_server: LiveServer, admin: Person) -> Shown:
    """Some people, one of them disabled, some projects, an analysis with annotations, and what was written down."""
    world = live_server.world
    for name in ("anna", "ben", "carla", "dora"):
        person = world.person(f"{name}@example.org")
        world.member(shown.project, person, "viewer")
    for name in ("Bark", "A project with a rather long name that says what it is about", "Roots"):
        world.project(name, description="Pictures of plants, taken from above in good light.", owner=admin)
    shown.store(shown.analysis(), box(class_name="leaf"), box(class_name="stem"))
    with world.app.app_context():
        accounts.set_disabled(accounts.get("dora@example.org"), True, by=SYSTEM)
        projects.change(db.session.get_one(Project, shown.project.id), "Leaves", "All green.", by=SYSTEM)
        db.session.commit()
    return shown


def addresses(shown: Shown, live_server: LiveServer) -> Iterator[tuple[str, str]]:
    world = live_server.world
    [anna] = world.rows(User, email="anna@example.org")
    yield "users", "/admin/users"
    yield "users-none", "/admin/users?q=nobody"
    yield "user", f"/admin/users/{anna.id}"
    yield "projects", "/admin/projects"
    yield "project", f"/admin/projects/{shown.project.id}"
    yield "exports", "/admin/exports"
    yield "exports-counted", f"/admin/exports?count=1&project={shown.project.id}"
    yield "exports-none", "/admin/exports?count=1&model=none"
    yield "exports-wrong", "/admin/exports?count=1&created_from=2026-03-05&created_to=2026-03-04"
    yield "audit", "/admin/audit"
    yield "audit-none", "/admin/audit?who=nobody"
    yield "settings", "/admin/settings"


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look["name"])
def test_a_walk(
    filled: Shown, live_server: LiveServer, pages: Pages, admin: Person, look: dict[str, Any]
) -> None:
    options = dict(look)
    name = options.pop("name")
    page = pages.sign_in(pages.open(**options), admin)
    for place, address in addresses(filled, live_server):
        answer = page.goto(address)
        assert answer and answer.status == (422 if place == "exports-wrong" else 200), address
        if place == "audit":
            page.locator(".trail summary").first.click()
            expect(page.locator(".change").first).to_be_visible()
        too_wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert too_wide <= 0, f"{address} scrolls sideways by {too_wide} px"
        pages.screenshot(page, f"admin-{place}-{name}")
    pages.problems[:] = [problem for problem in pages.problems if "422" not in problem]


@pytest.mark.parametrize("script", [True, False], ids=["script", "plain"])
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


def test_counting_then_downloading(filled: Shown, pages: Pages, admin: Person) -> None:
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
