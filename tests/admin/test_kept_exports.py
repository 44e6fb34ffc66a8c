"""/admin/exports: what is written in the background, kept for a while, and downloaded in parts."""

import csv
import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.http import parse_options_header

from app import background, exporter, exports
from app.bundles import writing
from app.bundles.verifying import verify
from app.bundles.writing import least_manifest
from app.dialect import clock as shared_clock
from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, AuditEvent, Export, ExportState, Image, Project
from app.models.columns import new_id, now
from app.services import kept_exports
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.fakes import FixedClock, fill_temporary_folder
from tests.steps import box, finalize, store, upload
from tests.support.crowds import crowd

EXPORTS, NEW, KEPT = "/admin/exports", "/admin/exports/new", "/admin/exports/kept"


on_both_storages = pytest.mark.parametrize(
    "app", ["local", pytest.param("s3", marks=pytest.mark.soak)], indirect=True
)


@pytest.fixture
def app(request: pytest.FixtureRequest, make_app: Callable[..., Flask]) -> Flask:
    in_bucket = getattr(request, "param", "local") == "s3"
    return make_app(**(request.getfixturevalue("s3").environ if in_bucket else {}))


@pytest.fixture
def clock(app: Flask) -> FixedClock:
    """Stands still at this moment: rows are dated by the machine."""
    app.extensions["clock"] = fixed = FixedClock(now() + timedelta(seconds=5))
    return fixed


@pytest.fixture
def ask(admin: Person, token: Callable[[Person], str], world: World) -> Callable[..., Export]:
    """ask(format="csv", project=…): the row that the form makes."""
    sent = {"csrf_token": token(admin)}

    def post(**fields: Any) -> Export:
        export_id = fields.setdefault("export_id", new_id())
        answer = admin.client.post(NEW, data={**sent, **fields})
        assert (answer.status_code, answer.location) == (303, f"{EXPORTS}#kept"), answer.text
        return get(world, export_id)

    return post


def get(world: World, export_id: UUID) -> Export:
    with world.app.app_context():
        row = db.session.get_one(Export, export_id)
        db.session.expunge(row)
        return row


def run(app: Flask, task: str = "exports", *, dry_run: bool = False) -> list[str]:
    """What the task says, as the loop runs it."""
    with app.app_context():
        return [said for said in background.steps(background.TASKS[task], dry_run=dry_run) if said]


def file_of(export: Export) -> str:
    return f"{EXPORTS}/{export.id}/file"


def kept_files(app: Flask) -> list[str]:
    return [found.key for found in app.extensions["storage"].listed("exports/")]


def run_out(app: Flask, export: Export) -> None:
    """As if whoever writes it had not been heard of for the time of a lease."""
    with app.app_context():
        db.session.get_one(Export, export.id).lease_expires_at = shared_clock() - timedelta(seconds=1)
        db.session.commit()


def due_now(app: Flask, export: Export) -> None:
    with app.app_context():
        db.session.get_one(Export, export.id).due_at = shared_clock() - timedelta(seconds=1)
        db.session.commit()


@pytest.fixture
def said(world: World, pipeline: Pipeline, image: Image) -> Analysis:
    """An analysis with three annotations."""
    analysis = world.analysis(image, "processing", group_id="run-4")
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(3)])
    return analysis


# --- who may -----------------------------------------------------------------------------------------------------


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


def test_what_is_not_there_is_not_found(admin: Person, said: Analysis, ask: Callable[..., Export]) -> None:
    assert admin.client.get(f"{EXPORTS}/{some_id()}/file").status_code == 404
    assert admin.client.get(file_of(ask())).status_code == 404, "not written yet"


def test_another_site_cannot_ask(world: World, admin: Person, token: Callable[[Person], str]) -> None:
    data = {"csrf_token": token(admin), "export_id": str(new_id())}
    answer = admin.client.post(NEW, data=data, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403 and world.count(Export) == 0


# --- from the form to the file -----------------------------------------------------------------------------------


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


def test_chosen_columns_have_the_cells_of_the_whole_file(
    app: Flask, world: World, admin: Person, pipeline: Pipeline, image: Image, token: Any
) -> None:
    """Also where all that is chosen is empty, and where cells are formulas or hold what parts them."""
    analysis = world.analysis(image, "processing", model_name='=net(),"', model_version="1\r2")
    texts = ("plain", "=1+1", 'a,"b"', None)
    store(pipeline, analysis, [box(**({"class_name": text} if text else {})) for text in texts])
    world.analysis(image, "failed")
    sent = {"csrf_token": token(admin), "format": "csv"}

    def rows(**more: str) -> list[dict[str, str]]:
        answer = admin.client.post(f"{EXPORTS}/download", data={**sent, **more})
        return list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))

    whole = rows()
    assert len(whole) == 5 and {row["class_name"] for row in whole} == {"plain", "'=1+1", 'a,"b"', ""}
    for columns in ("class_name", "client_id", "model_name class_name x_min data_json", " ".join(whole[0])):
        wanted = [{name: row[name] for name in row if name in columns.split()} for row in whole]
        assert rows(columns=columns) == wanted
    assert rows(what="analyses", columns="priority status") == [
        {"status": "processing", "priority": "0"},
        {"status": "failed", "priority": "0"},
    ]


@pytest.mark.parametrize("form", list(exports.FORMATS))
def test_the_same_bytes_as_a_download_at_once(
    app: Flask,
    admin: Person,
    said: Analysis,
    clock: FixedClock,
    ask: Callable[..., Export],
    token: Callable[[Person], str],
    form: str,
) -> None:
    export = ask(format=form, group="run-4")
    clock.advance(3600)
    run(app)
    kept = admin.client.get(file_of(export))
    clock.advance(-3600)
    data = {"csrf_token": token(admin), "format": form, "group": "run-4"}
    at_once = admin.client.post(f"{EXPORTS}/download", data=data)
    assert kept.data == at_once.data and kept.data
    for header in ("Content-Disposition", "Content-Type"):
        assert kept.headers[header] == at_once.headers[header]


def test_what_came_after_it_was_asked_for_is_not_in_it(
    app: Flask, world: World, admin: Person, image: Image, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    world.analysis(image)
    run(app)
    assert admin.client.get(file_of(export)).json["analysis_count"] == 1


def test_a_group_alone(
    app: Flask, world: World, admin: Person, image: Image, said: Analysis, ask: Callable[..., Export]
) -> None:
    world.analysis(image, group_id="another")
    export = ask(group="run-4", what="analyses")
    run(app)
    document = admin.client.get(file_of(export)).json
    assert [one["id"] for one in document["analyses"]] == [str(said.id)]
    assert document["filters"]["group_id"] == "run-4"


@pytest.mark.parametrize("form", ["bundle", "bundle-images"])
def test_a_bundle(
    app: Flask,
    world: World,
    admin: Person,
    pipeline: Pipeline,
    image: Image,
    project: Project,
    said: Analysis,
    ask: Callable[..., Export],
    form: str,
) -> None:
    """Of a group: it is signed, it verifies, and one made at once has the same files."""
    upload(app, pipeline, said, "log", b"done\n" * 1000)
    finalize(pipeline, said)
    world.analysis(image, "failed", group_id="another")
    wanted = {"project": str(project.id), "group": "run-4", "format": form}
    page = admin.client.get(f"{EXPORTS}?{urlencode({**wanted, 'count': 1})}").text
    assert "Download Provenance" not in page and "Write it in the background" in page
    export = ask(**wanted)
    assert run(app) == [f"export {export.id}: written"]
    kept, content = get(world, export.id), admin.client.get(file_of(export)).data
    assert (kept.analyses_done, kept.annotations_done) == (1, 3) and kept.filename.endswith(".bundle.zip")
    assert len(content) / 4 < kept.estimated_bytes < len(content)
    verified = verify(io.BytesIO(content))  # raises where it is not whole
    assert verified.signed
    images = int(form == "bundle-images")
    at_once = admin.api("GET", f"/api/projects/{project.id}/bundle?group_id=run-4&images={images}").data
    names, expected = (zipfile.ZipFile(io.BytesIO(one)).namelist() for one in (content, at_once))
    assert names == expected and (f"images/{image.id}.png" in names) == bool(images)
    assert verified.manifest["scope"] == {"project_id": str(project.id), "group_id": "run-4"}
    assert verified.manifest["counts"] == {"analyses": 1, "annotations": 3}


def test_it_outlives_what_it_holds_and_the_page_says_so(
    app: Flask, world: World, admin: Person, editor: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    """What members export is no event; what admins do is."""
    export = ask()
    run(app)
    before = world.count(AuditEvent)
    for what in (f"analyses/{said.id}/export", f"analyses/{said.id}/bundle"):
        assert editor.api("GET", f"/api/{what}").status_code == 200
    assert world.count(AuditEvent) == before
    assert editor.api("DELETE", f"/api/analyses/{said.id}").status_code == 200
    assert editor.api("GET", f"/api/analyses/{said.id}/export").status_code == 410
    assert admin.client.get(file_of(export)).json["analysis_count"] == 1
    assert world.count(AuditEvent, action="export.downloaded") == 1
    text = admin.client.get(EXPORTS).text
    assert "also when what it holds is deleted meanwhile" in text
    assert "What members export themselves is not" in text


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


@pytest.mark.parametrize("name", ['a/b"; filename="c', "naïve 葉", "=cmd()", "<b>..\\..\\x", "x" * 255])
def test_hostile_names(
    app: Flask, world: World, admin: Person, ask: Callable[..., Export], name: str
) -> None:
    project = world.project(name)
    world.analysis(world.image(project, name[:200]))
    export = ask(project=str(project.id))
    assert run(app) == [f"export {export.id}: written"]
    header = admin.client.get(file_of(export)).headers["Content-Disposition"]
    kind, options = parse_options_header(header)
    clean = re.sub(r'[/\\:*?"<>|]', "-", name)
    assert kind == "attachment" and options["filename"].startswith(f"analyses_{clean}_")
    assert kept_files(app) == [f"exports/{export.id}/1"]
    assert "<b>.." not in admin.client.get(EXPORTS).text


# --- the page ----------------------------------------------------------------------------------------------------


def poll(person: Person, address: str) -> Any:
    return person.client.get(address, headers={"HX-Request": "true"})


def poll_address(text: str) -> str | None:
    match = re.search(r'id="kept"[^>]* hx-get="([^"]+)"', text)
    return match[1].replace("&amp;", "&") if match else None


def test_the_page_polls_until_all_has_ended(
    app: Flask, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    assert poll_address(admin.client.get(EXPORTS).text) is None
    export = ask()
    address = poll_address(admin.client.get(EXPORTS).text)
    assert address
    assert poll(admin, address).status_code == 204, "nothing has changed"
    assert "Kept exports" in admin.client.get(address).text, "it opens as a page too"
    with app.app_context():
        steps = background.steps(background.TASKS["exports"])
        assert next(steps) == ""
        begun = poll(admin, address)
        assert begun.status_code == 200 and "being written" in begun.text and "<progress" in begun.text
        address = poll_address(begun.text)
        assert address and 'id="announcer"' not in begun.text
        list(steps)
    ended = poll(admin, address)
    assert ended.status_code == 200 and poll_address(ended.text) is None
    assert 'id="announcer"' in ended.text and "is ready." in ended.text
    assert f'href="{file_of(export)}"' in ended.text


def test_many_are_shown_in_pages(app: Flask, world: World, admin: Person, ask: Callable[..., Export]) -> None:
    with app.app_context():
        columns = {"selection": {"annotations": True}, "format": "json", "content_type": "x/y"}
        ended = {"state": "failed", "error": "no"}
        db.session.add_all(Export(filename=f"file {n:03}", **columns, **ended) for n in range(60))
        db.session.commit()
    first = admin.client.get(EXPORTS).text
    assert "file 059" in first and "file 009" not in first
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older
    second = admin.client.get(older[1].replace("&amp;", "&")).text
    assert "file 009" in second and "file 059" not in second and 'rel="prev"' in second


# --- parts of a file ---------------------------------------------------------------------------------------------


@pytest.fixture
def written(app: Flask, world: World, image: Image, ask: Callable[..., Export]) -> Export:
    """A file of several blocks."""
    crowd(world, image, 1200)
    export = ask()
    run(app)
    return get(world, export.id)


@on_both_storages
def test_a_part_is_what_stands_there(admin: Person, written: Export) -> None:
    whole = admin.client.get(file_of(written))
    size = len(whole.data)
    assert size == written.size_bytes and size > 3 * 64 * 1024
    assert whole.headers["Accept-Ranges"] == "bytes" and whole.headers["ETag"] == f'"{written.sha256}"'
    for asked, start, stop in (
        ("0-0", 0, 1),
        ("0-99", 0, 100),
        ("70000-", 70_000, size),
        (f"{size - 1}-", size - 1, size),
        (f"100-{size * 2}", 100, size),
        ("-10", size - 10, size),
        (f"-{size * 2}", 0, size),
        ("65530-131080", 65_530, 131_081),
    ):
        answer = admin.client.get(file_of(written), headers={"Range": f"bytes={asked}"})
        assert answer.status_code == 206, asked
        assert answer.data == whole.data[start:stop], asked
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{size}"
        assert int(answer.headers["Content-Length"]) == stop - start
        assert answer.headers["Content-Disposition"] == whole.headers["Content-Disposition"]


def test_what_is_no_part_is_416(world: World, admin: Person, written: Export) -> None:
    before = world.count(AuditEvent, action="export.downloaded")
    for asked in (f"{written.size_bytes}-", "999999999999-", "-0"):
        answer = admin.client.get(file_of(written), headers={"Range": f"bytes={asked}"})
        assert answer.status_code == 416, asked
        assert answer.headers["Content-Range"] == f"bytes */{written.size_bytes}"
    assert world.count(AuditEvent, action="export.downloaded") == before


@pytest.mark.parametrize("asked", ["bytes=0-1,5-9", "pages=1-2", "bytes=9-1", "bytes=x-", "nonsense"])
def test_what_is_not_understood_is_all_of_it(admin: Person, written: Export, asked: str) -> None:
    answer = admin.client.get(file_of(written), headers={"Range": asked})
    assert answer.status_code == 200 and len(answer.data) == written.size_bytes


def test_a_part_of_another_file_is_all_of_this_one(admin: Person, written: Export) -> None:
    whole = admin.client.get(file_of(written))
    for known, status in (
        (whole.headers["ETag"], 206),
        (f"W/{whole.headers['ETag']}", 200),
        ('"another"', 200),
        (whole.headers["Last-Modified"], 206),
        ("Wed, 04 Mar 2020 12:00:00 GMT", 200),
        ("nonsense", 200),
    ):
        headers = {"Range": "bytes=10-19", "If-Range": known}
        answer = admin.client.get(file_of(written), headers=headers)
        assert (answer.status_code, len(answer.data)) == (status, 10 if status == 206 else len(whole.data)), (
            known
        )


def test_head_and_not_modified_send_and_record_nothing(world: World, admin: Person, written: Export) -> None:
    head = admin.client.head(file_of(written))
    assert (head.status_code, head.data) == (200, b"") and head.content_length == written.size_bytes
    known = admin.client.get(file_of(written), headers={"If-None-Match": f'"{written.sha256}"'})
    assert (known.status_code, known.data) == (304, b"")
    assert world.count(AuditEvent, action="export.downloaded") == 0


# --- written down ------------------------------------------------------------------------------------------------


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


# --- canceled, deleted, over -------------------------------------------------------------------------------------


def press(admin: Person, export: Export, button: str) -> str:
    address = f"{EXPORTS}/{export.id}/{button}"
    answer = admin.client.submit(EXPORTS, address)
    assert answer.status_code == 303
    return str(admin.client.get(EXPORTS).text)


def test_what_waits_can_be_canceled(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    assert "has been canceled" in press(admin, export, "cancel")
    assert run(app) == [] and get(world, export.id).state == "canceled"
    assert world.count(AuditEvent, action="export.canceled") == 1


@on_both_storages
@pytest.mark.parametrize("at", ["between", "at the end"])
def test_what_is_written_can_be_canceled(
    app: Flask,
    world: World,
    admin: Person,
    image: Image,
    ask: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    """Whoever writes it stops, and leaves no file."""
    monkeypatch.setattr(exporter, "BEAT_EVERY", 0 if at == "between" else 3600)
    crowd(world, image, 1200)
    export = ask()
    with app.app_context():
        steps = background.steps(background.TASKS["exports"])
        next(steps), next(steps)
        assert get(world, export.id).state == "running"
        press(admin, export, "cancel")
        assert list(filter(None, steps)) == []
    kept = get(world, export.id)
    assert (kept.state, kept.storage_path) == ("canceled", None) and kept_files(app) == []
    assert world.count(AuditEvent, action="export.finished") == 0


@on_both_storages
def test_deleting_takes_the_file_along(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export], token: Any
) -> None:
    export = ask()
    data = {"csrf_token": token(admin)}
    admin.client.post(f"{EXPORTS}/{export.id}/delete", data=data)
    assert world.count(Export) == 1, "it is not written yet"
    run(app)
    assert kept_files(app)
    assert "has been deleted" in press(admin, export, "delete")
    assert world.count(Export) == 0 and kept_files(app) == []
    [event] = world.rows(AuditEvent, action="export.deleted")
    assert event.before["filename"] == export.filename


@on_both_storages
def test_it_goes_when_its_time_is_over(
    app: Flask, world: World, admin: Person, said: Analysis, clock: FixedClock, ask: Callable[..., Export]
) -> None:
    export = ask()
    run(app)
    assert get(world, export.id).expires_at == clock() + timedelta(days=7)
    clock.advance(days=7, seconds=-1)
    assert run(app, "kept-exports") == [] and kept_files(app)
    clock.advance(seconds=1)
    would = run(app, "kept-exports", dry_run=True)
    assert kept_files(app) and world.count(Export) == 1
    assert run(app, "kept-exports") == would == [f"export {export.id}, {export.filename}"]
    assert world.count(Export) == 0 and kept_files(app) == []
    assert admin.client.get(file_of(export)).status_code == 404
    assert world.count(AuditEvent, action="export.purged") == 1


@on_both_storages
def test_files_of_no_export_are_lost_files(
    app: Flask, world: World, said: Analysis, clock: FixedClock, ask: Callable[..., Export]
) -> None:
    export = ask()
    run(app)
    lost = f"exports/{some_id()}/1"
    app.extensions["storage"].put(lost, b"x", "text/csv")
    clock.advance(days=40)
    assert run(app, "lost-files") == [f"1 file of {lost[:-2]}"]
    assert kept_files(app) == [f"exports/{export.id}/1"]


# --- what goes wrong ---------------------------------------------------------------------------------------------


def test_of_two_processes_one_writes_it(
    app: Flask, world: World, said: Analysis, ask: Callable[..., Export], at_once: Callable[..., list[Any]]
) -> None:
    asked = [ask() for _ in range(3)]
    told = at_once([lambda: run(app)] * 2)
    assert sorted(told[0] + told[1]) == sorted(f"export {export.id}: written" for export in asked)
    assert {get(world, export.id).attempt for export in asked} == {1}
    assert len(kept_files(app)) == world.count(AuditEvent, action="export.finished") == 3


@on_both_storages
def test_a_process_that_was_abandoned_is_followed_by_another(
    app: Flask,
    world: World,
    admin: Person,
    image: Image,
    ask: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes back when the other has finished, and changes nothing any more."""
    monkeypatch.setattr(exporter, "BEAT_EVERY", 0)
    crowd(world, image, 1200)
    export = ask()
    with app.app_context():
        steps = background.steps(background.TASKS["exports"])
        next(steps), next(steps)
        assert run(app) == [], "its lease lasts"
        run_out(app, export)
        assert run(app) == [f"export {export.id}: written"]
        done = get(world, export.id)
        assert list(filter(None, steps)) == []
    kept = get(world, export.id)
    assert (kept.state, kept.attempt, kept.storage_path) == ("done", 2, f"exports/{export.id}/2")
    assert (kept.finished_at, kept.sha256) == (done.finished_at, done.sha256)
    assert kept_files(app) == [kept.storage_path]
    whole = admin.client.get(file_of(export)).data
    assert hashlib.sha256(whole).hexdigest() == kept.sha256
    assert world.count(AuditEvent, action="export.finished") == 1


def test_what_ends_its_processes_is_given_up(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    for _ in range(kept_exports.MOST_ATTEMPTS):
        with app.app_context():
            assert kept_exports.claim(now()) is not None
            db.session.commit()
        run_out(app, export)
    assert run(app) == [f"export {export.id}: given up"]
    kept = get(world, export.id)
    assert (kept.state, kept.error) == ("failed", kept_exports.ABANDONED)
    assert kept_exports.ABANDONED in admin.client.get(EXPORTS).text
    assert kept_files(app) == [] and run(app) == []


@on_both_storages
@pytest.mark.parametrize("taken", [1, 3])
def test_whoever_is_told_to_stop_hands_it_back(
    app: Flask, world: World, admin: Person, image: Image, ask: Callable[..., Export], taken: int
) -> None:
    """However often, and whether it has just begun or is in the midst of it: it is no attempt."""
    crowd(world, image, 1200)
    export = ask()
    for _ in range(kept_exports.MOST_ATTEMPTS + 1):
        with app.app_context():
            steps = background.steps(background.TASKS["exports"])
            assert [next(steps) for _ in range(taken)] == [""] * taken
            assert get(world, export.id).state == "running"
            steps.close()
        kept = get(world, export.id)
        assert (kept.state, kept.attempt, kept.error, kept.lease_expires_at) == ("queued", 0, None, None)
    assert run(app) == [f"export {export.id}: written"], "at once"
    assert get(world, export.id).attempt == 1 and kept_files(app) == [f"exports/{export.id}/1"]
    assert admin.client.get(file_of(export)).json["annotation_count"] == 1200
    assert app.extensions["storage"].clear_partial(now() + timedelta(days=1)) == 0


def test_a_loop_that_is_stopped_leaves_it_to_the_next(
    app: Flask, world: World, image: Image, ask: Callable[..., Export]
) -> None:
    crowd(world, image, 1200)
    export, files = ask(), app.extensions["storage"]
    begun, stopped = threading.Event(), threading.Event()

    class Slow:
        """Takes its time with the first block, until the loop has been told to end."""

        def writer(self, *args: Any) -> Any:
            writer = files.writer(*args)
            write = writer.write

            def wait(chunk: bytes) -> None:
                begun.set()
                assert stopped.wait(60)
                write(chunk)

            writer.write = wait
            return writer

    app.extensions["storage"] = Slow()
    loop = background.Loop(app, {"exports": background.TASKS["exports"]})
    loop.start()
    assert begun.wait(60)
    loop._ending.set()
    stopped.set()
    loop.stop()
    kept = get(world, export.id)
    assert (kept.state, kept.attempt) == ("queued", 0)
    app.extensions["storage"] = files
    assert run(app) == [f"export {export.id}: written"]


def test_whoever_is_told_to_stop_too_late_hands_back_nothing(
    app: Flask, world: World, image: Image, ask: Callable[..., Export]
) -> None:
    """It was thought dead, and another writes it."""
    crowd(world, image, 1200)
    export = ask()
    with app.app_context():
        late = background.steps(background.TASKS["exports"])
        next(late), next(late)
        run_out(app, export)
        with app.app_context():
            other = kept_exports.claim(now())
            db.session.commit()
        late.close()
    kept = get(world, export.id)
    assert other is not None and other.attempt == 2
    assert (kept.state, kept.attempt) == ("running", 2)


class Away:
    """A storage that can be asked for nothing."""

    def writer(self, *_: Any) -> None:
        raise StorageUnavailable("The disk of the server cannot be used.")

    def public_origin(self) -> None:
        return None


def test_a_storage_that_is_away_is_tried_again_and_then_it_has_failed(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export, storage = ask(), app.extensions["storage"]
    app.extensions["storage"] = Away()
    for attempt in range(1, kept_exports.MOST_ATTEMPTS):
        with app.app_context():  # told to stop meanwhile, which does not count
            steps = background.steps(background.TASKS["exports"])
            next(steps), steps.close()
        assert run(app) == [f"export {export.id}: put off"]
        assert run(app) == [], "not at once"
        kept = get(world, export.id)
        assert (kept.state, kept.attempt) == ("queued", attempt)
        assert "is tried again: The disk" in admin.client.get(EXPORTS).text
        due_now(app, export)
    assert run(app) == [f"export {export.id}: failed"]
    app.extensions["storage"] = storage
    due_now(app, export)
    assert run(app) == []
    text = admin.client.get(EXPORTS).text
    assert "cannot be used." in text and "tried again" not in text
    [event] = world.rows(AuditEvent, action="export.failed")
    assert event.after == {"error": "The disk of the server cannot be used.", "attempts": 5}


def test_a_storage_that_comes_back_gets_the_file(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export, storage = ask(), app.extensions["storage"]
    app.extensions["storage"] = Away()
    assert run(app) == [f"export {export.id}: put off"]
    app.extensions["storage"] = storage
    due_now(app, export)
    assert run(app) == [f"export {export.id}: written"]
    kept = get(world, export.id)
    assert (kept.state, kept.error, kept.attempt) == ("done", None, 2)
    assert admin.client.get(file_of(export)).json["annotation_count"] == 3


@pytest.mark.parametrize("form", ["coco", "yolo", "everything"])
def test_no_room_for_what_waits_is_said_and_tried_again(
    app: Flask,
    world: World,
    admin: Person,
    project: Project,
    said: Analysis,
    ask: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    export = ask(format=form, project=str(project.id))
    with monkeypatch.context() as full:
        fill_temporary_folder(full)
        assert run(app) == [f"export {export.id}: put off"]
    kept = get(world, export.id)
    assert (kept.state, kept.attempt) == ("queued", 1) and kept_files(app) == []
    assert "is tried again: The temporary folder" in admin.client.get(EXPORTS).text
    due_now(app, export)
    assert run(app) == [f"export {export.id}: written"]


def test_what_cannot_be_written_fails_at_once_and_the_next_is_written(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export], caplog: Any
) -> None:
    broken, whole = ask(), ask()
    with app.app_context():
        db.session.get_one(Export, broken.id).format = "of a later version"
        db.session.commit()
    assert run(app) == [f"export {broken.id}: failed", f"export {whole.id}: written"]
    assert "KeyError" in str(get(world, broken.id).error)
    assert any(record.exc_info for record in caplog.records if str(broken.id) in record.getMessage())


def test_a_bundle_that_is_too_long_fails_at_once(
    app: Flask,
    world: World,
    admin: Person,
    said: Analysis,
    image: Image,
    ask: Callable[..., Export],
    count_queries: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where that is known beforehand, by what was there when it was asked for, no annotation is read."""
    for less in (1, 0):
        export = ask(format="bundle")
        world.analysis(image, "completed")
        least = least_manifest(3 * (len(world.rows(Analysis)) - 1), 0)
        monkeypatch.setattr(writing, "MOST_MANIFEST", least - less)
        with count_queries() as statements:
            assert run(app) == [f"export {export.id}: failed"]
        assert any("FROM ml_annotations" in one for one in statements) == (less == 0)
        kept = get(world, export.id)
        assert (kept.state, kept.attempt) == ("failed", 1) and kept_files(app) == []
        assert "too long" in str(kept.error)


def test_other_tasks_go_between_the_blocks(
    app: Flask, world: World, image: Image, ask: Callable[..., Export]
) -> None:
    crowd(world, image, 1200)
    ask()
    ran: list[str] = []

    def often(_: bool) -> Iterator[str | None]:
        ran.append("often")
        yield None

    tasks = {"exports": background.TASKS["exports"], "often": background.Task(0, often)}
    background.Loop(app, tasks).look()
    assert len(ran) > 4 and [row.state for row in world.rows(Export)] == [ExportState.DONE]


def test_nothing_is_held_in_the_database_while_it_is_written(
    app: Flask, database: Any, world: World, image: Image, ask: Callable[..., Export], project: Project
) -> None:
    crowd(world, image, 1200)
    ask()
    with app.app_context():
        pool: Any = db.engine.pool
        steps = background.steps(background.TASKS["exports"])
        for n, _ in enumerate(steps):
            assert pool.checkedout() == 0
            with database.engine.begin() as connection:
                change = db.update(Project).where(Project.id == project.id)
                assert connection.execute(change.values(description=f"{n}")).rowcount == 1
    assert world.reload(project).description == f"{n}"
