"""The demo's own pictures in a browser: what the example pipeline sees in them is drawn, counted, found and told."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.cast import SECRET
from tests.conftest import LiveServer
from tests.support.browser import Pages, drawn
from tests.support.server import ROOT

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

PICTURES, PYTHON = ROOT / "scripts" / "demo_images", ROOT / ".venv-pipeline" / "bin" / "python"
NAMES = ("hubble_deep_field.jpg", "coins.png", "ihc.png", "retina.jpg")
LARGEST_DRAWING, LARGEST_PAGE = 8_500, 12_000  # elements
NUMBERS = """() => Object.fromEntries([...document.querySelectorAll("#statusline > span")]
    .map((it) => it.textContent.replaceAll(",", "").match(/^\\s*(\\d+)\\s+(received|drawn|hidden)/))
    .filter(Boolean).map((found) => [found[2], Number(found[1])]))"""
BOUNDS = """(selector) => {
    const { x, y, width, height } = document.querySelector(selector).getBBox();
    return [x, y, width, height];
}"""


@dataclass(frozen=True)
class Demo:
    """A server on which the example pipeline has been, and a page of somebody who looks at it."""

    server: LiveServer
    images: dict[str, Any]
    page: Page

    def open(self, name: str, query: str = "") -> Page:
        self.page.goto(f"/images/{self.images[name].id}?{query}")
        drawn(self.page)
        self.page.wait_for_function("document.getElementById('stage').dataset.bitmaps === ''")
        return self.page

    def check(self) -> dict[str, int]:
        """The numbers in the line under the image, on a page that is small."""
        sizes = self.page.evaluate("['#canvas *', '*'].map((it) => document.querySelectorAll(it).length)")
        assert sizes[0] <= LARGEST_DRAWING and sizes[1] <= LARGEST_PAGE
        told: dict[str, int] = self.page.evaluate(NUMBERS)
        return told


@pytest.fixture(scope="module")
def seen(_serve: Callable[..., LiveServer]) -> tuple[LiveServer, dict[str, Any], Any]:
    if not PYTHON.exists():
        pytest.skip("the pipeline's environment is not there (make .venv-pipeline/installed)")
    server = _serve()
    person = server.world.person("looker@example.org")
    project = server.world.project("Demo", owner=person)
    images = {name: server.world.image(project, name, (PICTURES / name).read_bytes()) for name in NAMES}
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(server.instance),  # its libraries keep caches
        "LOUPE_URL": server.url,
        "LOUPE_PROJECT": "Demo",
        "API_KEY": person.key,
        "ML_CALLBACK_HMAC_SECRET": SECRET,
    }
    command = [str(PYTHON), "scripts/example_pipeline.py", "--pause", "0"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return server, images, person


@pytest.fixture
def demo(browser: Browser, seen: tuple[LiveServer, dict[str, Any], Any]) -> Iterator[Demo]:
    server, images, person = seen
    pages = Pages(browser, server.url)
    yield Demo(server, images, pages.sign_in(pages.open(), person))
    pages.close()
    assert not pages.problems, "\n".join(pages.problems)


def test_thousands_of_galaxies_are_paths_and_near_by_each_is_itself(demo: Demo) -> None:
    page = demo.open("hubble_deep_field.jpg")
    told = demo.check()
    assert 3_000 < told["received"] == told["drawn"] <= 4_000 and told["hidden"] == 0
    assert page.locator("#shapes path").count() and not page.locator("#shapes .item").count()
    expect(page.locator(".legend li")).to_have_count(2)
    page.get_by_label("Hide point source").check()
    expect(page.locator("#statusline")).to_contain_text("class switched off")
    drawn(page)
    fewer = demo.check()
    assert fewer["received"] == told["received"] == fewer["drawn"] + fewer["hidden"] > fewer["drawn"] > 0
    page = demo.open("hubble_deep_field.jpg", "at=500,400,8")
    told = demo.check()
    assert page.locator("#shapes .item").count() == told["drawn"] > 0
    first = page.locator("#annotations tbody tr").first
    first.locator("a").click()
    expect(page.locator("#picked section")).to_contain_text("source")
    expect(page.locator("#outline .spot.under")).to_have_count(1)


def test_coins_have_masks_outlines_and_a_badge(demo: Demo) -> None:
    page = demo.open("coins.png")
    told = demo.check()
    assert told == {"received": 45, "drawn": 44, "hidden": 0}
    assert page.locator("#shapes .item").count() == 22
    assert page.locator("#bitmap-layers .mask").get_attribute("data-count") == "22"
    expect(page.locator("#verdicts li")).to_have_count(1)
    expect(page.locator("#verdicts")).to_contain_text(re.compile(r"coin \d+\.\d %"))
    # a mask and the outline of the same coin are picked one after the other, and are in the same place
    outline = page.locator("#shapes .item .shape").first
    outline.click()
    expect(page.locator("#picked section")).to_be_visible()
    first = page.evaluate(BOUNDS, "#outline .spot.under")
    shown = page.locator("#picked section").get_attribute("data-pick")
    outline.click()
    expect(page.locator("#picked section")).not_to_have_attribute("data-pick", shown or "")
    second = page.evaluate(BOUNDS, "#outline .spot.under")
    assert first == pytest.approx(second, abs=1.5)
    page.get_by_label("Boxes and shapes").uncheck()
    expect(page.locator("#drawn")).to_have_text("22")
    expect(page.locator("#bitmap-layers")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "unit", "received"), [("ihc.png", "stain density", 2), ("retina.jpg", "vesselness", 1)]
)
def test_heatmaps_have_a_scale_with_their_unit(demo: Demo, name: str, unit: str, received: int) -> None:
    page = demo.open(name)
    assert demo.check() == {"received": received, "drawn": 1, "hidden": 0}
    expect(page.locator(".scale")).to_contain_text(unit)
    heat = page.locator("#bitmap-layers .heatmap")
    assert heat.evaluate("async (it) => { await it.decode(); return it.href.baseVal; }")
    before = heat.get_attribute("href")
    page.get_by_label("Colours").select_option("grey")
    expect(heat).not_to_have_attribute("href", before or "")
    expect(page.locator("#stage")).to_have_attribute("data-bitmaps", "")
    assert "map=grey" in page.url
