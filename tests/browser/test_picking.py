"""Rows and shapes know each other in a real browser also where no shape is an element, or is seen at all."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.models import Image
from tests.factories import picture
from tests.steps import box
from tests.support.browser import drawn
from tests.support.crowds import crowd
from tests.support.exhibit import Exhibit

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

WIDTH, HEIGHT = 1600, 1200
LONELY = {"x_min": 1200.0, "y_min": 500.0, "x_max": 1400.0, "y_max": 650.0}
PATHS, TILES = 2_100, 20_100  # one more makes half a page of the table, whose last row is not seen by itself
IN_VIEW = """([x, y, width, height]) => {
    const { box } = window.stage.region();
    return x >= box.x && y >= box.y && x + width <= box.x + box.width && y + height <= box.y + box.height;
}"""


def crowded(shown: Exhibit, count: int) -> tuple[Image, str]:
    """An image whose left half is full of boxes, and the id of the one in its right half, which came last."""
    image = shown.world.image(shown.project, "street.png", picture(WIDTH, HEIGHT))
    analysis = crowd(shown.world, image, count, status="processing", width=WIDTH // 2)
    (lonely,) = shown.store(analysis, box(class_name="lonely", data=LONELY))
    shown.finalize(analysis)
    return image, lonely


def click_at(page: Page, x: float, y: float) -> None:
    """On a place of the image, in its pixels, while all of it is seen."""
    at = page.locator("#picture").bounding_box()
    assert at
    page.mouse.click(at["x"] + x / WIDTH * at["width"], at["y"] + y / HEIGHT * at["height"])


def frame_of(page: Page) -> list[float]:
    """The frame that shows where a row's shape is."""
    hot = page.locator("#hot")
    return [float(hot.get_attribute(name) or "nan") for name in ("x", "y", "width", "height")]


@pytest.mark.parametrize(("count", "form"), [(PATHS, "path"), (TILES, "image.tile")])
def test_what_is_no_element_is_picked_by_a_click_and_its_row_is_brought_into_view(
    shown: Exhibit, opened: Page, count: int, form: str
) -> None:
    image, lonely = crowded(shown, count)
    opened.goto(f"/images/{image.id}")
    drawn(opened)
    assert opened.locator(f"#shapes {form}").count() and not opened.locator("#shapes .item").count()
    click_at(opened, 1300, 575)
    picked, row = opened.locator("#picked section"), opened.locator(f"#r-{lonely}")
    expect(picked).to_have_attribute("data-pick", lonely)
    expect(opened.locator("#outline .spot.under")).to_have_attribute("d", "M1200 500h200v150h-200z")
    expect(row.locator("a")).to_have_attribute("aria-current", "true")
    expect(row).to_be_in_viewport()
    opened.wait_for_url(f"**pick={lonely}*")
    click_at(opened, 1000, 1100)  # where nothing is
    expect(picked).to_have_count(0)
    opened.wait_for_url(lambda address: "pick=" not in address)


def test_a_row_shows_where_its_shape_is_also_when_that_is_not_drawn(shown: Exhibit, opened: Page) -> None:
    image, lonely = crowded(shown, PATHS)
    opened.goto(f"/images/{image.id}?only=lonely&boxes=0")
    drawn(opened)
    row = opened.locator(f"#r-{lonely}")
    assert frame_of(opened) == [0, 0, 0, 0]
    row.hover()
    assert frame_of(opened) == [1200, 500, 200, 150]
    expect(opened.locator("#hot")).to_be_visible()
    opened.get_by_label("Opacity").hover()
    assert frame_of(opened) == [0, 0, 0, 0]
    row.locator("a").focus()
    assert frame_of(opened) == [1200, 500, 200, 150]
    opened.locator("#stage").focus()
    assert frame_of(opened) == [0, 0, 0, 0]


def test_a_row_brings_its_shape_into_view(shown: Exhibit, opened: Page) -> None:
    image, lonely = crowded(shown, 30)
    opened.goto(f"/images/{image.id}?at=200,200,4")
    drawn(opened)
    place = [1200, 500, 200, 150]
    assert not opened.evaluate(IN_VIEW, place)
    opened.locator(f"#r-{lonely} a").click()
    opened.wait_for_function(IN_VIEW, arg=place)
    expect(opened.locator(f"#s-{lonely}")).to_have_class(re.compile(r"\bselected\b"))
    expect(opened.locator(f"#s-{lonely} .shape")).to_be_in_viewport()
    drawn(opened)
    assert "at=200,200,4" not in opened.url and "at=1300,575," in opened.url


def test_the_link_that_is_copied_is_the_view_as_it_is_seen(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box(class_name="leaf"), box(class_name="moss"))
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.goto(f"{shown.address}?at=100,80,3")
    drawn(opened)
    opened.get_by_label("Hide moss").check()
    expect(opened.locator("#shapes .item")).to_have_count(1)
    opened.get_by_label("Labels").uncheck()
    opened.get_by_role("button", name="Copy link").click()
    expect(opened.locator("#copy-link")).to_have_text("Copied")
    copied = opened.evaluate("navigator.clipboard.readText()")
    assert copied == opened.url
    assert all(part in copied for part in ("at=100,80,3", "off=moss", "labels=0", "analysis="))
