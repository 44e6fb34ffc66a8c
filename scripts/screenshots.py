#!/usr/bin/env python3
"""Pictures of every page of a running Loupe: light, dark, on a phone and without JavaScript.

    python scripts/screenshots.py FOLDER

What is to be seen is up to the server. Settings come from the environment:
  LOUPE_URL        http://127.0.0.1:8000
  LOUPE_EMAIL      an account, admin@loupe.example
  LOUPE_PASSWORD   its password
  LOUPE_PROJECT    the name of the project to show, Demo
Needs requirements-dev.txt and Chromium.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
ANALYSES_EACH = 6  # of one image


@dataclass(frozen=True)
class Look:
    """One way of looking at everything: the options of a Playwright context."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
LOOKS = (
    Look("light", {"viewport": DESK, "color_scheme": "light"}),
    Look("dark", {"viewport": DESK, "color_scheme": "dark"}),
    Look("wide", {"viewport": {"width": 1920, "height": 1080}, "color_scheme": "light"}),
    Look("phone", {"viewport": PHONE, "color_scheme": "light", "device_scale_factor": 2, "has_touch": True}),
    Look(
        "phone-dark", {"viewport": PHONE, "color_scheme": "dark", "device_scale_factor": 2, "has_touch": True}
    ),
    Look("plain", {"viewport": DESK, "color_scheme": "light", "java_script_enabled": False}),
)


def main(folder: Path) -> int:
    chromium = next(filter(None, map(shutil.which, NAMES)), None)
    if chromium is None:
        print("There is no Chromium on the path.", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for look in LOOKS:
            for name, page in pages(browser, look):
                page.wait_for_load_state("networkidle")
                page.screenshot(path=folder / f"{name}-{look.name}.png")
        browser.close()
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")
    return 0


def pages(browser: Browser, look: Look) -> Iterator[tuple[str, Page]]:
    """Every page with its name, opened one after the other in one tab."""
    context = browser.new_context(
        base_url=os.environ.get("LOUPE_URL", "http://127.0.0.1:8000"), **look.options
    )
    page = context.new_page()
    page.goto("/sign-in")
    yield "sign-in", page
    sign_in(page, "not the password")
    yield "sign-in-refused", page
    sign_in(page, os.environ["LOUPE_PASSWORD"])
    yield "projects", page
    page.goto("/account")
    yield "account", page
    page.goto("/nowhere")
    yield "error", page
    page.goto("/")
    page.locator("a.card", has_text=os.environ.get("LOUPE_PROJECT", "Demo")).first.click()
    gallery = page.url
    yield "gallery", page
    page.goto(f"{gallery}?q=nothing-is-called-this")
    yield "gallery-no-match", page
    page.goto(f"{gallery}/members")
    yield "members", page
    page.goto(gallery)
    yield from images(page)
    context.close()


def sign_in(page: Page, password: str) -> None:
    page.fill("#email", os.environ.get("LOUPE_EMAIL", "admin@loupe.example"))
    page.fill("#password", password)
    page.click("main button")
    page.wait_for_load_state()


def images(page: Page) -> Iterator[tuple[str, Page]]:
    addresses = [card.get_attribute("href") or "" for card in page.locator("#images a.card").all()]
    for number, address in enumerate(addresses, 1):
        page.goto(address)
        yield f"image-{number}", page
        chosen = [link.get_attribute("href") or "" for link in page.locator("#panel a").all()]
        for place, choice in enumerate(chosen[1:ANALYSES_EACH], 2):
            page.goto(choice)
            yield f"image-{number}-analysis-{place}", page
        page.goto(f"{address}?view=side&opacity=60")
        yield f"image-{number}-side", page


if __name__ == "__main__":
    if len(sys.argv) != 2 or "LOUPE_PASSWORD" not in os.environ:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
