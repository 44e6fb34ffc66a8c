"""Every page in every state: what axe-core finds, what the console says, whether it fits, where the keyboard gets.

One visit of a page serves many questions, so each test asks them all and tells everything that is wrong.
"""

import pytest
from flask import Flask
from playwright.sync_api import Page

from tests.support import inspection
from tests.support.site import NOT_PAGES, STOPS, Stop
from tests.support.visits import Visits

# 640 is a window of 1280 with everything twice as large, 320 the narrowest that WCAG 1.4.10 names
SIZES = ((320, 568), (390, 844), (640, 800), (1280, 800), (1920, 1080))
SCHEMES = ("light", "dark")
ROUND_OF_AXE = (390, 1280)
KEPT = (390, 1280, 1920)  # widths of which pictures are kept
PAGES_OF = ("web", "admin")  # blueprints of pages

every_stop = pytest.mark.parametrize("stop", STOPS, ids=[stop.name for stop in STOPS])


def test_every_page_is_in_the_table(app: Flask) -> None:
    rules = [
        rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(tuple(f"{n}." for n in PAGES_OF))
    ]
    readable = {rule.endpoint for rule in rules if "GET" in (rule.methods or ())}
    visited = {stop.endpoint for stop in STOPS if stop.status < 400}
    assert readable - visited - NOT_PAGES.keys() == set(), "pages that nobody looks at"
    assert NOT_PAGES.keys() <= readable and not NOT_PAGES.keys() & visited
    assert {stop.endpoint for stop in STOPS} - {""} <= {rule.endpoint for rule in rules}
    assert len({stop.name for stop in STOPS}) == len(STOPS)


@pytest.mark.one_database
@every_stop
def test_a_page(visits: Visits, stop: Stop) -> None:
    page = visits.visit(stop)
    wrong = []
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES if width in ROUND_OF_AXE else ("light",):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            wrong += [f"{width} {scheme}: {line}" for line in look(visits, page, stop, width, scheme)]
    wrong += at_ease(visits, page, stop)
    wrong += visits.happened(page)
    assert not wrong, "\n".join([stop.name, *wrong])


def look(visits: Visits, page: Page, stop: Stop, width: int, scheme: str) -> list[str]:
    """A colour scheme changes colours and nothing else, so the rest is asked once."""
    light = scheme == "light"
    if width in KEPT:
        visits.screenshot(page, f"{stop.name}-{scheme}-{width}")
    wrong = [*inspection.layout(page), *inspection.targets(page)] if light else []
    if width in ROUND_OF_AXE:
        wrong += inspection.axe(page, colours_only=not light)
    return wrong


def at_ease(visits: Visits, page: Page, stop: Stop) -> list[str]:
    """For eyes that want large text, forced colours or nothing that moves, and for hands on a keyboard."""
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light", reduced_motion="reduce", forced_colors="active")
    visits.screenshot(page, f"{stop.name}-forced")
    wrong = inspection.moving(page)
    page.emulate_media(reduced_motion="reduce", forced_colors="none")
    wrong += [f"keyboard: {line}" for line in inspection.keyboard(page)]
    before = page.evaluate(inspection.FIRST_HEIGHT)
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    wrong += (
        [] if page.evaluate(inspection.FIRST_HEIGHT) > 1.6 * before else ["the text size is not followed"]
    )
    visits.screenshot(page, f"{stop.name}-large")
    return wrong + [f"large text: {line}" for line in inspection.layout(page)]


@pytest.mark.one_database
@every_stop
def test_a_page_without_javascript(visits: Visits, stop: Stop) -> None:
    page = visits.visit(stop, javascript=False)
    wrong = inspection.layout(page) + inspection.keyboard(page, backwards=False) + visits.happened(page)
    assert not wrong, "\n".join([stop.name, *wrong])
