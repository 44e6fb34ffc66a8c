"""One page of the viewer in headless Chromium, and what a person would do with it; the page itself keeps the time.

What is counted exactly:

- **opened**: from the start of the navigation until a frame shows the overlay of the whole page.
- **clicked**: from the click, as the browser stamped it, until a frame shows the overlay of what was clicked.
- **settled**: from the last turn of the wheel until a frame shows the last change of the overlay; where nothing had
  to be drawn anew, to the page's own word that the stage has settled.
- **frames**: the times between the frames the page was asked to draw, while the mouse drags, or while the wheel turns.

A frame counts as shown when the overlay is there, all its pictures are decoded, and the browser has rastered it: it
then begins the third frame since (probe.js says how that is forced).
"""

import contextlib
import gzip
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Response

from benchmarks.viewer.frames import frames
from benchmarks.wire import Wrong, expect

PROBE = Path(__file__).with_name("probe.js").read_text()
VIEWPORT: Any = {"width": 1440, "height": 900}
PATIENCE_SECONDS = 120.0
MOVING_SECONDS = 2.0
STEP_SECONDS = 0.012  # between two movements of a mouse
TURN_SECONDS = 0.05  # between two turns of a wheel
IN, OUT = -60, 60  # of a wheel, in pixels


class Looker:
    """Somebody signed in, who can open any number of pages, each in a fresh context: nothing of another is cached."""

    def __init__(self, browser: Browser, url: str, email: str, password: str) -> None:
        self.browser, self.url = browser, url
        context = browser.new_context(base_url=url)
        page = context.new_page()
        page.goto("/sign-in")
        page.fill("input[name=email]", email)
        page.fill("input[name=password]", password)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda address: "/sign-in" not in address)
        self.cookies = context.cookies()
        context.close()

    @contextlib.contextmanager
    def page(self) -> Iterator["Looking"]:
        context = self.browser.new_context(base_url=self.url, viewport=VIEWPORT)
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        context.add_cookies(self.cookies)  # type: ignore[arg-type]  # as they came out
        context.add_init_script(PROBE)
        try:
            yield Looking(context.new_page())
        finally:
            context.close()


class Looking:
    """`answers` are what the server sent, in order."""

    def __init__(self, page: Page) -> None:
        self.page, self.answers = page, list[Response]()
        page.on("response", lambda answer: self.answers.append(answer))
        self.cdp = page.context.new_cdp_session(page)
        self.cdp.send("Performance.enable")

    # --- what a person does ------------------------------------------------------------------------------------

    def open(self, address: str) -> None:
        """Returns when nothing moves any more."""
        answer = self.page.goto(address)
        expect(f"the status of {address}", answer and answer.status, 200)
        self._wait_until_quiet()

    def opened(self, address: str, analysis: str) -> float:
        """Milliseconds."""
        self.open(address)
        return self._painted(analysis, since=0.0)

    def clicked(self, analysis: str) -> float:
        """Milliseconds; chooses the analysis in the panel."""
        self.answers.clear()
        self.page.evaluate("probe.paints.length = 0")
        self.page.click(f"#choose-{analysis}")
        self._wait_until_quiet()
        return self._painted(analysis, since=self.page.evaluate("probe.inputAt"))

    def zoomed(self) -> tuple[dict[str, float], float]:
        """The frames while the wheel turns in, out and in again; milliseconds until all is drawn for the new zoom."""
        self.answers.clear()
        x, y = self._middle()
        self.page.mouse.move(x, y)
        before = self._place()["width"]
        self.page.evaluate("probe.paints.length = 0; probe.settledAt = 0")
        taken = self._moving(
            lambda share: self.page.mouse.wheel(0, OUT if 0.4 < share < 0.6 else IN), TURN_SECONDS
        )
        self._wait_until_quiet()
        expect("whether the wheel zooms in", self._place()["width"] > before, True)
        input_at, settled_at, paints = self.page.evaluate("[probe.inputAt, probe.settledAt, probe.paints]")
        expect("whether the stage said that it settled", settled_at > 0, True)
        self._refuse_failures()
        return taken, round(max([settled_at, *(paint["at"] for paint in paints)]) - input_at, 1)

    def panned(self) -> dict[str, float]:
        """The frames while the mouse drags the image about."""
        self.answers.clear()
        x, y = self._middle()
        before = self._place()
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        # to the left and upwards, back, and so on: never so far that an edge of the image would come
        taken = self._moving(
            lambda share: self.page.mouse.move(x - _back_and_forth(share), y - _back_and_forth(share) / 2),
            STEP_SECONDS,
        )
        moved = self._place() != before
        self.page.mouse.up()
        self._wait_until_quiet()
        expect("whether dragging pans", moved, True)
        return taken

    def _moving(self, move: Callable[[float], Any], pause: float) -> dict[str, float]:
        """Moves for MOVING_SECONDS; `move` takes the share of the time that has gone by."""
        self.page.evaluate("probe.record()")
        started = time.monotonic()
        while (share := (time.monotonic() - started) / MOVING_SECONDS) < 1:
            move(share)
            time.sleep(pause)
        return frames(self.page.evaluate("probe.recorded()"))

    def _middle(self) -> tuple[float, float]:
        box = self.page.locator("#pane-main").bounding_box()
        if box is None:
            raise Wrong("the image page has no pane")
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def _place(self) -> Any:
        return self.page.evaluate("document.getElementById('canvas').getBoundingClientRect().toJSON()")

    # --- what it saw -------------------------------------------------------------------------------------------

    def _wait_until_quiet(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.page.evaluate("probe.isQuiet()"):
            if time.monotonic() > deadline:
                raise Wrong(f"the page did not come to rest within {PATIENCE_SECONDS:.0f} seconds")
            time.sleep(0.05)

    def _painted(self, analysis: str, since: float) -> float:
        self._refuse_failures()
        at = [paint["at"] for paint in self.page.evaluate("probe.paints") if paint["chosen"] == analysis]
        if not at:
            raise Wrong("the analysis that was chosen was never drawn")
        return float(round(at[0] - since, 1))

    def _refuse_failures(self) -> None:
        expect("the pictures of the overlay that did not come", self.page.evaluate("probe.failed"), [])

    # --- what it weighs ----------------------------------------------------------------------------------------

    def nodes(self) -> dict[str, int]:
        """Elements of the page, those among them that are drawn, and its labels."""
        counts = {
            "page": "*",
            "canvas": "#canvas *",
            "labels": "#label-layer text",
            "tiles": "#overlay image",
        }
        script = "all => all.map(one => document.querySelectorAll(one).length)"
        return dict(zip(counts, self.page.evaluate(script, list(counts.values())), strict=True))

    def heap_bytes(self) -> int:
        """Of JavaScript, garbage not counted."""
        self.cdp.send("HeapProfiler.collectGarbage")
        found = self.cdp.send("Performance.getMetrics")["metrics"]
        return int(next(one["value"] for one in found if one["name"] == "JSHeapUsedSize"))

    def weights(self) -> dict[str, int]:
        """Bytes that came since the last movement: text as the server sends it and as nginx would pack it, tiles."""
        found = {"text": 0, "text_gzip": 0, "pictures": 0, "picture_count": 0}
        for answer in self.answers:
            kind = answer.headers.get("content-type", "")
            body = answer.body() if answer.status == 200 else b""
            if kind.startswith("text/html"):
                found["text"] += len(body)
                found["text_gzip"] += len(gzip.compress(body, 6))
            elif kind.startswith("image/"):
                found["pictures"] += len(body)
                found["picture_count"] += 1
        return found


def _back_and_forth(share: float) -> float:
    """Pixels: 200 and back, four times."""
    return 200 * (1 - abs(share * 8 % 2 - 1))
