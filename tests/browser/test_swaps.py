"""A swap leaves a person what they opened and where they were; what cannot be undone asks once more."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.steps import box
from tests.support.browser import Pages, drawn, poll
from tests.support.exhibit import Exhibit

pytestmark = pytest.mark.one_database


def test_a_poll_leaves_open_what_a_person_opened(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis(parameters={"tiles": {"size": {"deep": 512}}})
    custom = {"annotation_type": "custom", "class_name": "report", "data": {"a": {"b": {"c": 1}}}}
    shown.store(analysis, box(client_id="a"), custom)
    opened.clock.install()
    opened.goto(shown.address)
    for summary in ("#about-image", f"#about-{analysis.id}"):
        opened.locator(f"{summary} > summary").click()
    opened.locator("#custom details details summary", has_text="b").click()
    opened.locator(f"#parameters-{analysis.id} > summary").click()  # it was open
    opened.locator("#export > summary").click()
    state = (
        "() => Object.fromEntries([...document.querySelectorAll('details')].map((it) => [it.id, it.open]))"
    )
    before = opened.evaluate(state)
    assert before["export"] and before["about-image"] and not before[f"parameters-{analysis.id}"]
    assert "" not in before, "a <details> without an id"
    shown.store(analysis, box(client_id="b"))
    poll(opened)
    expect(opened.locator("#shapes .item")).to_have_count(2)
    assert opened.evaluate(state) == before


def test_a_poll_leaves_the_place_the_focus_and_an_open_menu(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    ids = shown.store(analysis, *(box(client_id=str(number)) for number in range(60)))
    opened.clock.install()
    opened.goto(f"{shown.address}?at=100,80,5")
    drawn(opened)
    opened.locator(f"#r-{ids[40]} a").focus()
    state = """() => [document.activeElement.closest("tr")?.id, document.querySelector(".side .scroll").scrollTop,
        document.getElementById("picture").getBoundingClientRect().toJSON(), document.getElementById("export").open]"""
    before = opened.evaluate(state)
    assert before[0] == f"r-{ids[40]}" and before[1] > 0
    shown.store(analysis, box(client_id="new"))
    poll(opened)
    expect(opened.locator("#annotations tbody tr")).to_have_count(61)
    assert opened.evaluate(state) == before
    assert "at=100,80,5" in opened.url
    menu = opened.locator("#export > summary")
    menu.click()
    shown.store(analysis, box(client_id="newer"))
    poll(opened)
    expect(opened.locator("#annotations tbody tr")).to_have_count(62)
    assert opened.evaluate(state) == [None, *before[1:3], True]
    expect(menu).to_be_focused()


def test_cancelling_asks_once_more_and_leaves_the_focus_on_the_analysis(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    opened.goto(shown.address)
    opened.locator(f"#cancel-{analysis.id} > summary").focus()
    opened.keyboard.press("Enter")
    opened.keyboard.press("Tab")
    expect(opened.get_by_role("button", name="Yes, cancel it")).to_be_focused()
    opened.keyboard.press("Enter")
    expect(opened.locator("#panel .badge.canceled")).to_be_visible()
    expect(opened.locator(f"#choose-{analysis.id}")).to_be_focused()
    expect(opened.locator(f"#cancel-{analysis.id}")).to_have_count(0)


def test_a_poll_that_takes_the_button_away_leaves_the_focus_too(shown: Exhibit, opened: Page) -> None:
    analysis = shown.analysis()
    opened.clock.install()
    opened.goto(shown.address)
    opened.locator(f"#cancel-{analysis.id} > summary").focus()
    shown.finalize(analysis)
    poll(opened)
    expect(opened.locator("#panel .badge.completed")).to_be_visible()
    expect(opened.locator(f"#choose-{analysis.id}")).to_be_focused()


def test_removing_a_member_asks_once_more(shown: Exhibit, pages: Pages) -> None:
    owner = shown.world.person("boss@example.org")
    shown.world.project("Moss", owner=owner, viewer=shown.person)
    page = pages.sign_in(pages.open(java_script_enabled=False), owner)
    page.get_by_role("link", name=re.compile("Moss")).click()
    page.get_by_role("link", name="Members").click()
    yes = page.get_by_role("button", name=f"Yes, remove {shown.person.email}")
    expect(yes).to_be_hidden()
    page.locator(f"#remove-{shown.person.id} > summary").click()
    pages.screenshot(page, "members-remove")
    yes.click()
    expect(page.get_by_text("The member has been removed.")).to_be_visible()
    expect(page.get_by_text(shown.person.email)).to_have_count(0)


def test_the_export_menu_closes_on_choosing_and_on_leaving(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(), box())
    opened.goto(shown.address)
    menu, summary = opened.locator("#export"), opened.locator("#export > summary")
    summary.click()
    with opened.expect_download():
        opened.get_by_role("link", name=re.compile("^JSON")).click()
    expect(menu).not_to_have_attribute("open", "")
    expect(summary).to_be_focused()
    opened.keyboard.press("Enter")
    expect(menu).to_have_attribute("open", "")
    for _ in range(menu.locator("a").count() + 1):
        opened.keyboard.press("Tab")
    expect(menu).not_to_have_attribute("open", "")


def test_the_view_is_kept_over_an_analysis_with_nothing_to_draw(shown: Exhibit, opened: Page) -> None:
    shown.store(shown.analysis(model_name="full"), box())
    empty = shown.analysis("queued", model_name="empty")
    opened.goto(f"{shown.address}?analysis={empty.id}&opacity=40&view=side&labels=0")
    expect(opened.locator("#view-choice")).to_have_count(0)
    expect(opened.locator("#stage-note .spinner")).to_have_count(0)
    expect(opened.locator("#export")).to_have_count(0)
    opened.locator(".analyses a", has_text="full").click()
    expect(opened.locator("#overlay .layer")).to_have_attribute("opacity", "0.4")
    expect(opened.locator("#pane-plain")).to_be_visible()
    expect(opened.get_by_label("Labels")).not_to_be_checked()
    assert "opacity=40" in opened.url and "view=side" in opened.url and "labels=0" in opened.url
