"""POST /projects/{id}/images: the plain form with several files, and one file at a time by upload.js."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from app.models import AuditEvent, Image, Project
from tests.cast import Person
from tests.factories import World, picture, some_id

HTMX = {"HX-Request": "true"}


def send(person: Person, project_id: Any, *files: tuple[bytes, str], **kwargs: Any) -> TestResponse:
    page = person.client.get("/").text
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    data: MultiDict[str, Any] = MultiDict([("csrf_token", token)])
    for content, name in files:
        data.add("file", (io.BytesIO(content), name))
    return person.client.post(
        f"/projects/{project_id}/images", data=data, content_type="multipart/form-data", **kwargs
    )


def test_who_may_upload(
    project: Project, editor: Person, owner: Person, viewer: Person, stranger: Person
) -> None:
    file = (picture(), "a.png")
    assert send(editor, project.id, file).status_code == 303
    assert send(owner, project.id, file).status_code == 303
    assert send(viewer, project.id, file).status_code == 403
    assert send(stranger, project.id, file).status_code == 403
    assert send(stranger, some_id(), file).status_code == 404


def test_several_files_at_once(world: World, project: Project, editor: Person) -> None:
    answer = send(editor, project.id, (picture(), "a.png"), (picture(kind="JPEG"), "b.jpg"))
    assert answer.location == f"/projects/{project.id}"
    assert "2 images uploaded" in editor.client.get(answer.location).text
    rows = world.rows(Image, project_id=project.id)
    assert [(row.filename, row.content_type, row.uploaded_by_id) for row in rows] == [
        ("a.png", "image/png", editor.id),
        ("b.jpg", "image/jpeg", editor.id),
    ]
    assert [row.action for row in world.rows(AuditEvent, actor_id=editor.id)].count("image.uploaded") == 2


def test_what_is_no_image_is_named_and_the_rest_is_kept(
    world: World, project: Project, editor: Person
) -> None:
    answer = send(
        editor, project.id, (picture(), "a.png"), (b"<svg/>", "evil<b>.svg"), (picture()[:60], "cut.png")
    )
    assert answer.status_code == 422
    assert "1 image uploaded; 2 files could not be used." in answer.text
    assert "evil&lt;b&gt;.svg" in answer.text and "cut.png" in answer.text
    assert [row.filename for row in world.rows(Image)] == ["a.png"]


def test_nothing_chosen_is_said(project: Project, editor: Person) -> None:
    answer = send(editor, project.id)
    assert answer.status_code == 422 and "Choose at least one image." in answer.text


def test_one_file_by_script(world: World, project: Project, editor: Person) -> None:
    assert send(editor, project.id, (picture(), "a.png"), headers=HTMX).status_code == 204
    answer = send(editor, project.id, (b"nothing", "b.png"), headers=HTMX)
    assert answer.status_code == 422
    assert "data-reason" in answer.text and "b.png" in answer.text
    assert world.count(Image) == 1


def test_a_larger_file_than_allowed_is_refused(
    make_app: Callable[..., Flask], world: World, project: Project, editor: Person
) -> None:
    app = make_app(MAX_IMAGE_BYTES="2000")
    person = Person(app, editor.id, editor.email, editor.key)
    answer = send(person, project.id, (picture(), "small.png"), (picture(40, 30, "TIFF"), "large.tif"))
    assert answer.status_code == 422 and "is larger than" in answer.text
    assert "large.tif" not in [row.filename for row in world.rows(Image)]


@pytest.mark.parametrize("name", ["../../x.png", "x\u202e\x07.png"])
def test_a_name_is_only_a_name(world: World, project: Project, editor: Person, name: str) -> None:
    assert send(editor, project.id, (picture(), name)).status_code == 303
    assert [row.filename for row in world.rows(Image)] == ["x.png"]


def test_an_upload_needs_the_token(project: Project, editor: Person) -> None:
    editor.client.get("/")
    data = {"file": (io.BytesIO(picture()), "a.png")}
    assert editor.client.post(f"/projects/{project.id}/images", data=data).status_code == 403
