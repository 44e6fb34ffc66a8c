"""Every page in every state: what axe-core finds, what the console says, whether it fits, where the keyboard gets.

One visit of a page serves many questions, so each test asks them all and tells everything that is wrong.
"""

import pytest
from flask import Flask
from playwright.sync_api import Page

from tests.support import inspection
from tests.support.stops import NOT_PAGES, STOPS, Stop, pages_of
from tests.support.visits import Visits

# 640 is a window of 1280 with everything twice as large, 320 the narrowest that WCAG 1.4.10 names
SIZES = ((320, 568), (390, 844), (640, 800), (1280, 800), (1920, 1080))
ROUND_OF_AXE = (
    390,
    1280,
)  # widths at which every rule is asked, and the widest of them in every run of the tests
KEPT = (390, 1280, 1920)  # widths of which pictures are kept, light and dark
PLAIN_SIZES = ((390, 844), (1280, 800))  # of which pictures are kept without JavaScript
LARGE = ((390, 844), (1280, 800))  # where text is also made twice as large

PLAIN = [stop for stop in STOPS if not stop.scripted]
# each page in its first state with `make test`, in all of them with `make soak`
FIRST = list({stop.endpoint: stop for stop in reversed(STOPS) if not stop.long}.values())
every_stop = pytest.mark.parametrize(
    "stop",
    [pytest.param(stop, marks=[] if stop in FIRST else [pytest.mark.soak], id=stop.name) for stop in STOPS],
)


def test_every_page_is_in_the_table(app: Flask) -> None:
    readable = pages_of(app)
    visited = {stop.endpoint for stop in STOPS if stop.status < 400}
    assert readable - visited - NOT_PAGES.keys() == set(), "pages that nobody looks at"
    assert NOT_PAGES.keys() <= readable and not NOT_PAGES.keys() & visited
    assert {stop.endpoint for stop in STOPS} - {""} <= {rule.endpoint for rule in app.url_map.iter_rules()}
    assert len({stop.name for stop in STOPS}) == len(STOPS)
    assert {stop.like for stop in STOPS} - {""} <= {stop.name for stop in STOPS}


@pytest.mark.one_database
@every_stop
def test_a_page(visits: Visits, stop: Stop) -> None:
    page = visits.visit(stop)
    wrong = []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        if width in KEPT:
            visits.screenshot(page, f"{stop.name}-light-{width}")
        wrong += [f"{width}: {line}" for line in [*inspection.layout(page), *inspection.targets(page)]]
        if width == max(ROUND_OF_AXE) and not stop.like:
            wrong += [f"{width}: {line}" for line in inspection.axe(page)]
    wrong += at_ease(visits, page, stop)
    wrong += visits.happened(page)
    assert not wrong, "\n".join([stop.name, *wrong])


@pytest.mark.soak
@pytest.mark.one_database
@pytest.mark.parametrize("stop", STOPS, ids=[stop.name for stop in STOPS])
def test_a_page_in_the_dark_and_by_the_keyboard(visits: Visits, stop: Stop) -> None:
    """And by every rule of axe-core at the other width."""
    page = visits.visit(stop)
    wrong, met = [], set[str]()
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        if width in ROUND_OF_AXE and width != max(ROUND_OF_AXE) and not stop.like:
            wrong += [f"{width}: {line}" for line in inspection.axe(page)]
        if width in KEPT:
            wrong += [f"{width} dark: {line}" for line in in_the_dark(visits, page, stop, width, met)]
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    wrong += [] if stop.like else [f"keyboard: {line}" for line in inspection.keyboard(page)]
    wrong += visits.happened(page)
    assert not wrong, "\n".join([stop.name, *wrong])


def in_the_dark(visits: Visits, page: Page, stop: Stop, width: int, met: set[str]) -> list[str]:
    """A colour scheme changes colours and nothing else, so nothing else is asked; and not of the same colours twice."""
    page.emulate_media(color_scheme="dark")
    visits.screenshot(page, f"{stop.name}-dark-{width}")
    colours = inspection.colours(page)
    wrong = [] if colours in met or stop.like else inspection.axe(page, colours_only=True)
    met.add(colours)
    page.emulate_media(color_scheme="light")
    return wrong


def at_ease(visits: Visits, page: Page, stop: Stop) -> list[str]:
    """For eyes that want large text, forced colours or nothing that moves."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light", reduced_motion="reduce", forced_colors="active")
    visits.screenshot(page, f"{stop.name}-forced")
    wrong = inspection.moving(page)
    page.emulate_media(reduced_motion="reduce", forced_colors="none")
    return wrong + in_large_text(visits, page, stop)


def in_large_text(visits: Visits, page: Page, stop: Stop) -> list[str]:
    before = page.evaluate(inspection.FIRST_HEIGHT)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    followed = page.evaluate(inspection.FIRST_HEIGHT) > 1.6 * before
    wrong = [] if followed else ["the text size is not followed"]
    for width, height in LARGE:
        page.set_viewport_size({"width": width, "height": height})
        visits.screenshot(page, f"{stop.name}-large-{width}")
        wrong += [f"{width} large text: {line}" for line in inspection.layout(page)]
    return wrong


@pytest.mark.soak
@pytest.mark.one_database
@pytest.mark.parametrize("stop", PLAIN, ids=[stop.name for stop in PLAIN])
def test_a_page_without_javascript(visits: Visits, stop: Stop) -> None:
    page = visits.visit(stop, javascript=False)
    for width, height in PLAIN_SIZES:
        page.set_viewport_size({"width": width, "height": height})
        visits.screenshot(page, f"{stop.name}-plain-{width}")
    wrong = inspection.layout(page) + visits.happened(page)
    wrong += [] if stop.like else inspection.keyboard(page, scripted=False)
    assert not wrong, "\n".join([stop.name, *wrong])


@pytest.mark.one_database
def test_what_happened_before_a_page_was_left_is_told(visits: Visits) -> None:
    """That there was nothing to tell of is worth as much as this."""
    page = visits.visit(STOPS[0])
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('style'), {textContent: '*{top:0}'}))"
    )
    page.goto("/reference")
    assert any(line.startswith("policy: style-src-elem refused inline") for line in visits.happened(page))
