"""POST /analyses/{id}/cancel and GET /analyses/{id}/export."""

import pytest
from werkzeug.test import TestResponse

from app.models import Analysis, AuditEvent, Image
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.steps import box, finalize, store

HTMX = {"HX-Request": "true"}


def cancel(person: Person, analysis: Analysis, **kwargs: object) -> TestResponse:
    page = f"/images/{analysis.image_id}?analysis={analysis.id}"
    return person.client.submit(page, f"/analyses/{analysis.id}/cancel", **kwargs)  # type: ignore[arg-type]


def token_of(person: Person) -> str:
    return person.client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]


@pytest.mark.parametrize("status", ["queued", "processing"])
def test_an_editor_cancels(world: World, image: Image, editor: Person, status: str) -> None:
    analysis = world.analysis(image, status)
    answer = cancel(editor, analysis)
    assert (answer.status_code, answer.location) == (303, f"/images/{image.id}?analysis={analysis.id}")
    assert world.reload(analysis).status == "canceled"
    assert "analysis.canceled" in [row.action for row in world.rows(AuditEvent, actor_id=editor.id)]
    assert "Cancel this analysis" not in editor.client.get(answer.location).text


def test_cancelling_keeps_how_a_person_looks(world: World, analysis: Analysis, editor: Person) -> None:
    page = f"/images/{analysis.image_id}?analysis={analysis.id}"
    view = "labels=0&opacity=40&off=bus&off=car"
    answer = editor.client.submit(f"{page}&{view}", f"/analyses/{analysis.id}/cancel")
    assert answer.location == f"{page}&{view}"


def test_what_was_changed_since_counts_more_than_the_view_the_form_was_drawn_with(
    analysis: Analysis, editor: Person
) -> None:
    form = {"csrf_token": token_of(editor), "opacity": ["40", "70"], "view": ["side", "overlay"]}
    answer = editor.client.post(f"/analyses/{analysis.id}/cancel", data=form)
    assert answer.location == f"/images/{analysis.image_id}?analysis={analysis.id}&opacity=70"


def test_there_is_no_export_before_there_is_something_to_export(
    world: World, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    address = f"/images/{image.id}"
    assert 'id="export"' not in viewer.client.get(address).text
    finalize(pipeline, analysis)
    assert 'id="export"' in viewer.client.get(address).text


def test_htmx_gets_the_viewer_and_an_announcement(world: World, analysis: Analysis, editor: Person) -> None:
    answer = cancel(editor, analysis, headers=HTMX)
    assert answer.status_code == 200
    assert 'id="viewer"' in answer.text and "leaf-net 1.0.0 is canceled." in answer.text


def test_others_are_not_offered_it_and_may_not(
    world: World, analysis: Analysis, viewer: Person, stranger: Person
) -> None:
    assert "Cancel this analysis" not in viewer.client.get(f"/images/{analysis.image_id}").text
    for person in (viewer, stranger):
        form = {"csrf_token": token_of(person)}
        assert person.client.post(f"/analyses/{analysis.id}/cancel", data=form).status_code == 403
    assert world.reload(analysis).status == "processing"
    assert (
        viewer.client.post(f"/analyses/{some_id()}/cancel", data={"csrf_token": token_of(viewer)}).status_code
        == 404
    )


def test_cancelling_takes_a_token(world: World, analysis: Analysis, editor: Person) -> None:
    editor.client.get("/")
    assert editor.client.post(f"/analyses/{analysis.id}/cancel").status_code == 403
    assert world.reload(analysis).status == "processing"


def test_one_that_ended_meanwhile_stays_as_it_ended(
    world: World, analysis: Analysis, editor: Person, pipeline: Pipeline
) -> None:
    token = token_of(editor)
    finalize(pipeline, analysis)
    answer = editor.client.post(f"/analyses/{analysis.id}/cancel", data={"csrf_token": token})
    assert answer.status_code == 303
    assert world.reload(analysis).status == "completed"


def test_export(analysis: Analysis, pipeline: Pipeline, viewer: Person, stranger: Person) -> None:
    store(pipeline, analysis, [box(class_name="leaf")])
    page = viewer.client.get(f"/images/{analysis.image_id}").text
    for form, mimetype in (("json", "application/json"), ("csv", "text/csv")):
        address = f"/analyses/{analysis.id}/export?format={form}"
        assert address in page
        answer = viewer.client.get(address)
        assert (answer.status_code, answer.mimetype) == (200, mimetype)
        name = f"analysis_leaf-net_{analysis.created_at:%Y%m%d_%H%M%S}.{form}"
        assert answer.headers["Content-Disposition"] == f"attachment; filename={name}"
        assert "leaf" in answer.text
        assert stranger.client.get(address).status_code == 403
    assert viewer.client.get(f"/analyses/{analysis.id}/export?format=xml").status_code == 422
    assert viewer.client.get(f"/analyses/{some_id()}/export").status_code == 404
