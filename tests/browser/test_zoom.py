"""Moving around in the image: wheel, drag, fingers, buttons, keys; the address; side by side, swipe; no JavaScript."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.steps import box
from tests.support.browser import Pages, drawn
from tests.support.exhibit import HEIGHT, WIDTH, Exhibit

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

BOX = {"x_min": 80, "y_min": 50, "x_max": 240, "y_max": 150}
# how often the stage has come to rest on this page, and what it told the last time
COUNT = """window.rests = 0;
addEventListener("stage:settled", (it) => { window.rests++; window.told = it.detail; }, true);"""
# where a point of the image is on the screen, by the browser's own reckoning of the picture
ON_SCREEN = """([x, y, id, across, down]) => {
    const {left, top, width, height} = document.getElementById(id).getBoundingClientRect();
    return [left + x / across * width, top + y / down * height];
}"""
IN_IMAGE = """([x, y, across, down]) => {
    const {left, top, width, height} = document.getElementById("picture").getBoundingClientRect();
    return [(x - left) / width * across, (y - top) / height * down];
}"""


def zoom(page: Page) -> float:
    return float(page.locator("#picture").evaluate("it => it.getBoundingClientRect().width")) / WIDTH


def on_screen(page: Page, x: float, y: float, picture: str = "picture") -> tuple[float, float]:
    left, top = page.evaluate(ON_SCREEN, [x, y, picture, WIDTH, HEIGHT])
    return left, top


def settled(page: Page, act: Callable[[], Any]) -> dict[str, Any]:
    """What the stage tells when it has come to rest after this."""
    page.wait_for_timeout(200)  # an earlier rest is not the one that is waited for
    before = page.evaluate("window.rests")
    act()
    page.wait_for_function("before => window.rests > before", arg=before)
    told: dict[str, Any] = page.evaluate("window.told")
    return told


def open_at_rest(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_function("() => window.rests > 0")


def at(page: Page) -> list[float] | None:
    text = parse_qs(urlsplit(page.url).query).get("at")
    return [float(part) for part in text[0].split(",")] if text else None


@pytest.fixture
def stage(shown: Exhibit, opened: Page) -> Page:
    """The image page with a box on it, at rest."""
    shown.store(shown.analysis(), box(data=BOX))
    opened.emulate_media(reduced_motion="reduce")
    opened.add_init_script(COUNT)
    open_at_rest(opened, shown.address)
    return opened


def test_the_wheel_zooms_around_the_pointer_and_the_overlay_stays_on_the_picture(
    shown: Exhibit, stage: Page
) -> None:
    shape = stage.locator(".item .casing")
    drawn(stage)
    point = on_screen(stage, 230, 60)
    stage.mouse.move(*point)
    expect(stage.locator("#where")).to_contain_text(re.compile(r"x 2(29|30)\.\d +y (59|60)\.\d"))
    fitted = zoom(stage)
    for _ in range(5):
        under = stage.evaluate(IN_IMAGE, [*point, WIDTH, HEIGHT])
        told = settled(stage, lambda: stage.mouse.wheel(0, -300))
        assert on_screen(stage, *under) == pytest.approx(point, abs=1)
        assert told["zoom"] == pytest.approx(zoom(stage), rel=1e-3)
        left, top = on_screen(stage, BOX["x_min"], BOX["y_min"])
        right, bottom = on_screen(stage, BOX["x_max"], BOX["y_max"])
        drawn(stage)
        seen = shape.evaluate(
            "it => { const b = it.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }"
        )
        middle = (seen[0] + seen[2] / 2, seen[1] + seen[3] / 2)  # whatever the outline adds on all sides
        assert middle == pytest.approx(((left + right) / 2, (top + bottom) / 2), abs=0.5)
    assert zoom(stage) > 8 * fitted
    assert stage.locator("#picture").evaluate("it => getComputedStyle(it).imageRendering") == "pixelated"
    stage.mouse.wheel(0, -5000)
    stage.mouse.wheel(0, -5000)
    settled(stage, lambda: stage.mouse.wheel(0, -5000))
    assert zoom(stage) == pytest.approx(32, rel=1e-3)
    stage.keyboard.down("Control")  # as a pinch on a trackpad is told
    settled(stage, lambda: stage.mouse.wheel(0, 20))
    stage.keyboard.up("Control")
    assert zoom(stage) == pytest.approx(32 * 0.819, rel=0.01)
    for _ in range(12):
        stage.mouse.wheel(0, 1000)
    settled(stage, lambda: stage.mouse.wheel(0, 1000))
    assert zoom(stage) == pytest.approx(min(fitted / 2, 1), rel=1e-3)


def test_dragging_moves_and_is_no_click(stage: Page) -> None:
    settled(stage, stage.get_by_label("Zoom in").click)
    shape = stage.locator(".item .shape")
    row = stage.locator("#annotations a[aria-current]")
    start = on_screen(stage, 160, 100)

    def drag(right: float, down: float) -> None:
        stage.mouse.move(*start)
        stage.mouse.down()
        stage.mouse.move(start[0] + right, start[1] + down, steps=4)
        assert "scale" not in (stage.locator("#canvas").get_attribute("style") or "")
        stage.mouse.up()

    settled(stage, lambda: drag(30, 20))
    assert on_screen(stage, 160, 100) == pytest.approx((start[0] + 30, start[1] + 20), abs=1)
    expect(row).to_have_count(0)
    assert at(stage) is not None
    shape.click()
    expect(row).to_have_count(1)
    # as far as one may drag, the image stays on the stage
    settled(stage, lambda: drag(4000, 4000))
    pane = stage.locator("#panes").bounding_box()
    assert pane
    left, top = on_screen(stage, 0, 0)
    assert left < pane["x"] + pane["width"] / 2 and top < pane["y"] + pane["height"] / 2


def test_buttons_and_keys(shown: Exhibit, stage: Page) -> None:
    readout, edges = stage.locator("#zoom-value"), stage.locator("[data-pan]:visible")
    fitted = zoom(stage)
    expect(edges).to_have_count(0)
    settled(stage, stage.get_by_label("One to one").click)
    assert zoom(stage) == pytest.approx(1, rel=1e-3)
    expect(readout).to_have_text("100 %")
    settled(stage, stage.get_by_label("Zoom in").click)
    expect(readout).to_have_text("150 %")
    settled(stage, stage.get_by_label("Zoom out").click)
    settled(stage, stage.get_by_label("Fit the image in").click)
    assert zoom(stage) == pytest.approx(fitted, rel=1e-3) and at(stage) is None
    stage.mouse.click(*on_screen(stage, 5, 5))
    expect(stage.locator("#stage")).to_be_focused()
    settled(stage, lambda: stage.keyboard.press("+"))
    assert zoom(stage) == pytest.approx(fitted * 1.5, rel=1e-3)
    settled(stage, lambda: stage.keyboard.press("="))
    expect(edges).to_have_count(4)
    before = on_screen(stage, 160, 100)
    settled(stage, lambda: stage.keyboard.press("ArrowRight"))
    settled(stage, lambda: stage.keyboard.press("ArrowDown"))
    assert on_screen(stage, 160, 100) == pytest.approx((before[0] - 80, before[1] - 80), abs=1)
    settled(stage, stage.get_by_label("Move left").click)
    assert on_screen(stage, 160, 100)[0] > before[0]
    settled(stage, lambda: stage.keyboard.press("1"))  # on a button of the stage
    assert zoom(stage) == pytest.approx(1, rel=1e-3)
    settled(stage, lambda: stage.keyboard.press("0"))
    settled(stage, lambda: stage.mouse.dblclick(*on_screen(stage, 100, 100)))
    assert zoom(stage) == pytest.approx(fitted * 2, rel=1e-3)
    stage.get_by_label("Opacity").press("ArrowLeft")  # a field keeps its keys
    assert zoom(stage) == pytest.approx(fitted * 2, rel=1e-3)
    other = shown.world.image(shown.project, "other.png")  # newer, so it stands before
    open_at_rest(stage, shown.address)
    stage.keyboard.press("ArrowLeft")
    stage.wait_for_url(f"**/images/{other.id}*")


def test_letters_and_digits_are_keys_of_the_stage_alone(stage: Page) -> None:
    """WCAG 2.1.4: on the rest of the page somebody who speaks, or misses a key, moves nothing."""
    fitted = zoom(stage)
    for outside in ("document.activeElement.blur()", "document.querySelector('#export > summary').focus()"):
        stage.evaluate(outside)
        for key in "1+=-0":
            stage.keyboard.press(key)
            assert stage.evaluate("window.stage.isFitted()"), f"{key} moved it"
    settled(stage, lambda: stage.get_by_label("Zoom in").press("+"))
    assert zoom(stage) == pytest.approx(fitted * 1.5, rel=1e-3)
    start = on_screen(stage, 160, 100)
    stage.get_by_label("Account").focus()
    stage.mouse.move(*start)
    stage.mouse.down()
    stage.mouse.move(start[0] + 30, start[1], steps=3)
    settled(stage, stage.mouse.up)
    expect(stage.locator("#stage")).to_be_focused()
    settled(stage, lambda: stage.keyboard.press("0"))
    assert zoom(stage) == pytest.approx(fitted, rel=1e-3)


def test_the_place_is_in_the_address(stage: Page) -> None:
    stage.evaluate("window.stage.show({x: 200, y: 100, width: 20, height: 12})")
    stage.wait_for_timeout(250)
    assert at(stage) is None, "what is seen needs no move"
    settled(stage, lambda: stage.evaluate("window.stage.show({x: 200, y: 100, width: 2, height: 1})"))
    place, nearer = at(stage), zoom(stage)
    assert (
        place
        and place[:2] == pytest.approx([201, 100.5], abs=0.1)
        and place[2] == pytest.approx(nearer, rel=1e-3)
    )
    assert stage.locator("#at").input_value() == ",".join(f"{part:g}" for part in place)
    where = on_screen(stage, 201, 100.5)
    link = stage.url
    open_at_rest(stage, link)
    assert on_screen(stage, 201, 100.5) == pytest.approx(where, abs=2) and stage.url == link
    settled(stage, lambda: stage.set_viewport_size({"width": 1000, "height": 700}))
    pane = stage.locator("#pane-main .frame").bounding_box()
    assert pane and zoom(stage) == pytest.approx(nearer, rel=1e-3)
    middle = (pane["x"] + pane["width"] / 2, pane["y"] + pane["height"] / 2)
    assert on_screen(stage, 201, 100.5) == pytest.approx(middle, abs=2)
    settled(stage, stage.get_by_label("Fit the image in").click)
    settled(stage, lambda: stage.set_viewport_size({"width": 1400, "height": 700}))
    pane = stage.locator("#pane-main .frame").bounding_box()
    assert pane and at(stage) is None
    assert zoom(stage) == pytest.approx(
        min((pane["width"] - 48) / WIDTH, (pane["height"] - 48) / HEIGHT), rel=1e-2
    )


def test_swaps_and_the_way_back_keep_the_place(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(model_name="older"), box(class_name="old"))
    running = shown.analysis(model_name="newer")
    shown.store(running, box(class_name="new"))
    opened.add_init_script(COUNT)
    open_at_rest(opened, f"{shown.address}?at=100,80,5")
    before = on_screen(opened, 100, 80)
    opened.evaluate(
        """() => {
            window.widths = new Set();
            const look = () => { window.widths.add(document.getElementById("picture")?.getBoundingClientRect().width);
                                 requestAnimationFrame(look); };
            look();
        }"""
    )
    opened.locator(".analyses a", has_text="older").click()
    expect(opened.locator("#shapes title")).to_have_text("old")
    assert on_screen(opened, 100, 80) == before and at(opened) == [100, 80, 5]
    settled(opened, lambda: opened.evaluate("window.stage.zoomTo(8)"))
    assert at(opened) == [100, 80, 8]
    opened.evaluate("window.widths.clear()")
    shown.store(running, box(class_name="more"))
    opened.locator(".analyses a", has_text="newer").click()
    expect(opened.locator("#shapes .item")).to_have_count(2)
    opened.wait_for_timeout(250)
    assert opened.evaluate("[...window.widths]") == [8 * WIDTH], "a swap let the stage jump"
    opened.go_back()
    expect(opened.locator("#layers-of")).to_have_text("older")
    assert at(opened) == [100, 80, 8]
    opened.go_back()
    expect(opened.locator("#layers-of")).to_have_text("newer")
    assert at(opened) == [100, 80, 5] and zoom(opened) == pytest.approx(5, rel=1e-3)


def test_side_by_side_and_swipe_move_as_one(stage: Page) -> None:
    stage.get_by_text("Side by side").click()
    plain = stage.locator("#pane-plain .frame").bounding_box()
    assert plain
    stage.mouse.move(plain["x"] + 100, plain["y"] + 200)
    settled(stage, lambda: stage.mouse.wheel(0, -300))
    one, other = on_screen(stage, 50, 50), on_screen(stage, 50, 50, "picture-plain")
    panes = [stage.locator(f"{it} .frame").bounding_box() for it in ("#pane-main", "#pane-plain")]
    assert panes[0] and panes[1]
    assert one[0] - panes[0]["x"] == pytest.approx(other[0] - panes[1]["x"], abs=0.6)
    assert one[1] == pytest.approx(other[1], abs=0.1)

    stage.get_by_text("Swipe").click()
    # the two are laid upon each other in the next frame, which a busy machine may draw between one look and the other
    stage.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert on_screen(stage, 50, 50) == on_screen(stage, 50, 50, "picture-plain")
    divider, pane = stage.get_by_label("Divider"), stage.locator("#pane-main").bounding_box()
    assert pane

    def under(share: float) -> str:
        spot = [pane["x"] + pane["width"] * share, pane["y"] + 40]
        found: str = stage.evaluate_handle("([x, y]) => document.elementFromPoint(x, y)", spot).evaluate(
            "it => it.closest('.pane').id"
        )
        return found

    assert (under(0.4), under(0.6)) == ("pane-plain", "pane-main")
    stage.mouse.move(pane["x"] + pane["width"] / 2, pane["y"] + 30)  # anywhere on its line
    stage.mouse.down()
    stage.mouse.move(pane["x"] + pane["width"] * 0.8, pane["y"] + 30, steps=3)
    stage.mouse.up()
    assert int(divider.input_value()) == pytest.approx(80, abs=2)
    assert (under(0.7), under(0.9)) == ("pane-plain", "pane-main")
    divider.press("Home")
    for _ in range(10):
        divider.press("ArrowRight")
    assert "view=swipe" in stage.url and "divider=10" in stage.url
    assert under(0.2) == "pane-main"
    stage.reload()
    assert divider.input_value() == "10" and under(0.2) == "pane-main"


def test_two_fingers_zoom_and_one_finger_moves(shown: Exhibit, pages: Pages) -> None:
    shown.store(shown.analysis(), box(data=BOX))
    page = pages.sign_in(pages.open(width=390, height=844, has_touch=True, is_mobile=True), shown.person)
    page.add_init_script(COUNT)
    open_at_rest(page, shown.address)
    touch = page.context.new_cdp_session(page)
    x, y = on_screen(page, 160, 100)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        spots = [{"x": left, "y": top, "id": number} for number, (left, top) in enumerate(points)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": spots})

    def spread() -> None:
        fingers("touchStart", (x - 30, y))
        fingers("touchStart", (x - 30, y), (x + 30, y))
        for step in range(1, 7):
            fingers("touchMove", (x - 30 - 10 * step, y), (x + 30 + 10 * step, y))
        fingers("touchEnd")

    def drag() -> None:
        fingers("touchStart", (x, y))
        for step in range(1, 5):
            fingers("touchMove", (x + 10 * step, y + 5 * step))
        fingers("touchEnd")

    fitted = zoom(page)
    settled(page, spread)
    assert zoom(page) == pytest.approx(3 * fitted, rel=0.03)
    assert on_screen(page, 160, 100) == pytest.approx((x, y), abs=2)
    settled(page, drag)
    assert on_screen(page, 160, 100) == pytest.approx((x + 40, y + 20), abs=2)
    page.locator("#pan-right").focus()
    before = on_screen(page, 160, 100)
    settled(page, lambda: page.keyboard.press("Enter"))
    assert on_screen(page, 160, 100)[0] < before[0] - 40, "the drag took the click of a key for its own"
    sizes = page.locator(".zoom button").evaluate_all(
        "all => all.map(it => it.getBoundingClientRect().height)"
    )
    assert min(sizes) >= 40


def test_zooming_glides_unless_motion_is_not_wanted(stage: Page) -> None:
    sample = """(wanted) => new Promise((done) => {
        const widths = new Set(), picture = document.getElementById("picture");
        const look = () => widths.add(Math.round(picture.getBoundingClientRect().width));
        const end = performance.now() + 350;
        const next = () => { look(); performance.now() < end ? requestAnimationFrame(next) : done(widths.size); };
        window.stage.zoomTo(wanted);
        next();
    })"""
    assert stage.evaluate(sample, 4) == 1
    stage.emulate_media(reduced_motion="no-preference")
    # the best of three: a busy machine shows few frames
    assert max(stage.evaluate(sample, wanted) for wanted in (8, 4, 8)) > 3


def test_without_javascript_the_server_zooms(shown: Exhibit, plain: Page) -> None:
    shown.store(shown.analysis(), box(data=BOX))
    plain.goto(f"{shown.address}?opacity=60")
    plain.get_by_label("One to one").click()
    assert at(plain) == [160, 100, 1] and "opacity=60" in plain.url
    for _ in range(4):
        plain.get_by_label("Zoom in").click()
    place = at(plain)
    assert place and place[2] == pytest.approx(1.5**4, rel=1e-3)
    expect(plain.locator("#zoom-value")).to_have_text("506 %")
    assert plain.locator("#canvas").get_attribute("viewBox") == "61.225 25.918 197.55 148.163"
    plain.get_by_label("Move right").click()
    assert at(plain) == pytest.approx([258.8, 100, 5.062], abs=0.1)
    expect(plain.locator("#overlay .layer")).to_have_attribute("opacity", "0.6")
    plain.get_by_text("Swipe").click()
    plain.get_by_label("Divider").press("Home")
    plain.get_by_role("button", name="Show", exact=True).click()
    assert at(plain) and "divider=0" in plain.url and "view=swipe" in plain.url
    clip = plain.locator("#pane-plain").evaluate("it => getComputedStyle(it).clipPath")
    assert clip == "inset(0px 100% 0px 0px)"
    plain.get_by_label("Fit the image in").click()
    assert at(plain) is None
    assert plain.locator("#canvas").get_attribute("viewBox") == f"0 0 {WIDTH} {HEIGHT}"
