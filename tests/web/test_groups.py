"""Groups in the browser: the way there, one and its analyses, and the look at what an action will touch."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from app.models import Analysis, AuditEvent, Image, Project
from app.models.columns import now
from app.services import cancels
from app.web import groups as pages
from tests.api.test_groups import HOSTILE
from tests.cast import Person
from tests.factories import World
from tests.html import LintClient

HTMX = {"HX-Request": "true"}
NIGHT = {"group_id": "night run"}
START = datetime(2026, 1, 1, tzinfo=UTC)


def address(project: Project, action: str = "", group_id: str = "night run", **query: str) -> str:
    return f"/projects/{project.id}/group{action}?{urlencode({'group_id': group_id, **query})}"


def text(person: Person, path: str, status: int = 200, **headers: str) -> str:
    answer = person.client.get(path, headers=headers)
    assert answer.status_code == status, answer.text
    found: str = answer.text
    return found


@pytest.fixture
def night(world: World, image: Image) -> dict[str, Analysis]:
    """One analysis in each status; that in processing is leased."""
    lease = {"lease_epoch": 1, "lease_owner": "w", "lease_expires_at": now() + timedelta(minutes=1)}
    more = {"processing": lease, "failed": {"error_message": "out of memory\nat line 3"}}
    statuses = ("queued", "processing", "completed", "failed", "canceled")
    return {status: world.analysis(image, status, **more.get(status, {}), **NIGHT) for status in statuses}


# --- the way there -----------------------------------------------------------------------------------------------


def test_the_project_leads_to_its_groups_when_it_has_any(
    make_app: Callable[..., Flask], world: World, project: Project, image: Image, viewer: Person
) -> None:
    page, link = f"/projects/{project.id}", f'href="/projects/{project.id}/groups"'
    world.analysis(image)
    assert link not in text(viewer, page)
    world.analysis(image, group_id="left", deleted_at=now())
    assert link not in text(viewer, page)
    world.analysis(image, **NIGHT)
    assert link in text(viewer, page)
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), viewer.id, viewer.email, viewer.key)
    assert link not in text(off, page)


def test_an_analysis_leads_to_its_group(world: World, project: Project, image: Image, viewer: Person) -> None:
    analysis = world.analysis(image, group_id="a/../b & <c>")
    shown = text(viewer, f"/images/{image.id}?analysis={analysis.id}")
    path = address(project, group_id="a/../b & <c>")
    assert f'href="{path.replace("%2F", "/")}"' in shown or f'href="{path}"' in shown
    assert "a/../b &amp; &lt;c&gt;</h1>" in text(viewer, path)


def test_the_list(world: World, project: Project, night: object, image: Image, viewer: Person) -> None:
    world.analysis(image, "completed", group_id="day run")
    shown = text(viewer, f"/projects/{project.id}/groups")
    assert shown.index("day run") < shown.index("night run")
    assert "1 completed, 1 failed, 1 canceled, 1 processing and 1 queued" in " ".join(shown.split())
    other = world.project("Bark", viewer=viewer)
    assert "No groups" in text(viewer, f"/projects/{other.id}/groups")


def test_the_list_goes_on(
    monkeypatch: pytest.MonkeyPatch, world: World, project: Project, image: Image, viewer: Person
) -> None:
    for n in range(53):
        world.analysis(image, "completed", group_id=f"g{n:02}")
    first = viewer.client.get(f"/projects/{project.id}/groups")
    assert "g52" in first.text and "g02" not in first.text
    older = text(viewer, _href(first.text, "older"))
    assert "g02" in older and "g03" not in older
    assert "g52" in text(viewer, _href(older, "newer"))


def _href(page: str, name: str) -> str:
    tag = page[page.index(f'id="{name}"') :]
    return tag[tag.index('href="') + 6 :].partition('"')[0].replace("&amp;", "&")


# --- one ---------------------------------------------------------------------------------------------------------


def test_a_group(project: Project, image: Image, night: dict[str, Analysis], viewer: Person) -> None:
    shown = text(viewer, address(project))
    for status, analysis in night.items():
        assert f'id="analysis-{analysis.id}"' in shown
        assert f"/images/{image.id}?analysis={analysis.id}" in shown
        alone = text(viewer, address(project, status=status))
        assert [one.id for one in night.values() if f'id="analysis-{one.id}"' in alone] == [analysis.id]
    assert "out of memory" in shown and "at line 3" not in shown
    assert "5 analyses" in shown
    assert "Cancel all" not in shown  # a viewer cannot
    assert text(viewer, address(project, status="nonsense")).count('<tr id="analysis-') == 5


def test_its_pages(
    monkeypatch: pytest.MonkeyPatch, world: World, project: Project, image: Image, viewer: Person
) -> None:
    monkeypatch.setattr(pages, "PAGE_SIZE", 3)
    made = [
        world.analysis(image, "failed", created_at=START + timedelta(hours=n // 2), **NIGHT) for n in range(8)
    ]
    in_order = [one.id for one in sorted(made, key=lambda one: (one.created_at, one.id), reverse=True)]
    seen, page = [], text(viewer, address(project, status="failed"))
    while True:
        seen += [one for one in in_order if f'id="analysis-{one}"' in page]
        if 'id="older"' not in page:
            break
        page = text(viewer, _href(page, "older"))
    assert seen == in_order
    assert f'id="analysis-{in_order[-3]}"' in text(viewer, _href(page, "newer"))


def test_polling_ends_when_all_of_it_has_ended(
    world: World, project: Project, image: Image, editor: Person
) -> None:
    analysis = world.analysis(image, **NIGHT)
    for path in (address(project), f"/projects/{project.id}/groups"):
        page = text(editor, path)
        poll = page[page.index('hx-get="') + 8 :].partition('"')[0].replace("&amp;", "&")
        assert "every 8s" in page and "<noscript>" in page
        assert editor.client.get(poll, headers=HTMX).status_code == 204
        assert "<html" in text(editor, poll)  # opened as a page it is one
        world.analysis(image, "completed", **NIGHT)
        changed = text(editor, poll, **HTMX)
        assert "<html" not in changed and "every 8s" in changed
    sent = editor.client.submit(address(project, "/cancel"), f"/projects/{project.id}/group/cancel", {})
    assert sent.status_code == 303
    ended = text(editor, address(project, version="old"), **HTMX)
    assert "hx-trigger" not in ended and "All of night run has ended." in ended
    assert "hx-trigger" not in text(editor, f"/projects/{project.id}/groups")
    assert world.reload(analysis).status == "canceled"


def test_one_of_which_nothing_is_left(world: World, project: Project, image: Image, owner: Person) -> None:
    world.analysis(image, deleted_at=now(), **NIGHT)
    assert "Nothing is left of this group" in text(owner, address(project))
    assert "Nothing to cancel" in text(owner, address(project, "/cancel"))
    assert "Nothing to export" in text(owner, address(project, "/export"))


@pytest.mark.parametrize("name", HOSTILE)
def test_any_short_text_is_a_name(
    world: World, project: Project, image: Image, owner: Person, name: str
) -> None:
    analysis = world.analysis(image, group_id=name)
    listed = owner.client.get(f"/projects/{project.id}/groups").text
    link = listed[listed.index('class="groups"') :]
    path = link[link.index('href="') + 6 :].partition('"')[0].replace("&amp;", "&").replace("&#39;", "'")
    assert f'id="analysis-{analysis.id}"' in text(owner, path)
    for action in ("/cancel", "/export"):
        assert "1 analysis" in text(owner, address(project, action, name))
    sent = owner.client.submit(address(project, "/cancel", name), f"/projects/{project.id}/group/cancel", {})
    assert sent.status_code == 303
    assert "1 analysis of “" in text(owner, sent.headers["Location"])
    assert world.reload(analysis).status == "canceled"


def test_what_is_not_there(project: Project, night: object, owner: Person, client: LintClient) -> None:
    for name in ("day run", "", "a\0b", "x" * 256):
        for action in ("", "/cancel", "/export"):
            text(owner, address(project, action, name), 404)
    for action in ("", "/cancel", "/export"):
        answer = owner.client.get(f"/projects/{project.id}/group{action}")
        assert (answer.status_code, answer.headers["Location"]) == (303, f"/projects/{project.id}/groups")
        assert client.get(address(project, action)).status_code == 303  # to the sign-in page


# --- canceling ---------------------------------------------------------------------------------------------------


def test_the_preview_says_what_will_be_touched(
    world: World, project: Project, image: Image, night: dict[str, Analysis], editor: Person, viewer: Person
) -> None:
    world.analysis(image, "completed", **NIGHT)
    text(editor, address(project))  # signed in
    before = world.count(AuditEvent)
    shown = " ".join(text(editor, address(project, "/cancel")).split())
    assert "Cancel 2 analyses of night run?" in shown
    assert "1 queued and 1 processing: all of these are canceled, for good." in shown
    assert "1 of them is being worked on" in shown
    assert "2 completed, 1 failed and 1 canceled: they stay as they are." in shown
    for status in ("queued", "processing"):
        assert f"analysis={night[status].id}" in shown
    assert f"analysis={night['completed'].id}" not in shown
    assert world.count(AuditEvent) == before
    text(viewer, address(project, "/cancel"), 403)


def test_canceling(world: World, project: Project, night: dict[str, Analysis], editor: Person) -> None:
    sent = editor.client.submit(address(project, "/cancel"), f"/projects/{project.id}/group/cancel", {})
    assert sent.status_code == 303
    shown = text(editor, sent.headers["Location"])
    assert "2 analyses of “night run” canceled." in shown
    assert "Cancel all" not in shown
    statuses = {name: world.reload(one).status for name, one in night.items()}
    assert statuses == {
        "queued": "canceled",
        "processing": "canceled",
        "completed": "completed",
        "failed": "failed",
        "canceled": "canceled",
    }
    assert "Nothing to cancel" in text(editor, address(project, "/cancel"))


def test_canceling_what_has_ended_meanwhile(
    world: World, project: Project, image: Image, editor: Person
) -> None:
    """The preview was looked at for a while."""
    one = world.analysis(image, **NIGHT)
    page = address(project, "/cancel")
    action = f"/projects/{project.id}/group/cancel"
    assert editor.client.submit(page, action, {}).status_code == 303
    token = {"group_id": "night run"}
    other = world.analysis(image, group_id="other")
    again = editor.client.submit(address(project, "/cancel", "other"), action, token)
    assert "Nothing of “night run” was left to cancel." in text(editor, again.headers["Location"])
    assert [world.reload(row).status for row in (one, other)] == ["canceled", "queued"]


def test_more_than_one_request_cancels(
    monkeypatch: pytest.MonkeyPatch, world: World, project: Project, image: Image, editor: Person
) -> None:
    for _ in range(5):
        world.analysis(image, **NIGHT)
    monkeypatch.setattr(cancels, "MOST", 4)
    monkeypatch.setattr(cancels, "BATCH", 2)
    page, action = address(project, "/cancel"), f"/projects/{project.id}/group/cancel"
    shown = " ".join(text(editor, page).split())
    assert "5 queued: 4 of these are canceled" in shown and "1 more remain" in shown
    sent = editor.client.submit(page, action, {})
    again = text(editor, sent.headers["Location"])
    assert "4 analyses of “night run” canceled. 1 has not ended: cancel again." in again
    assert "Cancel 1 analysis of night run?" in again
    world.analysis(image, **NIGHT)  # after the look
    sent = editor.client.submit(sent.headers["Location"], action, {})
    ended = text(editor, sent.headers["Location"])
    assert "2 analyses of “night run” canceled." in ended


# --- exporting ---------------------------------------------------------------------------------------------------


def test_the_preview_of_an_export(project: Project, night: object, viewer: Person) -> None:
    shown = " ".join(text(viewer, address(project, "/export")).split())
    assert "Export 5 analyses of night run" in shown
    assert "1 completed, 1 failed, 1 canceled, 1 processing and 1 queued, with 0 annotations in all." in shown
    assert "2 have not ended" in shown
    assert '<option value="csv">' in shown


def test_the_pages_cost_no_more_with_more(
    world: World, project: Project, image: Image, owner: Person, count_queries: Callable[[], Any]
) -> None:
    counted = []
    text(owner, "/")  # signed in
    for _ in range(2):
        for path in (f"/projects/{project.id}/groups", address(project), address(project, "/cancel")):
            world.analysis(image, **NIGHT)
            with count_queries() as queries:
                text(owner, path)
            counted.append(len(queries))
        for n in range(6):
            world.analysis(world.image(project, f"{n}.png"), group_id=f"g{n}")
            world.analysis(world.image(project, f"{n}.png"), **NIGHT)
    assert counted[:3] == counted[3:]
