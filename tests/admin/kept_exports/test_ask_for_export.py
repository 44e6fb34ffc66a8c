"""POST /admin/exports/new: who may, also the rest; what is refused, and that what was asked for is written, once."""

import csv
import hashlib
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.models import Analysis, AuditEvent, Export, Project
from app.models.columns import new_id
from tests.cast import Person
from tests.factories import World
from tests.support.kept_exports import EXPORTS, KEPT, NEW, file_of, get, on_both_storages, run


def test_who_may(
    app: Flask,
    check_only_admins: Callable[..., None],
    world: World,
    said: Analysis,
    ask: Callable[..., Export],
) -> None:
    export = ask()
    run(app)
    at = f"{EXPORTS}/{export.id}"
    check_only_admins([EXPORTS, KEPT, f"{at}/file"], [NEW, f"{at}/cancel", f"{at}/delete"])
    assert get(world, export.id).state == "done" and world.count(Export) == 1


def test_without_the_feature_it_is_not_there(
    app: Flask, make_app: Any, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), admin.id, admin.email, admin.key)
    for address in (KEPT, f"{EXPORTS}/{export.id}/file"):
        assert off.client.get(address).status_code == 404
    assert run(off.app) == []


def test_another_site_cannot_ask(world: World, admin: Person, token: Callable[[Person], str]) -> None:
    data = {"csrf_token": token(admin), "export_id": str(new_id())}
    answer = admin.client.post(NEW, data=data, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403 and world.count(Export) == 0


@on_both_storages
def test_from_the_count_to_the_file(
    app: Flask, world: World, said: Analysis, admin: Person, project: Project
) -> None:
    page = f"{EXPORTS}?count=1&project={project.id}&format=csv&columns=client_id&columns=analysis_id"
    text = admin.client.get(page).text
    assert re.search(r'<dd id="size">[\d.]+ B<', text)
    assert admin.client.submit(page, NEW).status_code == 303
    [export] = world.rows(Export)
    assert (export.state, export.format, export.project_id) == ("queued", "csv", project.id)
    assert (export.analyses_total, export.annotations_total) == (1, 3)
    assert "waiting" in admin.client.get(EXPORTS).text
    assert run(app, dry_run=True) == run(app) == [f"export {export.id}: written"]
    answer = admin.client.get(file_of(export))
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert rows == [{"analysis_id": str(said.id), "client_id": f"c{n}"} for n in range(3)]
    kept = get(world, export.id)
    assert (kept.state, kept.size_bytes, kept.sha256) == (
        "done",
        len(answer.data),
        hashlib.sha256(answer.data).hexdigest(),
    )
    assert (kept.analyses_done, kept.annotations_done, kept.bytes_written) == (1, 3, len(answer.data))
    assert kept.estimated_bytes == len(answer.data), "small ones are written to be estimated"
    assert kept.requested_by_id == admin.id and kept.attempt == 1
    assert run(app) == []


def test_a_form_that_is_sent_again_asks_once(
    app: Flask, world: World, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    ask(export_id=export.id, format="csv")
    assert world.count(Export) == 1 and get(world, export.id).format == "json"
    assert world.count(AuditEvent, action="export.asked") == 1


def test_two_who_send_it_at_once_ask_once(
    world: World,
    said: Analysis,
    admin: Person,
    token: Callable[[Person], str],
    at_once: Callable[..., list[Any]],
) -> None:
    export_id, sent = new_id(), {"csrf_token": token(admin)}
    admin.client.get(EXPORTS)
    cookie = admin.client.get_cookie("loupe")
    assert cookie is not None

    def post() -> int:
        client = admin.app.test_client(use_cookies=False)
        headers = {"Cookie": f"loupe={cookie.value}"}
        return client.post(NEW, data={**sent, "export_id": str(export_id)}, headers=headers).status_code

    assert at_once([post] * 4) == [303] * 4
    assert world.count(Export) == world.count(AuditEvent, action="export.asked") == 1


WRONG = [
    ({"format": "everything"}, "project"),
    ({"format": "everything", "project": "P", "model": "m"}, "format"),
    ({"format": "everything", "project": "P", "what": "analyses"}, "format"),
    ({"format": "bundle", "what": "analyses"}, "what"),
    ({"format": "xml"}, "format"),
    ({"format": "csv", "columns": "nonsense"}, "columns"),
    ({"format": "csv", "columns": "priority"}, "columns"),
    ({"group": "a\x07b"}, "group"),
    ({"export_id": "none"}, None),
]


@pytest.mark.parametrize(("sent", "field"), WRONG)
def test_what_is_wrong_is_said_and_nothing_is_asked_for(
    world: World,
    admin: Person,
    project: Project,
    token: Callable[[Person], str],
    sent: dict[str, str],
    field: str | None,
) -> None:
    data = {"csrf_token": token(admin), "export_id": str(new_id()), **sent}
    data |= {"project": str(project.id)} if "project" in sent else {}
    answer = admin.client.post(NEW, data=data)
    assert answer.status_code == 422
    assert field is None or f'id="{field}-fault" role="alert"' in answer.text
    assert world.count(Export) == world.count(AuditEvent, action="export.asked") == 0


def test_each_is_asked_for_finished_and_downloaded_in_the_audit_trail(
    app: Flask, world: World, admin: Person, project: Project, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask(project=str(project.id), format="csv", columns="client_id")
    run(app)
    size = len(admin.client.get(file_of(export)).data)
    admin.client.get(file_of(export), headers={"Range": "bytes=3-"})
    events = world.rows(AuditEvent, subject_id=str(export.id))
    assert [event.action.removeprefix("export.") for event in events] == [
        "asked",
        "finished",
        "downloaded",
        "downloaded",
    ]
    assert {(event.subject_type, event.project_id) for event in events} == {("export", project.id)}
    assert [event.actor_id for event in events] == [admin.id, None, admin.id, admin.id]
    asked, finished, whole, part = (event.after for event in events)
    assert asked["columns"] == ["client_id"] and asked["annotations"] == 3
    assert asked["filters"]["project_id"] == str(project.id)
    assert (finished["size_bytes"], finished["sha256"]) == (size, get(world, export.id).sha256)
    assert whole["range"] is None and part["range"] == f"3-{size - 1}"
