"""What a browser keeps of the image page of an analysis that has ended, counted by what the server is asked for."""

import json
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from app.models import Image
from tests.factories import picture
from tests.support.browser import Pages, drawn
from tests.support.crowds import crowd
from tests.support.exhibit import Exhibit

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

WIDTH, HEIGHT = 4200, 1100  # large enough to be shown in pieces
PAGE = "/images/<uuid:image_id>"
KEPT = {
    f"{PAGE}/base",
    f"{PAGE}/tiles/<int:level>/<int:column>/<int:row>",
    f"{PAGE}/overlay",
    "/analyses/<uuid:analysis_id>/masks/<int:level>/<int:column>/<int:row>.png",
    "/analyses/<uuid:analysis_id>/tiles/<int(signed=True):level>/<int:column>/<int:row>.png",
}
ARRIVED = "() => Promise.all([...document.querySelectorAll('#canvas image[href]')].map(one => one.decode()))"
Asked = Callable[[], dict[str, set[int]]]


@pytest.fixture
def image(shown: Exhibit) -> Image:
    return shown.world.image(shown.project, "large.jpg", picture(WIDTH, HEIGHT, "JPEG"))


@pytest.fixture
def address(shown: Exhibit, image: Image) -> str:
    """A place on the image, with the boxes of one analysis in tiles, and the masks of another."""
    boxes, masks = crowd(shown.world, image, 20_500), shown.world.analysis(image, "processing")
    counts = [100_000, 40, WIDTH * HEIGHT - 100_040]
    rle = {"format": "rle", "counts": counts, "size": [HEIGHT, WIDTH]}
    shown.store(masks, {"annotation_type": "segmentation", "class_name": "mask", "data": rle})
    shown.finalize(masks)
    return f"/images/{image.id}?analysis={boxes.id}&with={masks.id}&at=2100,550,0.2"


@pytest.fixture
def asked(shown: Exhibit) -> Asked:
    """asked(): the routes the server was asked for since the last time, each with the statuses of its answers."""
    log = shown.server.gunicorn.log
    seen = log.stat().st_size

    def since_then() -> dict[str, set[int]]:
        nonlocal seen
        size = -1
        while size != (size := log.stat().st_size):  # an answer is written down after it was given
            time.sleep(0.3)
        text = log.read_bytes()[seen:]
        seen += len(text)
        routes: dict[str, set[int]] = {}
        for line in (json.loads(line) for line in text.splitlines() if b'"route"' in line):
            routes.setdefault(line["route"], set()).add(line["status"])
        return routes

    return since_then


def visit(page: Page, address: str) -> None:
    """Opens it, looks closer, and leaves."""
    page.goto(address)
    drawn(page)
    with page.expect_response(lambda answer: "/overlay?" in answer.url):
        page.locator("#zoom-full").click()
    drawn(page)
    page.evaluate(ARRIVED)
    page.goto("about:blank")


def sign_out(page: Page) -> None:
    page.locator("#account summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")


def test_a_second_visit_asks_for_the_page_alone(opened: Page, address: str, asked: Asked) -> None:
    visit(opened, address)
    first = asked()
    assert first.keys() >= KEPT and all(first[route] == {200} for route in KEPT)
    visit(opened, address)
    assert asked() == {PAGE: {200}}


@pytest.mark.soak
def test_what_is_kept_for_one_person_is_not_for_the_next(
    shown: Exhibit, pages: Pages, opened: Page, address: str, asked: Asked
) -> None:
    visit(opened, address)
    opened.goto(address)
    piece = opened.locator("#picture").get_attribute("href")
    fetch = "address => fetch(address, { redirect: 'manual' }).then(answer => answer.status)"
    sign_out(opened)
    asked()
    assert opened.evaluate(fetch, piece) == 0, "nobody is sent to the sign-in"
    pages.sign_in(opened, shown.world.person("stranger@example.org"))
    assert opened.evaluate(fetch, piece) == 403
    assert asked()[f"{PAGE}/base"] == {303, 403}
    sign_out(opened)
    pages.sign_in(opened, shown.person)
    asked()
    visit(opened, address)
    again = asked()
    assert again[f"{PAGE}/overlay"] == {304}, "with another cookie it is asked for, and still there"
    visit(opened, address)
    assert f"{PAGE}/overlay" not in asked()
    pages.problems.clear()  # the browser tells of the 403
