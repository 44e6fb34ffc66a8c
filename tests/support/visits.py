"""One open browser for each person, from page to page; it notes whatever a page does that none should."""

import os
from base64 import b64decode
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from playwright.sync_api import Browser, CDPSession, Page, Request, Response

from tests.cast import Person
from tests.support.browser import SCREENSHOTS
from tests.support.stops import Stop

# told at once, as a page that is left takes along whatever it has kept
REPORTS = """
    document.addEventListener("securitypolicyviolation", (it) => window.toldByPolicy(
        `policy: ${it.effectiveDirective} refused ${it.blockedURI} ${it.sample}`));
"""
# Pictures are for eyes and no check, and they take as long as all the checks: `make pictures` wants them.
PICTURES = bool(os.environ.get("TEST_PICTURES"))
# pixels of a page from its top: what comes further down looks like what came before
KEPT_HEIGHT = 3000


class Places(Protocol):
    """Where the stops of a table are, who their people are, and how the browser of each is set up: with which server
    it talks, and what it sends along."""

    def address(self, stop: Stop) -> str: ...
    def person(self, stop: Stop) -> Person | None: ...
    def context(self, who: str) -> dict[str, Any]: ...


class Visits:
    """`noted` is what has happened since the last visit began: messages on the console, exceptions, dialogs, requests
    that failed or went elsewhere."""

    def __init__(self, browser: Browser, site: Places) -> None:
        self.browser, self.site = browser, site
        self.pages: dict[tuple[str, bool], Page] = {}
        self.debuggers: dict[Page, CDPSession] = {}
        self.noted: list[str] = []
        self.waiting: Page | None = None
        self.allowed: tuple[str, ...] = ()

    def visit(self, stop: Stop, *, javascript: bool = True) -> Page:
        """The page of the stop, brought into its state; checks that the server answered as the table says."""
        page = self.page(stop, javascript=javascript)
        if self.waiting is not None:  # for an answer that is held back, until it would complain
            self.waiting.unroute_all()
            self.waiting.goto("about:blank")
        self.waiting = page if stop.scripted else None
        page.set_viewport_size({"width": 1280, "height": 800})
        page.emulate_media(
            media="null", color_scheme="light", reduced_motion="no-preference", forced_colors="none"
        )
        self.noted.clear()
        troubled = stop.lost or stop.status >= 400
        # the browser itself tells of an answer that is an error
        self.allowed = ("console error: Failed to load resource: the server responded",) if troubled else ()
        if not javascript:
            page.goto("about:blank")  # a page that loads itself again must not come in between
        answer = page.goto(self.site.address(stop))
        answer = (stop.act(page) or answer) if stop.act else answer
        assert answer is not None and answer.status == stop.status, f"{stop.name}: {answer and answer.status}"
        page.wait_for_function(
            "() => [...document.images].every((it) => it.complete || it.loading === 'lazy')"
        )
        return page

    def page(self, stop: Stop, *, javascript: bool = True) -> Page:
        """The open page of the stop's person, wherever it is."""
        return self._page(stop.who, self.site.person(stop), javascript)

    def happened(self, page: Page) -> list[str]:
        """What went wrong since the visit began, also on pages that have been left since."""
        page.evaluate("1")  # whatever was told before this has arrived when it is answered
        return [line for line in self.noted if not line.startswith(self.allowed or ("\0",))]

    def screenshot(self, page: Page, name: str) -> None:
        """Of the page down to KEPT_HEIGHT, kept in tests/output/screenshots/ to be looked at; see PICTURES."""
        if not PICTURES:
            return
        if page.locator("#overlay").count():
            page.wait_for_timeout(
                500
            )  # the stage has just got another size, and asks for labels of that size
        width, height = page.evaluate("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, KEPT_HEIGHT), "scale": 1}
        if page not in self.debuggers:
            self.debuggers[page] = page.context.new_cdp_session(page)
        asked = {"format": "png", "optimizeForSpeed": True, "captureBeyondViewport": True, "clip": clip}
        taken = self.debuggers[page].send("Page.captureScreenshot", asked)
        (self.pictures() / f"{name}.png").write_bytes(b64decode(taken["data"]))

    def pictures(self) -> Path:
        """Where they are kept."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        return SCREENSHOTS

    def close(self) -> None:
        for page in self.pages.values():
            page.context.close()

    def _page(self, who: str, person: Person | None, javascript: bool) -> Page:
        if (who, javascript) not in self.pages:
            known = self.pages.get((who, not javascript))
            options = self.site.context(who)
            context = self.browser.new_context(**options, java_script_enabled=javascript)
            context.set_default_timeout(10_000)
            context.expose_function("toldByPolicy", self._note)
            context.add_init_script(REPORTS)
            page = self.pages[who, javascript] = context.new_page()
            self._listen(page, options["base_url"])
            if known is not None:  # the same session, as an account that was slowed down lets nobody in
                context.add_cookies(known.context.cookies())  # type: ignore[arg-type]
            elif person is not None:
                sign_in(page, person)
                page.wait_for_load_state(
                    "networkidle"
                )  # its previews, some of which are broken, belong to no stop
        return self.pages[who, javascript]

    def _listen(self, page: Page, home: str) -> None:
        page.on("console", lambda told: self.noted.append(f"console {told.type}: {told.text}"))
        page.on("pageerror", lambda error: self.noted.append(f"exception: {error}"))
        page.on("dialog", self._note_dialog)
        page.on("request", lambda request: self._note_request(request, home))
        page.on("requestfailed", self._note_failure)

    def _note(self, line: str) -> None:
        self.noted.append(line)

    def _note_dialog(self, dialog: Any) -> None:
        self.noted.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note_request(self, request: Request, home: str) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc != urlsplit(home).netloc:
            self.noted.append(f"a request to elsewhere: {request.url}")

    def _note_failure(self, request: Request) -> None:
        # a page that is left gives up what it was still fetching
        if request.failure != "net::ERR_ABORTED":
            self.noted.append(f"failed: {request.method} {request.url}: {request.failure}")


def sign_in(page: Page, person: Person) -> Response | None:
    page.goto("/sign-in")
    page.fill("input[name=email]", person.email)
    page.fill("input[name=password]", person.password)
    with page.expect_navigation(url=lambda url: "/sign-in" not in url) as answer:
        page.press("input[name=password]", "Enter")
    return answer.value
