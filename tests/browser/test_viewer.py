"""The image page in a real browser: drawing, switching, choosing, polling, and all of it without JavaScript."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.steps import box
from tests.support.browser import Pages, drawn, poll
from tests.support.exhibit import RLE, Exhibit

pytestmark = pytest.mark.one_database


def test_the_overlay_stays_on_the_picture_at_every_size(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    (box_id,) = shown.store(analysis, box(data={"x_min": 80, "y_min": 50, "x_max": 240, "y_max": 150}))
    opened.goto(shown.address)
    for width, height in ((1920, 1080), (1280, 720), (1000, 1000), (860, 600), (390, 844), (320, 568)):
        opened.set_viewport_size({"width": width, "height": height})
        opened.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        opened.wait_for_timeout(200)  # the stage comes to rest
        drawn(opened)
        picture_at = opened.locator("#picture").bounding_box()
        box_at = opened.locator(f"#s-{box_id} .casing").bounding_box()
        assert picture_at and box_at
        # without the outline's width the box has the middle half of the picture
        middle = (picture_at["x"] + picture_at["width"] / 2, picture_at["y"] + picture_at["height"] / 2)
        assert box_at["x"] + box_at["width"] / 2 == pytest.approx(middle[0], abs=1)
        assert box_at["y"] + box_at["height"] / 2 == pytest.approx(middle[1], abs=1)
        assert box_at["width"] == pytest.approx(picture_at["width"] / 2, abs=6)
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
            f"{width} px scrolls sideways"
        )


def test_switches_and_opacity_show_at_once_and_stay_in_the_address(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    shown.store(analysis, box(class_name="leaf", confidence=0.9), RLE)
    shown.finalize(analysis)
    opened.goto(shown.address)
    shapes, masks, labels = (
        opened.locator("#shapes"),
        opened.locator("#bitmap-layers"),
        opened.locator("#label-layer"),
    )
    expect(opened.locator("#drawn")).to_have_text("2")
    opened.get_by_label("Boxes and shapes").uncheck()
    expect(shapes).to_be_hidden()
    expect(labels.locator(".tag:not(.of-mask)")).to_be_hidden()
    expect(masks).to_be_visible()
    expect(labels.locator(".tag.of-mask")).to_be_visible()
    expect(opened.locator("#statusline")).to_contain_text("1 hidden by boxes switched off")
    assert "boxes=0" in opened.url
    opened.get_by_label("Boxes and shapes").check()
    opened.get_by_label("Labels").uncheck()
    expect(shapes).to_be_visible()
    expect(labels).to_be_hidden()
    slider = opened.get_by_label("Opacity")
    slider.focus()
    for _ in range(4):
        opened.keyboard.press("ArrowLeft")
    expect(opened.locator("#overlay .layer")).to_have_attribute("opacity", "0.8")
    expect(opened.locator("output[for=opacity]")).to_have_text("80 %")
    assert "opacity=80" in opened.url and "labels=0" in opened.url and "boxes" not in opened.url
    opened.reload()
    expect(opened.locator("#overlay .layer")).to_have_attribute("opacity", "0.8")
    expect(opened.get_by_label("Labels")).not_to_be_checked()


def test_a_bitmap_is_fetched_when_it_is_switched_on(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    shown.store(analysis, RLE)
    shown.finalize(analysis)
    fetched: list[str] = []
    opened.on("request", lambda request: fetched.append(request.url) if "masks.png" in request.url else None)
    opened.goto(f"{shown.address}?bitmaps=0")
    opened.wait_for_load_state("networkidle")
    assert fetched == []
    with opened.expect_response(re.compile(r"/files/renders/")) as answer:
        opened.get_by_label("Bitmaps").check()
    assert answer.value.ok
    expect(opened.locator("#stage")).to_have_attribute("data-bitmaps", "")


def test_side_by_side(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box())
    opened.goto(shown.address)
    plain = opened.locator("#pane-plain")
    expect(plain).to_be_hidden()
    opened.get_by_text("Side by side").click()
    expect(plain).to_be_visible()
    assert "view=side" in opened.url
    # both at one moment: the stage gives them their new size in a frame after the click
    left, right = opened.evaluate(
        """() => ["#pane-plain svg", "#canvas"].map((name) => {
            const { width, height, y } = document.querySelector(name).getBoundingClientRect();
            return [width, height, y];
        })"""
    )
    assert left == right and min(left[:2]) > 0


def test_choosing_an_analysis_swaps_the_viewer_and_goes_back(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(model_name="older"), box(class_name="old"))
    shown.store(shown.analysis(model_name="newer"), box(class_name="new"))
    opened.goto(f"{shown.address}?opacity=50")
    opened.evaluate("window.stayed = true")
    opened.locator(".analyses a", has_text="older").click()
    expect(opened.locator("#layers-of")).to_have_text("older")
    expect(opened.locator("#shapes title")).to_have_text("old")
    expect(opened.locator("#overlay .layer")).to_have_attribute("opacity", "0.5")
    assert "analysis=" in opened.url and "opacity=50" in opened.url
    assert opened.evaluate("window.stayed"), "the page was loaded anew"
    opened.go_back()
    expect(opened.locator("#layers-of")).to_have_text("newer")
    opened.go_forward()
    expect(opened.locator("#layers-of")).to_have_text("older")


def test_a_row_and_its_shape_know_each_other(shown: Exhibit, opened: Page) -> None:
    first, second = shown.store(
        shown.analysis(), box(), box(data={"x_min": 200, "y_min": 90, "x_max": 260, "y_max": 160})
    )
    opened.goto(shown.address)
    opened.locator(f"#r-{second} a").focus()
    expect(opened.locator(f"#s-{second}")).to_have_class(re.compile(r"\bhot\b"))
    opened.keyboard.press("Enter")
    expect(opened.locator(f"#s-{second}")).to_have_class(re.compile(r"\bselected\b"))
    opened.locator(f"#s-{first} .shape").click()
    expect(opened.locator(f"#r-{first} a")).to_have_attribute("aria-current", "true")
    expect(opened.locator(f"#s-{second}")).not_to_have_class(re.compile(r"\bselected\b"))


def test_a_shape_stays_lit_through_a_poll(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    (first,) = shown.store(analysis, box())
    opened.clock.install()  # time runs for the polls, but not for us
    opened.goto(shown.address)
    opened.locator(f"#r-{first} a").focus()
    expect(opened.locator(f"#s-{first}")).to_have_class(re.compile(r"\bhot\b"))
    shown.store(analysis, box(data={"x_min": 200, "y_min": 90, "x_max": 260, "y_max": 160}))
    poll(opened)
    expect(opened.locator("#shapes .item")).to_have_count(2)
    expect(opened.locator(f"#s-{first}")).to_have_class(re.compile(r"\bhot\b"))
    opened.get_by_label("Account").focus()
    expect(opened.locator("#shapes .hot")).to_have_count(0)


def test_a_running_analysis_appears_by_itself_and_the_polling_ends(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    polls: list[int] = []
    opened.on("response", lambda answer: polls.append(answer.status) if "/panel" in answer.url else None)
    opened.clock.install()  # time runs for the polls, but not for us
    opened.goto(shown.address)
    expect(opened.locator("#panel .badge.processing")).to_be_visible()
    opened.evaluate("window.stayed = true")
    opened.get_by_label("Account").focus()
    assert poll(opened).status == 204

    shown.store(analysis, box(class_name="leaf"))
    shown.finalize(analysis)
    poll(opened)
    expect(opened.locator("#panel .badge.completed")).to_be_visible()
    expect(opened.locator("#shapes .item")).to_have_count(1)
    expect(opened.locator("#announcer")).to_have_text("leaf-net 1.0.0 is completed.")
    assert opened.evaluate("window.stayed && document.activeElement.getAttribute('aria-label')") == "Account"
    assert "hx-trigger" not in opened.locator("#panel").evaluate("panel => panel.outerHTML")
    seen = len(polls)
    opened.clock.fast_forward(30_000)
    opened.wait_for_timeout(200)
    assert len(polls) == seen


def test_a_poll_keeps_how_a_person_looks(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    shown.store(analysis, box(client_id="a"))
    opened.clock.install()  # time runs for the polls, but not for us
    opened.goto(shown.address)
    opened.get_by_label("Labels").uncheck()
    opened.get_by_text("Side by side").click()
    opened.locator("#opacity").fill("60")
    shown.store(analysis, box(client_id="b"))
    poll(opened)
    expect(opened.locator("#shapes .item")).to_have_count(2)
    expect(opened.locator("#overlay .layer")).to_have_attribute("opacity", "0.6")
    expect(opened.locator("#pane-plain")).to_be_visible()
    expect(opened.locator("#label-layer")).to_be_hidden()


def test_cancelling(shown: Exhibit, opened: Page) -> None:
    shown.analysis()
    opened.goto(shown.address)
    opened.get_by_text("Cancel this analysis").click()
    expect(opened.locator("#panel .badge.processing")).to_be_visible()
    opened.get_by_role("button", name="Yes, cancel it").click()
    expect(opened.locator("#panel .badge.canceled")).to_be_visible()
    expect(opened.get_by_text("Cancel this analysis")).to_have_count(0)
    expect(opened.locator("#announcer")).to_have_text("leaf-net 1.0.0 is canceled.")


def test_an_error_is_shown_and_nothing_is_lost(shown: Exhibit, opened: Page, pages: Pages) -> None:
    shown.store(shown.analysis(model_name="older"), box())
    shown.analysis("completed", model_name="newer")
    opened.goto(shown.address)
    opened.route(
        "**/images/*?analysis=*",
        lambda route: route.fulfill(status=503, body="<div id=problem-message><b>Busy</b><p>Wait</p></div>"),
    )
    opened.locator(".analyses a", has_text="older").click()
    expect(opened.get_by_text("Busy")).to_be_visible()
    expect(opened.locator("#layers-of")).to_have_text("newer")
    opened.get_by_role("button", name="Dismiss").click()
    expect(opened.get_by_text("Busy")).to_have_count(0)
    pages.problems.clear()  # the browser tells of the 503


def test_exporting(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box())
    opened.goto(shown.address)
    opened.get_by_text("Export", exact=True).click()
    with opened.expect_download() as download:
        opened.get_by_role("link", name=re.compile("CSV")).click()
    assert download.value.suggested_filename.startswith("analysis_leaf-net_")
    opened.keyboard.press("Escape")
    expect(opened.get_by_role("link", name=re.compile("CSV"))).to_be_hidden()


def test_the_whole_way_by_keyboard(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box(class_name="leaf"))
    opened.goto(shown.address)
    reached = set()
    for _ in range(40):
        opened.keyboard.press("Tab")
        reached.add(opened.evaluate("document.activeElement.id || document.activeElement.className"))
    for wanted in ("boxes", "labels", "opacity", "view-overlay", "copy-link", "name", "skip"):
        assert wanted in reached, f"{wanted} is not reached by Tab, only {sorted(reached)}"


# --- without JavaScript ------------------------------------------------------------------------------------------


def test_the_main_path_without_javascript(shown: Exhibit, plain: Page) -> None:
    shown.store(shown.analysis(model_name="older"), box(class_name="old"))
    analysis = shown.analysis(model_name="newer")
    shown.store(analysis, box(class_name="new"), RLE)
    shown.finalize(analysis)
    plain.goto("/")
    plain.get_by_role("link", name=re.compile("Leaves")).click()
    plain.get_by_role("link", name=re.compile("leaf.png")).click()
    expect(plain.locator("#layers-of")).to_have_text("newer")
    plain.get_by_label("Boxes and shapes").uncheck()
    expect(plain.locator("#shapes")).to_be_hidden()  # by the style sheet alone
    plain.get_by_text("Side by side").click()
    expect(plain.locator("#pane-plain")).to_be_visible()
    plain.locator("#opacity").fill("30")
    plain.get_by_role("button", name="Show", exact=True).click()
    expect(plain.locator("#overlay .layer")).to_have_attribute("opacity", "0.3")
    expect(plain.locator("#shapes")).to_be_hidden()
    expect(plain.locator("#pane-plain")).to_be_visible()
    plain.locator(".analyses a", has_text="older").click()
    expect(plain.locator("#layers-of")).to_have_text("older")
    expect(plain.locator("#overlay .layer")).to_have_attribute("opacity", "0.3")
    plain.get_by_text("Cancel this analysis").click()
    plain.get_by_role("button", name="Yes, cancel it").click()
    expect(plain.locator("#panel .badge.canceled")).to_be_visible()
    expect(plain.locator("#overlay .layer")).to_have_attribute("opacity", "0.3")
    plain.get_by_text("Export", exact=True).click()
    with plain.expect_download() as download:
        plain.get_by_role("link", name=re.compile("^JSON")).click()
    assert download.value.suggested_filename.endswith(".json")
