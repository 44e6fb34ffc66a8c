"""Very many annotations in a real browser: the page stays as small as it was, and says what it draws."""

import re

import pytest
from playwright.sync_api import Page, expect

from app.overlay.labels import MAX_LABELS
from tests.conftest import LiveServer
from tests.factories import picture
from tests.support.browser import Pages, drawn
from tests.support.crowds import crowd

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

WIDTH, HEIGHT = 1600, 1200
BUDGET = 2000  # annotations with an element each, at the most
EACH = 4  # elements: the group, its title, the outline, the dark one under it
ROWS = 200  # of the table
# what is drawn at the most, whatever was received: shapes, labels (a group, a plate, a text), what holds them
LARGEST_DRAWING = BUDGET * EACH + MAX_LABELS * 3 + 100
LARGEST_PAGE = LARGEST_DRAWING + ROWS * 12 + 1000
OVERLAPS = """() => {
    const plates = [...document.querySelectorAll("#label-layer .tag rect")].map(one => one.getBBox());
    const before = (a, b) => a.x + a.width <= b.x || a.y + a.height <= b.y;
    const apart = (a, b) => before(a, b) || before(b, a);
    return plates.flatMap((one, n) => plates.slice(n + 1).filter(other => !apart(one, other))).length;
}"""


@pytest.fixture
def looking(live_server: LiveServer, pages: Pages) -> Page:
    """Signed in as somebody who may see all projects made here."""
    return pages.sign_in(pages.open(), live_server.world.person("viewer@example.org", role="admin"))


@pytest.mark.parametrize(
    "count", [2_001, *(pytest.param(more, marks=pytest.mark.soak) for more in (10_000, 25_000))]
)
def test_the_page_stays_small_and_tells_all(live_server: LiveServer, looking: Page, count: int) -> None:
    world = live_server.world
    image = world.image(world.project("Streets"), "street.png", picture(WIDTH, HEIGHT))
    crowd(world, image, count)
    looking.goto(f"/images/{image.id}")
    looking.wait_for_load_state("networkidle")

    drawing, page = (number_of(looking, selector) for selector in ("#canvas *", "*"))
    assert 0 < drawing <= LARGEST_DRAWING
    assert page <= LARGEST_PAGE
    labels = number_of(looking, "#label-layer text")
    assert 0 < labels <= MAX_LABELS
    assert looking.evaluate(OVERLAPS) == 0
    assert told(looking, "received") == count
    assert told(looking, "drawn") + told(looking, "hidden") == count
    assert legend(looking) == count


def test_the_switch_hides_them_all_and_says_so(live_server: LiveServer, looking: Page) -> None:
    world = live_server.world
    image = world.image(world.project("Streets"), "street.png", picture(WIDTH, HEIGHT))
    crowd(world, image, 2_001)
    looking.goto(f"/images/{image.id}?boxes=0")
    looking.wait_for_load_state("networkidle")
    assert (told(looking, "received"), told(looking, "drawn"), told(looking, "hidden")) == (2_001, 0, 2_001)
    assert "by boxes switched off" in looking.locator("#statusline").inner_text()
    assert not looking.locator("#shapes").is_visible()


@pytest.mark.soak
@pytest.mark.parametrize("count", [100_000, 1_000_000])
def test_they_open_as_tiles_and_who_comes_near_finds_each(
    live_server: LiveServer, looking: Page, count: int
) -> None:
    world = live_server.world
    image = world.image(world.project("Streets"), "street.png", picture(4000, 3000))
    crowd(world, image, count)
    looking.goto(f"/images/{image.id}")
    drawn(looking)
    check_numbers(looking, count)
    tiles, items = looking.locator("#shapes .tile"), looking.locator("#shapes .item")
    assert tiles.count() and not items.count() and looking.evaluate(TILES_CAME)
    assert (told(looking, "drawn"), legend(looking)) == (count, count)

    looking.locator("#stage").focus()
    for _ in range(10):
        looking.keyboard.press("+")
    expect(items).not_to_have_count(0)
    drawn(looking)
    check_numbers(looking, count)
    assert tiles.count() == 0 and told(looking, "drawn") == items.count() <= BUDGET
    before, seen = items.first.get_attribute("id"), looking.locator("#overlay").get_attribute("data-window")
    drag(looking, 300, 200, times=6)
    expect(looking.locator("#overlay")).not_to_have_attribute("data-window", seen or "")
    drawn(looking)
    check_numbers(looking, count)
    expect(looking.locator(f"#{before}")).to_have_count(0)

    x, y = looking.evaluate(MIDDLE)
    looking.mouse.click(x, y)
    picked = looking.locator("#picked section")
    expect(picked).to_be_visible()
    row = looking.locator(f"#r-{picked.get_attribute('data-pick')}")
    expect(row.locator("a")).to_have_attribute("aria-current", "true")
    expect(row).to_be_in_viewport()


# every tile is there, can be decoded, and is of the size that fits its place
TILES_CAME = """() => Promise.all([...document.querySelectorAll("#shapes .tile")].map(async (tile) => {
    await tile.decode();
    const picture = await createImageBitmap(await (await fetch(tile.href.baseVal)).blob());
    return picture.width * tile.height.baseVal.value === picture.height * tile.width.baseVal.value;
})).then((all) => all.every(Boolean))"""
# of a box that is seen whole, on the screen
MIDDLE = """() => {
    const stage = document.querySelector("#pane-main .frame").getBoundingClientRect();
    for (const shape of document.querySelectorAll("#shapes .shape")) {
        const { left, top, right, bottom } = shape.getBoundingClientRect();
        if (left > stage.left + 60 && top > stage.top + 60 && right < stage.right - 60 && bottom < stage.bottom - 60)
            return [(left + right) / 2, (top + bottom) / 2];
    }
}"""


def check_numbers(page: Page, count: int) -> None:
    """The page is small, and every annotation is told of once."""
    assert number_of(page, "#canvas *") <= LARGEST_DRAWING and number_of(page, "*") <= LARGEST_PAGE
    assert told(page, "received") == count == told(page, "drawn") + told(page, "hidden")


def drag(page: Page, right: int, down: int, *, times: int) -> None:
    stage = page.locator("#panes").bounding_box()
    assert stage
    for _ in range(times):
        page.mouse.move(stage["x"] + 100, stage["y"] + 100)
        page.mouse.down()
        page.mouse.move(stage["x"] + 100 + right, stage["y"] + 100 + down, steps=3)
        page.mouse.up()


def number_of(page: Page, selector: str) -> int:
    return int(page.evaluate("selector => document.querySelectorAll(selector).length", selector))


def told(page: Page, what: str) -> int:
    """The number that the line under the image gives before this word."""
    text = page.locator("#statusline").inner_text()
    found = re.search(rf"([\d,]+)\s+{what}\b", text)
    assert found, f"the line under the image does not say what was {what}: {text}"
    return int(found[1].replace(",", ""))


def legend(page: Page) -> int:
    """The sum over the classes."""
    counts = page.locator(".legend .num").all_inner_texts()
    return sum(int(count.replace(",", "")) for count in counts)
