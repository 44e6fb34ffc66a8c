"""GET /images/{id}/panel: the poll. Unchanged is 204, changed is the panel, or the viewer when the drawing changed."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.steps import box, finalize, store

HTMX = {"HX-Request": "true"}


def poll_address(text: str) -> str:
    return re.findall(r'hx-get="(/images/[^"]+/panel[^"]*)"', text)[0].replace("&amp;", "&")


@pytest.fixture
def poll(viewer: Person, image: Image, analysis: Analysis) -> str:
    """The address a page polls that shows `analysis` while it is processing."""
    text = viewer.client.get(f"/images/{image.id}").text
    assert 'hx-trigger="every 8s"' in text
    return poll_address(text)


def test_who_may_poll(poll: str, viewer: Person, stranger: Person) -> None:
    assert viewer.client.get(poll, headers=HTMX).status_code == 204
    assert stranger.client.get(poll, headers=HTMX).status_code == 403
    assert viewer.client.get(f"/images/{some_id()}/panel", headers=HTMX).status_code == 404
    assert viewer.client.post(poll.split("?")[0]).status_code in (403, 405)


def test_unchanged_reads_no_annotation(
    poll: str, viewer: Person, analysis: Analysis, pipeline: Pipeline, count_queries: Callable[[], Any]
) -> None:
    store(pipeline, analysis, [box()])
    poll = poll_address(viewer.client.get(poll.split("/panel")[0]).text)
    with count_queries() as statements:
        assert viewer.client.get(poll, headers=HTMX).status_code == 204
    assert statements and not any("ml_annotations" in one for one in statements)
    assert len(statements) <= 5


def test_a_poll_also_opens_as_a_page(poll: str, viewer: Person) -> None:
    answer = viewer.client.get(poll)
    assert answer.status_code == 200 and answer.text.lstrip().startswith("<!doctype html>")


def test_new_annotations_of_the_chosen_analysis_bring_the_whole_viewer(
    poll: str, viewer: Person, analysis: Analysis, pipeline: Pipeline
) -> None:
    store(pipeline, analysis, [box(class_name="leaf")])
    answer = viewer.client.get(poll, headers=HTMX)
    assert answer.headers["HX-Retarget"] == "#viewer"
    assert 'class="shape"' in answer.text and 'hx-trigger="every 8s"' in answer.text
    assert "announcer" not in answer.text  # nothing ended, nothing is announced
    assert viewer.client.get(poll_address(answer.text), headers=HTMX).status_code == 204


def test_the_end_of_the_chosen_analysis_is_announced_once_and_ends_the_polling(
    poll: str, viewer: Person, analysis: Analysis, pipeline: Pipeline
) -> None:
    store(pipeline, analysis, [box()])
    finalize(pipeline, analysis)
    answer = viewer.client.get(poll, headers=HTMX)
    assert answer.headers["HX-Retarget"] == "#viewer"
    assert 'hx-trigger="every' not in answer.text
    assert answer.text.count('id="announcer"') == 1
    assert "leaf-net 1.0.0 is completed." in answer.text


def test_a_change_of_another_analysis_brings_only_the_panel(
    world: World, image: Image, viewer: Person, pipeline: Pipeline
) -> None:
    world.analysis(image, "completed", model_name="shown")
    running = world.analysis(image, "processing", model_name="moss-net")
    world.analysis(image, "queued", model_name="waiting")
    poll = poll_address(viewer.client.get(f"/images/{image.id}").text)
    finalize(pipeline, running, "failed")
    answer = viewer.client.get(poll, headers=HTMX)
    assert "HX-Retarget" not in answer.headers
    assert answer.text.lstrip().startswith("<section") and "<svg id=" not in answer.text
    assert "moss-net 1.0.0 is failed." in answer.text
    assert 'hx-trigger="every 8s"' in answer.text  # one is still waiting


def test_a_new_analysis_is_announced_and_the_shown_one_stays(
    poll: str, world: World, image: Image, analysis: Analysis, viewer: Person
) -> None:
    world.analysis(image, "queued", model_name="late")
    # the form of the view goes with every poll
    answer = viewer.client.get(f"{poll}&analysis={analysis.id}", headers=HTMX)
    assert "HX-Retarget" not in answer.headers
    assert "late 1.0.0 is queued." in answer.text
    assert answer.text.split('aria-current="true"')[1].split("<b>")[1].startswith("leaf-net")


@pytest.mark.parametrize("version", ["", "x", "c1.c1.c1.c1", "q", "🙂"])
def test_a_version_of_nothing_brings_everything(poll: str, viewer: Person, version: Any) -> None:
    address, _, query = poll.partition("?")
    rest = "&".join(part for part in query.split("&") if not part.startswith("version="))
    answer = viewer.client.get(f"{address}?{rest}&version={version}", headers=HTMX)
    assert answer.status_code == 200


def test_an_image_without_analyses_has_nothing_to_poll(image: Image, viewer: Person) -> None:
    assert viewer.client.get(f"/images/{image.id}/panel", headers=HTMX).status_code == 204


def test_without_javascript_the_page_asks_again_while_something_runs(
    image: Image, viewer: Person, analysis: Analysis, pipeline: Pipeline
) -> None:
    refresh = '<noscript><meta http-equiv="refresh" content="8;'
    assert refresh in viewer.client.get(f"/images/{image.id}").text
    finalize(pipeline, analysis)
    assert refresh not in viewer.client.get(f"/images/{image.id}").text
