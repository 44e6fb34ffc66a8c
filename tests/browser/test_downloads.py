"""A view that was taken away, in a real browser: the drawing opens by itself, and the picture shows the same."""

import io
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image as Picture
from playwright.sync_api import Page

from tests.factories import gradient
from tests.steps import box
from tests.support.browser import SCREENSHOTS, Pages, drawn
from tests.support.exhibit import RLE, Exhibit
from tests.support.site import Site

pytestmark = [pytest.mark.one_database, pytest.mark.soak]


def test_a_drawing_opens_by_itself_and_a_picture_shows_the_same(
    shown: Exhibit, opened: Page, pages: Pages, tmp_path: Path
) -> None:
    analysis = shown.analysis()
    heat = Site.upload(shown, analysis, "heatmap", gradient(32, 20))  # type: ignore[arg-type]
    shown.store(
        analysis,
        box(
            class_name="leaf <b>&",
            confidence=0.9,
            data={"x_min": 80, "y_min": 50, "x_max": 240, "y_max": 150},
        ),
        RLE,
        {
            "annotation_type": "heatmap",
            "storage_path": heat,
            "data": {"width": 32, "height": 20, "vmin": 0, "vmax": 40, "unit": "°C"},
        },
    )
    shown.finalize(analysis)
    opened.goto(f"{shown.address}?opacity=80")
    taken = {}
    for kind in ("svg", "png"):
        opened.locator("#export > summary").click()
        with opened.expect_download() as waiting:
            opened.locator(f"#take-{kind}").click()
        taken[kind] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(taken[kind])
        assert "opacity=80" in waiting.value.url

    picture = Picture.open(taken["png"]).convert("RGB")
    page = pages.open(width=picture.width, height=picture.height, java_script_enabled=False)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(taken["svg"].as_uri())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    seen = page.screenshot(path=SCREENSHOTS / "downloaded-view.png")
    picture.save(SCREENSHOTS / "downloaded-picture.png")
    assert [url for url in asked if not url.startswith("data:")] == [taken["svg"].as_uri()]

    drawing = Picture.open(io.BytesIO(seen)).convert("RGB")
    assert drawing.size == picture.size
    places = [(x, y) for x in range(30, 1200, 39) for y in range(30, 700, 37)]
    near = [_apart(drawing.getpixel(place), picture.getpixel(place)) <= 8 for place in places]
    assert sum(near) >= 0.98 * len(near)  # letters and edges are smoothed otherwise


def test_what_is_taken_away_is_what_is_in_view(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box())
    opened.goto(shown.address)
    drawn(opened)
    for x in (200, 40):
        opened.evaluate("x => window.stage.show({x, y: 100, width: 4, height: 4})", x)
        opened.wait_for_url(re.compile(rf"at={x + 2},102,"))
        drawn(opened)
        box_in_view = opened.evaluate("Object.values(window.stage.region().box)")
        for kind in ("svg", "png"):
            opened.locator("#export > summary").click()
            with opened.expect_download() as waiting:
                opened.locator(f"#take-{kind}").click()
            (asked,) = parse_qs(urlsplit(waiting.value.url).query)["box"]
            assert [float(part) for part in asked.split(",")] == pytest.approx(box_in_view, abs=0.06)
        opened.get_by_label("Labels").uncheck()  # what else changes the links leaves it


def _apart(one: object, other: object) -> int:
    assert isinstance(one, tuple) and isinstance(other, tuple)
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
