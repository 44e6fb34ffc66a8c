"""What is under a resting mouse is said where no element says it, and what a person does is announced."""

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.steps import box
from tests.support.browser import drawn
from tests.support.crowds import crowd
from tests.support.exhibit import RLE, Exhibit

pytestmark = [pytest.mark.one_database, pytest.mark.soak]


def rest_at(page: Page, x: float, y: float) -> tuple[float, float]:
    """The mouse comes to rest at a point of the image, in its pixels; that point of the window."""
    at: tuple[float, float] = page.evaluate(
        """([x, y]) => { const it = document.getElementById("canvas").getBoundingClientRect();
            const [,, width, height] = document.getElementById("canvas").getAttribute("viewBox").split(" ").map(Number);
            return [it.x + x / width * it.width, it.y + y / height * it.height]; }""",
        [x, y],
    )
    page.mouse.move(at[0] - 5, at[1])
    page.mouse.move(*at)
    return at


def asks_for(url: str, place: tuple[float, float]) -> bool:
    """Whether it asks what is there. On a slow machine the mouse may have rested on its way, and that is asked too."""
    parts = urlsplit(url)
    if not parts.path.endswith("/hit"):
        return False
    query = parse_qs(parts.query)
    return (float(query["x"][0]), float(query["y"][0])) == pytest.approx(place, abs=1)


def test_a_mask_and_what_lies_over_it_are_named(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    far = box(class_name="far", data={"x_min": 280, "y_min": 180, "x_max": 300, "y_max": 190})
    shown.store(analysis, {**RLE, "class_name": "cloud", "confidence": 0.75}, far)
    shown.finalize(analysis)
    opened.goto(shown.address)
    drawn(opened)
    hint = opened.locator("#hint")
    expect(hint).to_be_hidden()
    rest_at(opened, 101, 50)  # it has two columns
    expect(hint).to_have_text("cloud 0.75")
    opened.keyboard.press("Escape")
    expect(hint).to_be_hidden()
    rest_at(opened, 1, 199)
    opened.wait_for_load_state("networkidle")
    expect(hint).to_be_hidden()


def test_shapes_in_paths_are_named_and_elements_name_themselves(shown: Exhibit, opened: Page) -> None:
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url) if "/hit" in request.url else None)
    few = shown.analysis()
    (one,) = shown.store(few, box(class_name="leaf"))
    shown.finalize(few)
    opened.goto(shown.address)
    drawn(opened)
    opened.locator(f"#s-{one} .shape").hover(force=True)
    rest_at(opened, 200, 150)
    opened.wait_for_load_state("networkidle")
    assert asked == []
    many = crowd(shown.world, shown.image, 3000)
    opened.goto(f"{shown.address}?analysis={many.id}")
    drawn(opened)
    place = opened.locator("#annotations a[data-box]").first
    x, y, width, height = map(float, (place.get_attribute("data-box") or "").split())
    middle = x + width / 2, y + height / 2
    with opened.expect_response(lambda answer: asks_for(answer.url, middle)):
        at = rest_at(opened, *middle)
    first = opened.locator("#hint span").first
    expect(first).to_be_visible()
    assert [asks_for(url, middle) for url in asked].count(True) == 1
    name = first.inner_text()
    opened.mouse.click(*at)
    expect(opened.locator("#picked-title")).to_have_text(name)


def test_what_is_picked_filtered_and_copied_is_announced(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    shown.store(analysis, box(class_name="leaf", confidence=0.9), box(class_name="stem", client_id="b"))
    shown.finalize(analysis)
    opened.goto(shown.address)
    drawn(opened)
    said = opened.locator("#announcer")
    opened.locator("#annotations a[data-pick]").first.click()
    expect(said).to_have_text("leaf 0.90 is chosen.")
    opened.get_by_label("Hide stem").check()
    expect(said).to_have_text("1 of 2 annotations.")
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.get_by_role("button", name="Copy link").click()
    expect(said).to_have_text("The link is copied.")
    assert opened.evaluate("navigator.clipboard.readText()") == opened.url


def test_without_a_clipboard_the_link_is_copied_too(shown: Exhibit, opened: Page) -> None:
    opened.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    shown.finalize(shown.analysis())
    opened.goto(shown.address)
    opened.get_by_role("button", name="Copy link").click()
    expect(opened.locator("#announcer")).to_have_text("The link is copied.")
    expect(opened.locator("textarea")).to_have_count(0)
    expect(opened.locator("#copy-link")).to_be_focused()


def test_turning_the_pages_of_the_table_keeps_the_focus_in_it(shown: Exhibit, opened: Page) -> None:
    many = crowd(shown.world, shown.image, 300)
    opened.goto(f"{shown.address}?analysis={many.id}")
    drawn(opened)
    opened.locator("#page-after").focus()
    opened.keyboard.press("Enter")
    expect(opened.locator("#page-before")).to_be_focused()
    opened.keyboard.press("Enter")
    expect(opened.locator("#page-after")).to_be_focused()


def test_no_more_analyses_can_be_ticked_than_are_drawn(shown: Exhibit, opened: Page) -> None:
    for number in range(10):
        analysis = shown.analysis(model_name=f"model-{number}")
        shown.store(analysis, box())
        shown.finalize(analysis)
    opened.goto(shown.address)
    drawn(opened)
    opened.locator("#besides > summary").click()
    for number in range(8):
        opened.locator("#others input[name=with]:not(:checked)").first.check()
        expect(opened.locator("#overlay .layer")).to_have_count(number + 2)
    expect(opened.locator("#others input[name=with]:not(:checked)")).to_be_disabled()
    expect(opened.locator("#others")).to_contain_text("No more than 8 are drawn at once.")
    opened.locator("#others input[name=with]:checked").first.uncheck()
    expect(opened.locator("#others input[name=with]:disabled")).to_have_count(0)
