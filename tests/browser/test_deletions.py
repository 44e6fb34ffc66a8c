"""Deleting in a real browser: asked once more, gone, and back by the notice or from the page of what was deleted."""

import pytest
from playwright.sync_api import expect

from app.models import Analysis, Image
from tests.conftest import LiveServer
from tests.support.browser import Pages, drawn

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize(
    "javascript", [True, pytest.param(False, marks=pytest.mark.soak)], ids=["js", "plain"]
)
def test_an_analysis_and_its_image_go_and_come_back(
    live_server: LiveServer, pages: Pages, javascript: bool
) -> None:
    world = live_server.world
    editor = world.person("editor@example.org")
    project = world.project("Leaves", editor=editor)
    image: Image = world.image(project)
    analysis: Analysis = world.analysis(image, "completed")
    page = pages.sign_in(pages.open(java_script_enabled=javascript), editor)

    def at_rest() -> None:  # what the stage still asks for would be 410
        drawn(page) if javascript else page.wait_for_load_state("networkidle")

    page.goto(f"/images/{image.id}")
    delete = page.get_by_role("button", name="Yes, delete it")
    expect(delete).to_have_count(0)
    at_rest()
    page.get_by_text("Delete this analysis").click()
    delete.click()
    expect(page.get_by_text("“leaf-net 1.0.0” has been deleted.")).to_be_visible()
    expect(page.locator("#panel")).to_have_count(0)
    pages.screenshot(page, f"deleted-analysis-{'js' if javascript else 'plain'}")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("“leaf-net 1.0.0” has been restored.")).to_be_visible()
    expect(page.locator(f"#analysis-{analysis.id}")).to_be_visible()

    at_rest()
    if not page.get_by_text("Delete this image").is_visible():
        page.get_by_role("heading", name="Image", exact=True).click()
    page.get_by_text("Delete this image").click()
    delete.click()
    expect(page.get_by_text("“leaf.png” has been deleted.")).to_be_visible()
    expect(page.locator(f"#image-{image.id}")).to_have_count(0)
    pages.screenshot(page, f"deleted-image-{'js' if javascript else 'plain'}")
    page.get_by_role("link", name="Deleted images").click()
    pages.screenshot(page, f"deleted-list-{'js' if javascript else 'plain'}")
    page.get_by_role("button", name="Restore leaf.png").click()
    expect(page.get_by_text("“leaf.png” has been restored.")).to_be_visible()
    expect(page.locator(f"#analysis-{analysis.id}")).to_be_visible()
