"""Signing in, projects and uploading in a real browser. What is asked of every page is in test_site.py."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.cast import Person
from tests.conftest import LiveServer
from tests.factories import picture
from tests.support.browser import Pages

pytestmark = pytest.mark.one_database


@pytest.fixture
def person(live_server: LiveServer) -> Person:
    return live_server.world.person("owner@example.org")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two images and something else."""
    made = [tmp_path / "oak.png", tmp_path / "ash.jpg", tmp_path / "notes.png"]
    for path, content in zip(made, (picture(), picture(kind="JPEG"), b"not an image"), strict=True):
        path.write_bytes(content)
    return made


@pytest.mark.parametrize("javascript", [True, pytest.param(False, marks=pytest.mark.soak)])
def test_from_the_sign_in_to_the_first_image(
    pages: Pages, person: Person, files: list[Path], javascript: bool
) -> None:
    page = pages.sign_in(pages.open(java_script_enabled=javascript), person)
    page.get_by_label("Name").fill("Leaves")
    page.get_by_role("button", name="Create project").click()
    expect(page.get_by_text("No images yet")).to_be_visible()
    page.wait_for_load_state()  # the script that takes the files comes after the text
    page.locator("input[type=file]").set_input_files(files[:2])
    if not javascript:
        page.get_by_role("button", name="Upload").click()
    expect(page.locator("#images .card")).to_have_count(2)
    page.get_by_label("Search file names").fill("oak")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#images .card")).to_have_count(1)
    page.get_by_role("link", name=re.compile("oak.png")).click()
    expect(page.locator("#picture")).to_be_visible()
    page.goto("/")
    page.get_by_label("Account").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_files_are_dropped_with_their_progress_and_their_refusal(
    live_server: LiveServer, pages: Pages, person: Person, files: list[Path]
) -> None:
    project = live_server.world.project("Leaves", owner=person)
    page = pages.sign_in(pages.open(), person)
    page.goto(f"/projects/{project.id}")
    page.evaluate(
        """async (bytes) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], "dropped.png", {type: "image/png"}));
            carried.items.add(new File(["nothing"], "notes.png", {type: "image/png"}));
            for (const name of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(
                    new DragEvent(name, {dataTransfer: carried, bubbles: true, cancelable: true}));
        }""",
        list(picture()),
    )
    uploads = page.locator("#uploads li")
    expect(uploads).to_have_count(2)
    expect(uploads.nth(0)).to_contain_text("uploaded")
    expect(uploads.nth(1)).to_have_text("notes.pngrefusedthis is not a JPEG, PNG, WebP or TIFF image")
    expect(page.locator("#images .card")).to_have_count(1)
    lined_up = uploads.locator("output").evaluate_all(
        "all => all.map((it) => it.getBoundingClientRect().right)"
    )
    assert lined_up[0] == lined_up[1]
    pages.screenshot(page, "uploads")
    carried = page.evaluate(
        """() => {
            const text = new DataTransfer();
            text.setData("text/plain", "no file");
            const told = new DragEvent("dragover", {dataTransfer: text, bubbles: true, cancelable: true});
            document.body.dispatchEvent(told);
            return [told.defaultPrevented, document.querySelector("#drop").classList.contains("over")];
        }"""
    )
    assert carried == [False, False], "a text that is dragged is none of ours"
    page.locator("input[type=file]").set_input_files(files[0])
    expect(uploads).to_have_count(1)  # the batch before has made room
    expect(uploads).to_contain_text("oak.png")
    expect(page.locator("#images .card")).to_have_count(2)
    pages.problems.clear()  # the browser tells of the 422


def test_a_running_analysis_ends_in_the_gallery_too(
    live_server: LiveServer, pages: Pages, person: Person
) -> None:
    world = live_server.world
    project = world.project("Leaves", owner=person)
    analysis = world.analysis(world.image(project), "processing")
    page = pages.sign_in(pages.open(), person)
    page.clock.install()
    page.goto(f"/projects/{project.id}")
    expect(page.locator(".badge.processing")).to_be_visible()
    answer = live_server.pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    assert answer.status_code == 200
    with page.expect_response(re.compile("version=")):
        page.clock.fast_forward(8100)
    page.clock.run_for(50)
    expect(page.locator("#images .badge.completed")).to_be_visible()


def test_a_long_description_shows_its_beginning_and_all_of_it_when_asked(
    live_server: LiveServer, pages: Pages, person: Person
) -> None:
    project = live_server.world.project("Leaves", owner=person, description="A leaf, and another. " * 60)
    page = pages.sign_in(pages.open(java_script_enabled=False), person)
    page.goto(f"/projects/{project.id}")
    text = page.locator("#description span")
    short = text.evaluate("it => it.clientHeight")
    pages.screenshot(page, "long-description")
    page.locator("#description summary").click()
    assert text.evaluate("it => it.clientHeight") > 1.5 * short


def test_text_is_legible_in_both_schemes(pages: Pages) -> None:
    """WCAG AA: 4.5 to 1, for text and muted text on every surface, and for the five states."""
    contrast = """(scheme) => {
        const read = (name) => {
            const probe = document.createElement("i");
            document.body.append(probe);
            probe.style.color = `var(--${name})`;
            const rgb = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map(Number);
            probe.remove();
            return rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        };
        const light = ([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b;
        const ratio = (a, b) => {
            const [high, low] = [light(read(a)), light(read(b))].sort((x, y) => y - x);
            return (high + 0.05) / (low + 0.05);
        };
        const pairs = [["on-accent", "accent"]];
        for (const back of ["bg", "surface", "raised"])
            for (const front of ["text", "muted", "accent", "danger",
                                 "queued", "processing", "completed", "failed", "canceled"])
                pairs.push([front, back]);
        return pairs.map(([front, back]) => [front, back, ratio(front, back)]).filter(([, , found]) => found < 4.5);
    }"""
    for scheme in ("light", "dark"):
        page = pages.open(color_scheme=scheme)
        page.goto("/sign-in")
        assert page.evaluate(contrast, scheme) == [], scheme


def test_the_focus_is_seen(page: Page) -> None:
    page.goto("/sign-in")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
