"""Deleting images and analyses on their pages, taking it back from the notice and from /projects/{id}/deleted."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.models import Analysis, Image, Project
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.fakes import FixedClock
from tests.steps import box, finalize, store

HTMX = {"HX-Request": "true"}
NOTICE = re.compile(r'<div class="notice[^>]*>.*?</form></div>', re.DOTALL)


def is_deleted(world: World, row: Any) -> bool:
    return world.reload(row).deleted_at is not None


def test_an_editor_deletes_an_analysis_and_undoes_it(
    world: World, image: Image, analysis: Analysis, editor: Person
) -> None:
    other = world.analysis(image, "completed", model_name="moss-net")
    page = f"/images/{image.id}?analysis={analysis.id}&labels=0"
    answer = editor.client.submit(page, f"/analyses/{analysis.id}/delete")
    assert (answer.status_code, answer.location) == (303, f"/images/{image.id}?labels=0")
    assert is_deleted(world, analysis) and not is_deleted(world, other)
    after = editor.client.get(answer.location).text
    notice = NOTICE.findall(after)[0]
    assert "“leaf-net 1.0.0” has been deleted." in notice and ">Undo</button>" in notice
    assert "leaf-net" not in after.replace(notice, "")
    # the notice is said once, so what it holds is sent as the page has it
    token = after.split('name="csrf_token" value="')[1].split('"')[0]
    undone = editor.client.post(f"/analyses/{analysis.id}/restore", data={"csrf_token": token})
    assert (undone.status_code, undone.location) == (303, f"/images/{image.id}?analysis={analysis.id}")
    assert not is_deleted(world, analysis)
    assert "“leaf-net 1.0.0” has been restored." in editor.client.get(undone.location).text


def test_an_editor_deletes_an_image_and_undoes_it(
    world: World, project: Project, image: Image, editor: Person
) -> None:
    gallery = f"/projects/{project.id}"
    answer = editor.client.submit(f"/images/{image.id}", f"/images/{image.id}/delete")
    assert (answer.status_code, answer.location) == (303, gallery)
    assert is_deleted(world, image)
    after = editor.client.get(gallery)
    assert "“leaf.png” has been deleted." in after.text and f'id="image-{image.id}"' not in after.text
    action = re.findall(r'action="(/images/[^"]+/restore)"', after.text)[0]
    token = after.text.split('name="csrf_token" value="')[1].split('"')[0]
    undone = editor.client.post(action, data={"csrf_token": token})
    assert (undone.status_code, undone.location) == (303, f"/images/{image.id}")
    assert not is_deleted(world, image)


def test_a_form_sent_twice_does_no_more(world: World, image: Image, editor: Person) -> None:
    token = editor.client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]
    for form, deleted in (("delete", True), ("delete", True), ("restore", False), ("restore", False)):
        answer = editor.client.post(f"/images/{image.id}/{form}", data={"csrf_token": token})
        assert (answer.status_code, is_deleted(world, image)) == (303, deleted)


def test_an_analysis_that_would_be_one_too_many_stays_deleted(
    app: Flask, world: World, image: Image, analysis: Analysis, editor: Person
) -> None:
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    world.analysis(image)
    app.config["ML_MAX_ANALYSES_PER_IMAGE"] = 1
    page = f"/projects/{image.project_id}/deleted"
    answer = editor.client.submit(page, f"/analyses/{analysis.id}/restore")
    assert answer.status_code == 400 and "An image can have 1 analyses at the most." in answer.text
    assert is_deleted(world, analysis)


def test_a_viewer_is_offered_nothing(
    project: Project, image: Image, analysis: Analysis, viewer: Person
) -> None:
    for page in (f"/projects/{project.id}", f"/images/{image.id}"):
        text = viewer.client.get(page).text
        assert "elete" not in text
    assert viewer.client.get(f"/projects/{project.id}/deleted").status_code == 403


def test_what_was_deleted_is_listed_with_until_when(
    world: World, project: Project, image: Image, analysis: Analysis, editor: Person, clock: FixedClock
) -> None:
    page = f"/projects/{project.id}/deleted"
    assert f'href="{page}"' in editor.client.get(f"/projects/{project.id}").text
    assert "Nothing is deleted" in editor.client.get(page).text
    other = world.image(project, "moss.png")
    of_other = world.analysis(other, "completed", model_name="moss-net")
    editor.api("DELETE", f"/api/images/{other.id}")
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    text = editor.client.get(page).text
    assert "moss.png" in text and "leaf-net 1.0.0" in text
    assert "4 Mar 2026, 12:00 UTC" in text and "3 Apr 2026, 12:00 UTC" in text
    assert "moss-net" not in text, "it comes back with its image"
    for address in (f"/images/{other.id}/restore", f"/analyses/{analysis.id}/restore"):
        assert editor.client.submit(page, address).status_code == 303
    assert not any(is_deleted(world, row) for row in (other, of_other, analysis))
    assert "Nothing is deleted" in editor.client.get(page).text


def test_another_project_has_its_own(world: World, image: Image, owner: Person) -> None:
    other = world.project("Moss", owner=owner)
    owner.api("DELETE", f"/api/images/{image.id}")
    assert "Nothing is deleted" in owner.client.get(f"/projects/{other.id}/deleted").text


def test_kept_for_ever(app: Flask, project: Project, image: Image, editor: Person) -> None:
    app.config["ML_RETENTION_DAYS"] = 0
    editor.api("DELETE", f"/api/images/{image.id}")
    text = editor.client.get(f"/projects/{project.id}/deleted").text
    assert "can be restored at any time" in text and "for ever" in text


def test_without_the_feature_it_says_nothing_of_analyses(
    make_app: Callable[..., Flask], project: Project, analysis: Analysis, image: Image, owner: Person
) -> None:
    owner.api("DELETE", f"/api/analyses/{analysis.id}")
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), owner.id, owner.email, owner.key)
    for page in (f"/projects/{project.id}/deleted", f"/projects/{project.id}", f"/images/{image.id}"):
        text = off.client.get(page).text.lower()
        assert "deleted" in text or "delete this image" in text
        assert "analys" not in text and "leaf-net" not in text
    assert off.client.get(f"/analyses/{analysis.id}/delete").status_code == 404


def poll_address(text: str) -> str:
    return re.findall(r'hx-get="(/images/[^"]+/panel[^"]*)"', text)[0].replace("&amp;", "&")


@pytest.mark.parametrize("added", [False, True], ids=["one less", "one went and one came"])
def test_whoever_looks_at_it_sees_it_go(
    world: World,
    image: Image,
    analysis: Analysis,
    pipeline: Pipeline,
    viewer: Person,
    editor: Person,
    added: bool,
) -> None:
    left = world.analysis(image, "processing", model_name="moss-net")
    store(pipeline, left, [box()])
    poll = poll_address(viewer.client.get(f"/images/{image.id}?analysis={analysis.id}").text)
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    if added:
        world.analysis(image, "processing", model_name="late-net")
    # the form of the view goes with every poll
    answer = viewer.client.get(f"{poll}&analysis={analysis.id}", headers=HTMX)
    assert answer.headers["HX-Retarget"] == "#viewer"
    assert "leaf-net" not in answer.text and "moss-net" in answer.text
    finalize(pipeline, left)


def test_one_that_comes_back_is_announced_and_the_shown_one_stays(
    world: World, image: Image, analysis: Analysis, viewer: Person, editor: Person
) -> None:
    shown = world.analysis(image, "completed", model_name="moss-net")
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    world.analysis(image, "queued", model_name="late-net")
    poll = poll_address(viewer.client.get(f"/images/{image.id}?analysis={shown.id}").text)
    editor.api("POST", f"/api/analyses/{analysis.id}/restore")
    answer = viewer.client.get(f"{poll}&analysis={shown.id}", headers=HTMX)
    assert "HX-Retarget" not in answer.headers
    assert re.findall(r"<p>([^<]+)</p>", answer.text) == ["leaf-net 1.0.0 is processing."]
