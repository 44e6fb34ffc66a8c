"""A real browser: the system's Chromium, driven by Playwright."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Response, Route, sync_playwright

WITH_WINDOWS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NAMES = ("chromium-headless-shell", *WITH_WINDOWS)  # the first opens a page in a fifth of the time
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
SCREENSHOTS = Path(__file__).resolve().parents[1] / "output" / "screenshots"


def executable(names: Iterable[str] = NAMES) -> str | None:
    """Where Chromium is: TEST_CHROMIUM, else the first of these names on the path."""
    return os.environ.get("TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@contextlib.contextmanager
def launched(path: str) -> Iterator[Browser]:
    playwright: Playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def drawn(page: Page) -> None:
    """When what is drawn is what the stage wants at its size and place, and no answer will change it any more."""
    page.wait_for_load_state("networkidle")
    page.wait_for_function(
        """() => { const drawn = document.getElementById("overlay")?.dataset.drawnAt;
            return !drawn || Math.abs(Math.log(window.stage.region().zoom / drawn)) < Math.log(1.2); }"""
    )


def poll(page: Page) -> Response:
    """The panel asks again, on a page whose clock is installed: 8 seconds go by at once."""
    drawn(page)  # while the drawing is asked for, no poll is sent
    with page.expect_response(lambda answer: "/panel" in answer.url) as told:
        page.clock.fast_forward(8100)
    page.clock.run_for(50)
    return told.value


@contextlib.contextmanager
def held(page: Page, address: re.Pattern[str]) -> Iterator[None]:
    """Requests for such addresses do not leave the browser before the block ends, as if the server were slow."""
    waiting: list[Route] = []
    page.route(address, lambda route: waiting.append(route))
    yield
    for route in waiting:
        route.continue_()
    page.unroute(address)


class Pages:
    """Opens pages, each in its own context, and remembers what went wrong in any of them.

    `problems` are errors on the console, exceptions of scripts and refusals by the Content-Security-Policy; the
    fixture fails a test that leaves any. A test that expects some removes them: `pages.problems.clear()`.
    """

    def __init__(self, browser: Browser, base_url: str) -> None:
        self.browser = browser
        self.base_url = base_url
        self.contexts: list[BrowserContext] = []
        self.problems: list[str] = []

    def open(self, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        """`options` are those of a Playwright context: java_script_enabled=False, color_scheme="dark", …"""
        viewport = {"width": width, "height": height}
        context = self.browser.new_context(base_url=self.base_url, viewport=viewport, **options)  # type: ignore[arg-type]
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        return page

    def sign_in(self, page: Page, person: Any) -> Page:
        """Through the form, as a person does."""
        page.goto("/sign-in")
        page.fill("input[name=email]", person.email)
        page.fill("input[name=password]", person.password)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "/sign-in" not in url)
        return page

    def screenshot(self, page: Page, name: str) -> Path:
        """Kept in tests/output/screenshots/, to be looked at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        page.screenshot(path=path)
        return path

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def _note_console(self, message: Any) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location['url']})")
