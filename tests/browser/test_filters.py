"""Filters, order, picking and other analyses in a real browser: drawn anew by the server, the focus where it was."""

import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import Page, expect

from tests.steps import box
from tests.support.browser import drawn, held
from tests.support.exhibit import Exhibit

pytestmark = [pytest.mark.one_database, pytest.mark.soak]


def place(x: float, y: float, side: float) -> dict[str, float]:
    return {"x_min": x, "y_min": y, "x_max": x + side, "y_max": y + side}


FILTERED, PICKED = re.compile(r"/overlay\?.*table=1"), re.compile(r"/pick\?")
HOSTILE = "<img src=x onerror=alert(1)>"
SAID = (
    box(class_name="car", confidence=0.9, data=place(20, 20, 100)),
    box(class_name="bus", confidence=0.4, data=place(40, 40, 30)),
    box(class_name="van", confidence=0.6, data=place(200, 100, 60)),
    box(class_name=HOSTILE, confidence=0.8, data=place(150, 20, 30)),
)


def test_filters_and_the_order_are_drawn_anew(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), *SAID)
    opened.goto(shown.address)
    drawn(opened)
    items, hidden = opened.locator("#shapes .item"), opened.locator("#hidden")
    bus = opened.get_by_label("Hide bus")
    bus.focus()
    opened.keyboard.press("Space")
    expect(items).to_have_count(3)
    expect(hidden).to_have_text("1")
    expect(opened.locator("#statusline")).to_contain_text("class switched off")
    expect(bus).to_be_focused()
    expect(opened.locator("#annotations tbody tr")).to_have_count(3)
    assert "off=bus" in opened.url
    opened.get_by_label("Class", exact=True).fill("a")
    expect(items).to_have_count(3)  # car, van, and the name that is markup
    opened.get_by_label("Class", exact=True).fill("v")
    expect(items).to_have_count(1)
    expect(opened.get_by_label("Class", exact=True)).to_be_focused()
    opened.get_by_role("button", name="Show everything").focus()
    opened.keyboard.press("Enter")
    expect(items).to_have_count(4)
    expect(opened.get_by_label("Class", exact=True)).to_be_focused()
    expect(bus).not_to_be_checked()
    assert "off=" not in opened.url and "q=" not in opened.url
    opened.get_by_label("Confidence").fill("0.7")
    expect(items).to_have_count(2)
    expect(opened.locator("#min-says")).to_have_text("≥ 0.70")
    opened.reload()
    expect(items).to_have_count(2)
    opened.get_by_label("Confidence").fill("0")
    expect(items).to_have_count(4)
    rows = opened.locator("#annotations tbody .name span:last-child")
    opened.get_by_role("button", name="Confidence").click()
    expect(rows).to_have_text(["car", HOSTILE, "van", "bus"])
    expect(opened.locator("#annotations th[aria-sort=descending]")).to_have_text(re.compile("Confidence"))
    opened.get_by_label("Show only van").focus()
    opened.keyboard.press("Enter")
    expect(items).to_have_count(1)
    assert "only=van" in opened.url and "sort=-confidence" in opened.url
    assert opened.locator("img[src=x]").count() == 0


def test_what_is_clicked_is_found_in_the_table_and_the_other_way_round(shown: Exhibit, opened: Page) -> None:
    ids = shown.store(shown.analysis(), *SAID)
    opened.goto(shown.address)
    drawn(opened)
    picked, row = opened.locator("#picked section"), opened.locator("#annotations a[aria-current]")
    opened.locator(f"#s-{ids[2]} .shape").click()
    expect(picked).to_have_attribute("data-pick", ids[2])
    expect(row).to_have_attribute("data-pick", ids[2])
    expect(opened.locator("#outline .spot.under")).to_have_count(1)
    assert f"pick={ids[2]}" in opened.url
    opened.locator(f"#r-{ids[3]} a").click()
    expect(picked).to_contain_text(HOSTILE)
    expect(opened.locator(f"#s-{ids[3]}")).to_have_class(re.compile(r"\bselected\b"))
    assert opened.locator("img[src=x]").count() == 0
    opened.locator(f"#s-{ids[1]} .shape").click()
    expect(picked).to_have_attribute("data-pick", ids[1])
    opened.locator(f"#s-{ids[1]} .shape").click()  # what lies under it
    expect(picked).to_have_attribute("data-pick", ids[0])
    opened.locator("#unpick").focus()
    opened.keyboard.press("Enter")
    expect(opened.locator("#stage")).to_be_focused()
    expect(picked).to_have_count(0)
    expect(opened.locator("#outline .spot.under")).to_have_count(0)
    assert "pick=" not in opened.url


@pytest.mark.parametrize("press", [0, pytest.param(80, marks=pytest.mark.soak)])
def test_the_first_click_after_a_search_counts(shown: Exhibit, opened: Page, press: float) -> None:
    ids = shown.store(shown.analysis(), *SAID)
    opened.goto(shown.address)
    drawn(opened)
    search, items = opened.get_by_label("Class", exact=True), opened.locator("#shapes .item")
    picked = opened.locator("#picked section")
    search.fill("a")
    expect(items).to_have_count(3)
    drawn(opened)
    opened.get_by_role("button", name="Confidence").click(delay=press)
    expect(opened.locator("#annotations th[aria-sort=descending]")).to_have_text(re.compile("Confidence"))
    search.fill("v")
    expect(items).to_have_count(1)
    drawn(opened)
    opened.locator(f"#r-{ids[2]} a").click(delay=press)
    expect(picked).to_have_attribute("data-pick", ids[2])
    search.fill("r")
    expect(items).to_have_count(2)
    drawn(opened)
    opened.locator(f"#s-{ids[0]} .shape").click(delay=press, position={"x": 5, "y": 5})
    expect(picked).to_have_attribute("data-pick", ids[0])
    search.fill("c")  # and before it is drawn
    opened.locator(f"#r-{ids[0]} a").click(delay=press)
    expect(picked).to_have_count(0)
    search.fill("ca")
    opened.locator(f"#r-{ids[0]} a").click(delay=press)
    expect(picked).to_have_attribute("data-pick", ids[0])
    expect(items).to_have_count(1)
    assert "q=ca&" in opened.url and f"pick={ids[0]}" in opened.url


def test_a_filter_and_a_pick_wait_for_each_other(shown: Exhibit, opened: Page) -> None:
    ids = shown.store(shown.analysis(), *SAID)
    opened.goto(shown.address)
    drawn(opened)
    items, picked = opened.locator("#shapes .item"), opened.locator("#picked section")
    with held(opened, FILTERED):
        opened.get_by_label("Hide bus").check()
        opened.locator(f"#s-{ids[2]} .shape").click()
    expect(picked).to_have_attribute("data-pick", ids[2])
    expect(items).to_have_count(3)
    expect(opened.locator("#hidden")).to_have_text("1")
    expect(opened.locator("#annotations tbody tr")).to_have_count(3)
    with held(opened, PICKED):
        opened.locator(f"#r-{ids[0]} a").click()
        opened.get_by_label("Hide van").check()
    expect(items).to_have_count(2)
    expect(picked).to_have_attribute("data-pick", ids[0])
    expect(opened.locator("#annotations a[aria-current]")).to_have_attribute("data-pick", ids[0])
    drawn(opened)
    opened.reload()
    expect(items).to_have_count(2)
    expect(picked).to_have_attribute("data-pick", ids[0])


def test_closing_counts_more_than_the_answer_that_is_awaited(shown: Exhibit, opened: Page) -> None:
    ids = shown.store(shown.analysis(), *SAID)
    opened.goto(shown.address)
    drawn(opened)
    row, picked = opened.locator(f"#r-{ids[2]} a"), opened.locator("#picked section")
    with held(opened, PICKED):
        row.click()
        expect(row).to_have_attribute("aria-current", "true")
        row.click()
        expect(row).not_to_have_attribute("aria-current", "true")
    drawn(opened)
    expect(picked).to_have_count(0)
    expect(row).not_to_have_attribute("aria-current", "true")
    with held(opened, FILTERED):
        opened.get_by_label("Hide bus").check()
        row.click()
        row.click()
    expect(opened.locator("#shapes .item")).to_have_count(3)
    drawn(opened)
    expect(picked).to_have_count(0)
    assert "pick=" not in opened.url


def test_enter_in_the_search_searches(shown: Exhibit, opened: Page, plain: Page) -> None:
    shown.store(shown.analysis(), *SAID)
    for page in (opened, plain):
        page.goto(shown.address)
        page.get_by_label("Class", exact=True).fill("v")
        page.keyboard.press("Enter")
        expect(page.locator("#shapes .item")).to_have_count(1)
        expect(page.locator("#shapes title")).to_have_text(re.compile("van"))
        assert "only=" not in page.url


def test_what_waits_is_not_meant_for_another_analysis(shown: Exhibit, opened: Page) -> None:
    other = shown.analysis(model_name="moss-net")
    shown.store(other, box(class_name="moss"))
    ids = shown.store(shown.analysis(model_name="leaf-net"), *SAID)
    opened.goto(shown.address)
    drawn(opened)
    with held(opened, re.compile(rf"/images/[^/]+\?.*analysis={other.id}")):
        opened.locator(f"#choose-{other.id}").click()
        opened.locator(f"#r-{ids[0]} a").click()
        opened.get_by_label("Hide bus").check()
    expect(opened.locator("#layers-of")).to_have_text("moss-net")
    drawn(opened)
    expect(opened.locator("#shapes title")).to_have_text(re.compile("moss"))
    expect(opened.locator("#annotations tbody tr")).to_have_count(1)
    expect(opened.locator("#picked section")).to_have_count(0)


def test_what_is_picked_and_its_row_are_seen_together(shown: Exhibit, opened: Page) -> None:
    leaves = [
        box(client_id=str(i), data=place(10 + 25 * (i % 12), 10 + 25 * (i // 12), 20)) for i in range(60)
    ]
    ids = shown.store(shown.analysis(), *leaves)
    opened.goto(shown.address)
    drawn(opened)
    for number, element in ((59, "s-{} .shape"), (0, "r-{} a"), (30, "s-{} .shape")):
        opened.locator(f"#{element.format(ids[number])}").click()
        expect(opened.locator("#picked section")).to_have_attribute("data-pick", ids[number])
        expect(opened.locator("#picked section")).to_be_in_viewport(ratio=1)
        expect(opened.locator(f"#r-{ids[number]}")).to_be_in_viewport(ratio=1)
    opened.set_viewport_size({"width": 390, "height": 844})
    opened.locator(f"#r-{ids[40]} a").click()
    expect(opened.locator("#picked section")).to_have_attribute("data-pick", ids[40])
    drawn(opened)
    expect(opened.locator(f"#s-{ids[40]}")).to_be_in_viewport(ratio=1)
    expect(opened.locator("#picked-title")).to_be_in_viewport()


def test_another_analysis_is_a_layer_of_its_own(shown: Exhibit, opened: Page) -> None:
    other = shown.analysis(model_name="moss-net")
    shown.store(other, box(class_name="moss"))
    shown.store(shown.analysis(model_name="leaf-net"), *SAID)
    opened.goto(shown.address)
    drawn(opened)
    opened.get_by_text("Draw other analyses too").click()
    opened.get_by_role("checkbox", name=re.compile("moss-net")).check()
    layer = opened.locator(f"#layer-{other.id}")
    expect(layer.locator(".item")).to_have_count(1)
    expect(opened.locator("#statusline")).to_contain_text("5 received")
    slider = opened.get_by_label(re.compile("Opacity of moss-net"))
    slider.fill("70")
    expect(layer).to_have_attribute("opacity", "0.7")
    expect(opened.locator(f"output[for=opacity-{other.id}]")).to_have_text("70 %")
    beside = opened.get_by_role("checkbox", name=re.compile("moss-net"))
    beside.uncheck()
    expect(layer).to_have_count(0)
    expect(slider).to_have_count(0)
    expect(beside).to_be_focused()  # what was opened is not closed again
    opened.goto(f"{shown.address}?with={other.id}:40")
    expect(layer).to_have_attribute("opacity", "0.4")
    slider.fill("60")
    expect(layer).to_have_attribute("opacity", "0.6")
    assert f"with={other.id}:60" in unquote(opened.url)
    opened.locator(".analyses a", has_text="moss-net").click()
    expect(opened.locator("#layers-of")).to_have_text("moss-net")


def test_a_button_counts_more_than_what_was_chosen_before_without_javascript(
    shown: Exhibit, plain: Page
) -> None:
    ids = shown.store(shown.analysis(), *SAID)
    plain.goto(f"{shown.address}?only=van&pick={ids[2]}")
    plain.get_by_label("Show only bus").click()
    expect(plain.locator("#legend .filtered")).to_contain_text("Only “bus” is shown.")
    expect(plain.locator("#shapes .item")).to_have_count(1)
    plain.get_by_role("button", name="Show everything").click()
    expect(plain.locator("#shapes .item")).to_have_count(4)
    expect(plain.locator("#picked section")).to_have_attribute("data-pick", ids[2])
    plain.locator("#unpick").click()
    expect(plain.locator("#picked section")).to_have_count(0)
