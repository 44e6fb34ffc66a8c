"""A large photograph in a real browser: little is fetched, sharp is what is looked at, all lies in its place."""

import io
import re

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageDraw
from playwright.sync_api import Page, expect

from app.models import Analysis, Image
from tests.steps import box
from tests.support.browser import Pages, drawn, held
from tests.support.exhibit import Exhibit

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

WIDTH, HEIGHT = 6000, 4500
MARK = (4093, 3067, 4103, 3077)  # ten pixels, over a corner where four tiles meet
GREY, RED = (128, 128, 128), (230, 20, 20)


@pytest.fixture(scope="module")
def photograph() -> bytes:
    picture = Picture.new("RGB", (WIDTH, HEIGHT), GREY)
    x0, y0, x1, y1 = MARK
    ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), RED)
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


@pytest.fixture
def large(shown: Exhibit, photograph: bytes) -> Image:
    return shown.world.image(shown.project, "large.png", photograph)


@pytest.fixture
def analysis(shown: Exhibit, large: Image) -> Analysis:
    analysis = shown.world.analysis(large, "processing")
    x0, y0, x1, y1 = MARK
    shown.store(analysis, box(data={"x_min": x0, "y_min": y0, "x_max": x1, "y_max": y1}))
    shown.finalize(analysis)
    return analysis


def look_at(page: Page, x: float, y: float, width: float) -> None:
    """Brings a part of the image onto the whole stage, as a zoomed page does."""
    page.evaluate(
        """([x, y, width]) => {
            const canvas = document.getElementById("canvas");
            canvas.style.imageRendering = "pixelated";
            canvas.style.transform = "none";
            canvas.style.width = canvas.style.height = "100%";
            const { clientWidth, clientHeight } = canvas;
            canvas.setAttribute("viewBox", `${x} ${y} ${width} ${width * clientHeight / clientWidth}`);
        }""",
        [x, y, width],
    )


def arrived(page: Page) -> None:
    """All pictures are there, and painted."""
    page.evaluate(
        """() => Promise.all([...document.querySelectorAll("#canvas image[href]")].map(i => i.decode()))"""
    )
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def canvas_pixels(page: Page) -> np.ndarray:
    shot = page.locator("#canvas").screenshot()
    return np.asarray(Picture.open(io.BytesIO(shot)).convert("RGB")).astype(int)


def test_little_is_fetched_until_somebody_looks_closer(
    opened: Page, pages: Pages, large: Image, analysis: Analysis
) -> None:
    sizes: dict[str, int] = {}
    opened.on("response", lambda answer: sizes.update({answer.url: len(answer.body())}))
    opened.goto(f"/images/{large.id}")
    expect(opened.locator("#stage")).to_have_attribute("data-picture", "")
    opened.wait_for_load_state("networkidle")
    assert sum(sizes.values()) < 1_000_000
    assert not [url for url in sizes if "/content" in url or "/tiles/" in url]
    opened.goto(f"/images/{large.id}?at=4098,3072,1")
    arrived(opened)
    drawn(opened)
    middle = opened.locator("#pane-main .frame").bounding_box()
    assert middle
    opened.mouse.move(middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2)
    expect(opened.locator("#where")).to_contain_text("x ")  # the tiles are not in the way of the pointer
    tiles = sorted(url for url in sizes if "/tiles/" in url)
    assert tiles and all(re.search(r"/tiles/0/\d/\d\?v=[0-9a-f]{16}$", url) for url in tiles)
    sizes.clear()
    opened.reload()
    arrived(opened)
    sent = opened.evaluate(
        """() => performance.getEntriesByType("resource").filter(entry => entry.name.includes("/tiles/"))
            .reduce((sum, entry) => sum + entry.transferSize, 0)"""
    )
    assert sent == 0, "a browser keeps tiles"


@pytest.mark.parametrize("scale", [pytest.param(8.0, marks=pytest.mark.soak), 13.37])
def test_a_box_sits_on_its_feature_and_no_seam_is_seen(
    opened: Page, pages: Pages, large: Image, analysis: Analysis, scale: float
) -> None:
    opened.goto(f"/images/{large.id}?at=4098,3072,1&labels=0")
    drawn(opened)
    opened.evaluate("document.getElementById('overlay').remove()")
    opened.evaluate("document.getElementById('outline').remove()")
    opened.evaluate("document.querySelectorAll('.edge').forEach((button) => button.remove())")
    width = opened.locator("#pane-main .frame").evaluate("frame => frame.clientWidth")
    height = opened.locator("#pane-main .frame").evaluate("frame => frame.clientHeight")
    x, y = 4098.3 - width / scale / 2, 3072.7 - height / scale / 2
    look_at(opened, x, y, width / scale)
    arrived(opened)
    pixels = canvas_pixels(opened)
    red = pixels[..., 0] - pixels[..., 1] > 105
    rows, columns = np.nonzero(red.any(axis=1))[0], np.nonzero(red.any(axis=0))[0]
    found = (
        columns[0] / scale + x,
        rows[0] / scale + y,
        (columns[-1] + 1) / scale + x,
        (rows[-1] + 1) / scale + y,
    )
    assert found == pytest.approx(MARK, abs=1.5 / scale + 0.1)
    pages.screenshot(opened, f"large-picture-{scale:g}")
    inside = pixels[rows[0] + 4 : rows[-1] - 4, columns[0] + 4 : columns[-1] - 4]
    assert np.abs(inside - RED).max() <= 26, (
        "a seam goes through the mark"
    )  # JPEG itself is off by up to 23 here
    right = pixels[rows[0] : rows[-1], columns[-1] + int(20 * scale) :]
    assert np.abs(right - GREY).max() <= 6, "a seam goes through what is even"


def test_other_tiles_are_swapped_in_out_of_band(opened: Page, large: Image) -> None:
    opened.goto(f"/images/{large.id}?at=500,500,1")
    tiles = opened.locator("#picture-tiles")
    markup = tiles.evaluate("tiles => tiles.outerHTML").replace("<svg ", '<svg hx-swap-oob="true" ', 1)
    opened.goto(f"/images/{large.id}")
    expect(tiles.locator("image")).to_have_count(0)
    opened.route("**/elsewhere", lambda route: route.fulfill(body=markup, content_type="text/html"))
    opened.evaluate("() => htmx.ajax('GET', '/elsewhere', { target: '#announcer', swap: 'innerHTML' })")
    expect(tiles.locator("image")).not_to_have_count(0)
    arrived(opened)
    assert tiles.evaluate("tiles => tiles.parentElement.id") == "canvas"
    assert tiles.locator("image").first.evaluate("image => image instanceof SVGImageElement")
    assert tiles.evaluate("tiles => tiles.previousElementSibling.id") == "picture"


def test_a_filter_draws_the_picture_where_one_looks_by_then(
    opened: Page, large: Image, analysis: Analysis
) -> None:
    opened.goto(f"/images/{large.id}?at=500,500,1")
    drawn(opened)
    look = re.compile(r"/overlay\?(?!.*table=1)")
    with held(opened, look):
        with opened.expect_request(look):
            opened.evaluate("window.stage.show({x: 4090, y: 3060, width: 20, height: 20})")
        opened.get_by_label("Hide what has no class").check()
    expect(opened.locator("#statusline")).to_contain_text("class switched off")
    x0, y0, x1, y1 = MARK
    around = opened.locator("#picture-tiles image").evaluate_all(
        """(tiles, [x, y]) => tiles.map(tile => [tile.x, tile.y, tile.width, tile.height].map(it => it.baseVal.value))
            .filter(([left, top, width, height]) => left <= x && top <= y && x < left + width && y < top + height)""",
        [(x0 + x1) / 2, (y0 + y1) / 2],
    )
    assert around
