"""The image page when something does not come: said once, read out, counted right, tried again."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.steps import box
from tests.support.browser import Pages, drawn
from tests.support.exhibit import RLE, Exhibit

pytestmark = [pytest.mark.one_database, pytest.mark.soak]


def test_a_layer_that_does_not_come(shown: Exhibit, opened: Page, pages: Pages) -> None:
    analysis = shown.analysis()
    shown.store(analysis, RLE, box())
    shown.finalize(analysis)
    opened.route("**/masks.png*", lambda route: route.abort())
    opened.goto(shown.address)
    drawn(opened)  # a drawing that is swapped in later would fetch it again by itself
    broken, line = opened.locator(".layer-state.broken"), opened.locator("#statusline")
    expect(broken).to_be_visible()
    expect(opened.locator("#announcer")).to_have_text("A layer could not be loaded.")
    expect(line).to_contain_text("1 drawn")
    expect(line).to_contain_text("1 not loaded")
    opened.unroute("**/masks.png*")
    opened.get_by_role("button", name="Try again").click()
    expect(broken).to_be_hidden()
    expect(opened.locator("#announcer")).to_have_text("Loaded.")
    expect(opened.locator("#bitmaps")).to_be_focused()
    expect(line).to_contain_text("2 drawn")
    expect(line).not_to_contain_text("not loaded")
    pages.problems.clear()  # the browser tells of the aborted request


def test_an_image_that_does_not_come(shown: Exhibit, opened: Page, pages: Pages) -> None:
    shown.store(shown.analysis(), box())
    opened.route("**/content*", lambda route: route.fulfill(status=503, body="no"))
    opened.goto(f"{shown.address}?view=side")
    expect(opened.locator("#picture-lost")).to_be_visible()
    expect(opened.locator("#announcer")).to_have_text("The image could not be loaded.")
    for picture in ("#picture", "#picture-plain"):
        assert opened.locator(picture).evaluate("it => getComputedStyle(it).visibility") == "hidden"
    pages.screenshot(opened, "image-lost")
    opened.unroute("**/content*")
    opened.get_by_role("button", name="Try again").click()
    expect(opened.locator("#picture-lost")).to_be_hidden()
    assert opened.locator("#picture-plain").evaluate("it => getComputedStyle(it).visibility") == "visible"
    expect(opened.locator("#stage")).to_be_focused()
    pages.problems.clear()  # the browser tells of the 503


def test_the_labels_that_are_counted_are_those_that_are_seen(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box(class_name="leaf"))
    opened.goto(shown.address)
    count = opened.locator("#labels-drawn")
    expect(count).to_have_text("1")
    opened.get_by_label("Labels").uncheck()
    expect(count).to_have_text("0")
    opened.get_by_label("Labels").check()
    opened.get_by_label("Boxes and shapes").uncheck()
    expect(count).to_have_text("0")
    opened.goto(f"{shown.address}?boxes=0")
    expect(count).to_have_text("0")


def test_labels_are_as_large_as_they_are_read_at_every_size(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box(class_name="leaf"))
    opened.goto(shown.address)
    for width in (1280, 390):
        opened.set_viewport_size({"width": width, "height": 844})
        opened.wait_for_timeout(200)  # the stage comes to rest
        drawn(opened)
        height = opened.locator("#label-layer text").evaluate("it => it.getBoundingClientRect().height")
        assert 9 <= height <= 20


def test_what_is_chosen_is_seen_whatever_is_drawn(shown: Exhibit, opened: Page, pages: Pages) -> None:
    analysis = shown.analysis()
    ids = shown.store(analysis, box(data={"x_min": 80, "y_min": 50, "x_max": 240, "y_max": 150}), RLE)
    opened.goto(f"{shown.address}?boxes=0&bitmaps=0&opacity=10")
    mark = opened.locator("#outline .spot.under")
    for annotation_id in ids:
        opened.locator(f"#r-{annotation_id} a").click()
        expect(opened.locator("#picked section")).to_have_attribute("data-pick", annotation_id)
        expect(mark).to_have_count(1)
        assert mark.evaluate("it => it.closest('[opacity]')") is None
    pages.screenshot(opened, "chosen-while-hidden")
    opened.goto(f"{shown.address}?opacity=100&pick={ids[0]}")
    expect(opened.locator(f"#s-{ids[0]}")).to_have_class(re.compile(r"\bselected\b"))
    pages.screenshot(opened, "chosen")


def test_what_is_chosen_is_seen_without_javascript(shown: Exhibit, plain: Page) -> None:
    (box_id,) = shown.store(shown.analysis(), box())
    plain.goto(f"{shown.address}?boxes=0")
    plain.locator(f"#r-{box_id} a").click()
    expect(plain.locator("#outline .spot.under")).to_be_visible()
    expect(plain.locator("#picked")).to_contain_text("bounding box")
