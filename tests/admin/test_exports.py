"""/admin/exports: many analyses in one file, counted first, streamed, written down."""

import csv
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from flask import Flask
from sqlalchemy import event
from werkzeug.http import parse_options_header

from app import exports
from app.errors import StorageUnavailable
from app.exports.csv_file import ANALYSIS_COLUMNS, MORE_COLUMNS
from app.extensions import db
from app.models import Analysis, Annotation, AuditEvent, Image, Project
from app.models.columns import new_id
from tests.cast import PASSWORD, Person, Pipeline, pipeline_in_process
from tests.factories import World, some_id
from tests.steps import box, finalize, store, upload

EXPORTS, DOWNLOAD = "/admin/exports", "/admin/exports/download"
MIB = 1024 * 1024


@pytest.fixture
def take(admin: Person, token: Callable[[Person], str]) -> Callable[..., Any]:
    """take(format="csv", project=…): the answer to the form."""
    sent = {"csrf_token": token(admin)}
    return lambda **fields: admin.client.post(DOWNLOAD, data={**sent, **fields})


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.data.decode(), newline="")))


def test_who_may(check_only_admins: Callable[..., None], world: World) -> None:
    check_only_admins([EXPORTS], [DOWNLOAD])
    assert world.count(AuditEvent, action="analyses.exported") == 0


def test_get_downloads_nothing(admin: Person, analysis: Analysis) -> None:
    answer = admin.client.get(DOWNLOAD)
    assert (answer.status_code, answer.location) == (303, EXPORTS)


def test_without_the_feature_it_is_not_there(
    make_app: Any, admin: Person, token: Callable[[Person], str]
) -> None:
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), admin.id, admin.email, admin.key)
    data = {"csrf_token": token(off)}
    assert [off.client.get(EXPORTS).status_code, off.client.get(DOWNLOAD).status_code] == [404, 404]
    assert off.client.post(DOWNLOAD, data=data).status_code == 404
    assert "xport" not in off.client.get("/admin/users").text
    assert EXPORTS in admin.client.get("/admin/users").text


def test_another_site_cannot_start_it(world: World, admin: Person, token: Callable[[Person], str]) -> None:
    data = {"csrf_token": token(admin)}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert admin.client.post(DOWNLOAD, data=data, headers=headers).status_code == 403
    assert world.count(AuditEvent, action="analyses.exported") == 0


# --- the form ----------------------------------------------------------------------------------------------------


@pytest.fixture
def several(world: World, pipeline: Pipeline, project: Project, image: Image) -> dict[str, Analysis]:
    """Four analyses: of two projects, two models, three days; the third one's name is a formula."""
    other = world.image(world.project("Bark"), "bark.png")
    day = datetime(2026, 3, 4, tzinfo=UTC)
    late = day + timedelta(hours=23, minutes=59, seconds=59, microseconds=999_999)
    made = {
        "first": world.analysis(image, "processing", created_at=day),
        "second": world.analysis(image, "processing", created_at=late, model_name="bark-net"),
        "third": world.analysis(other, "processing", created_at=day + timedelta(days=1), model_name="=net()"),
        "empty": world.analysis(other, "failed", created_at=day + timedelta(days=2)),
    }
    for number, name in enumerate(("first", "second", "third"), 1):
        store(pipeline, made[name], [box(client_id=f"{name}{n}", class_name="-leaf") for n in range(number)])
    return made


def counted(person: Person, **query: str) -> tuple[int, int] | None:
    text = person.client.get(EXPORTS, query_string={"count": "1", **query}).text
    found = [re.search(rf'<dd id="{name}">([\d,]+)<', text) for name in ("analyses", "annotations")]
    if not all(found):
        assert "Nothing matches" in text and '<form method="post" action="/admin/exports' not in text
        return None
    return tuple(int(match[1].replace(",", "")) for match in found if match)  # type: ignore[return-value]


def test_counting_first(several: dict[str, Analysis], admin: Person, project: Project) -> None:
    assert 'action="/admin/exports/download"' not in admin.client.get(EXPORTS).text
    assert counted(admin) == (4, 6)
    assert counted(admin, project=str(project.id)) == (2, 3)
    assert counted(admin, model="=net()") == (1, 3)
    assert counted(admin, status="failed") == (1, 0)
    assert counted(admin, created_from="2026-03-04", created_to="2026-03-04") == (2, 3)
    assert counted(admin, created_from="2026-03-05") == (2, 3)
    assert counted(admin, created_to="9999-12-31") == (4, 6)
    assert counted(admin, model="unheard-of") is None


def test_from_the_count_to_the_file(several: dict[str, Analysis], admin: Person, project: Project) -> None:
    chosen = {"project": str(project.id), "what": "analyses", "format": "csv"}
    page = f"{EXPORTS}?count=1&project={project.id}&what=analyses&format=csv"
    answer = admin.client.submit(EXPORTS, EXPORTS, {"project": str(project.id)}, button="count=1")
    assert "Download JSON" in answer.text
    file = admin.client.submit(page, DOWNLOAD)
    assert {row["analysis_id"] for row in rows_of(file)} == {str(several[n].id) for n in ("first", "second")}
    for name, value in chosen.items():
        assert f'name="{name}" value="{value}"' in admin.client.get(page).text


WRONG = [
    ({"project": "nonsense"}, "project"),
    ({"project": str(some_id())}, "project"),
    ({"status": "gone"}, "status"),
    ({"created_from": "yesterday"}, "created_from"),
    ({"created_to": "2026-02-31"}, "created_to"),
    ({"created_from": "2026-03-05", "created_to": "2026-03-04"}, "created_to"),
    ({"format": "xml"}, "format"),
    ({"what": "all"}, "what"),
    ({"model": "a\x07b"}, "model"),
]


@pytest.mark.parametrize(("sent", "field"), WRONG)
def test_what_is_wrong_is_said_and_nothing_is_sent(
    world: World, admin: Person, take: Callable[..., Any], sent: dict[str, str], field: str
) -> None:
    for answer in (admin.client.get(EXPORTS, query_string={"count": "1", **sent}), take(**sent)):
        assert answer.status_code == 422 and f'id="{field}-fault" role="alert"' in answer.text
        assert "Content-Disposition" not in answer.headers
    assert world.count(AuditEvent, action="analyses.exported") == 0


def test_the_page_asks_no_more_for_more(
    world: World, several: dict[str, Analysis], admin: Person, count_queries: Callable[[], Any]
) -> None:
    assert counted(admin) == (4, 6)
    with count_queries() as few:
        counted(admin)
    for n in range(5):
        world.analysis(world.image(world.project(f"P{n}")), "failed", model_name=f"m{n}")
    with count_queries() as many:
        assert counted(admin) == (9, 6)
    assert len(few) == len(many) <= 18


def test_the_form_stays_small_and_holds_what_is_chosen(
    app: Flask, world: World, image: Image, admin: Person
) -> None:
    with app.app_context():
        db.session.add_all(Project(name=f"Project {n:04}") for n in range(700))
        db.session.commit()
    last = world.project("Zoo")
    for n in range(3):
        world.analysis(image, model_name=f"m{n}")
    text = admin.client.get(f"{EXPORTS}?project={last.id}&model=m1").text
    assert len(text) < 40_000
    assert text.count("<option") < 230 and "The first 200 projects by name." in text
    assert re.search(rf'<option value="{last.id}" selected>Zoo<', text)
    assert 'name="model" value="m1"' in text and '<option value="m2"></option>' in text
    assert "Zoo" not in admin.client.get(EXPORTS).text
    assert f'href="{EXPORTS}?project={last.id}"' in admin.client.get(f"/admin/projects/{last.id}").text


# --- the files ---------------------------------------------------------------------------------------------------


def test_json_holds_each_as_it_is_exported_alone(
    app: Flask, several: dict[str, Analysis], pipeline: Pipeline, admin: Person, take: Callable[..., Any]
) -> None:
    upload(app, pipeline, several["first"], "log", b"done\n")
    finalize(pipeline, several["first"])
    answer = take()
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json
    alone = [admin.api("GET", f"/api/analyses/{row.id}/export").json for row in several.values()]
    assert document["analyses"] == alone
    assert [list(one) for one in document["analyses"]] == [list(one) for one in alone]
    assert alone[0]["artifacts"][0]["state"] == "present"
    assert (document["analysis_count"], document["annotation_count"]) == (4, 6)
    assert document["schema_version"] == "1.0" and document["exported_at"].endswith("+00:00")
    assert document["filters"] == {
        "project_id": None,
        "group_id": None,
        "model_name": None,
        "status": None,
        "created_from": None,
        "created_to": None,
        "annotations": True,
    }
    assert list(document)[-2:] == ["analysis_count", "annotation_count"]


def test_json_without_annotations(
    several: dict[str, Analysis], admin: Person, take: Callable[..., Any]
) -> None:
    document = take(what="analyses").json
    assert (document["analysis_count"], document["annotation_count"]) == (4, 0)
    for entry, row in zip(document["analyses"], several.values(), strict=True):
        alone = admin.api("GET", f"/api/analyses/{row.id}/export").json
        assert entry == {name: value for name, value in alone.items() if name != "annotations"}


def test_nothing_is_a_whole_file(take: Callable[..., Any]) -> None:
    document = take(model="none").json
    assert (document["analyses"], document["analysis_count"]) == ([], 0)
    assert rows_of(take(model="none", format="csv")) == []


def test_csv_has_a_row_an_annotation_and_one_for_who_said_nothing(
    several: dict[str, Analysis], admin: Person, take: Callable[..., Any]
) -> None:
    answer = take(format="csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = rows_of(answer)
    assert list(rows[0])[:8] == [*ANALYSIS_COLUMNS]
    assert [row["client_id"] for row in rows] == [
        "first0",
        "second0",
        "second1",
        "third0",
        "third1",
        "third2",
        "",
    ]
    by_id = {str(row.id): row for row in several.values()}
    for row in rows:
        analysis = by_id[row["analysis_id"]]
        assert row["image_id"] == str(analysis.image_id) and row["status"] == analysis.status
        assert datetime.fromisoformat(row["analysis_created_at"]) == analysis.created_at
    assert {row["filename"] for row in rows} == {"leaf.png", "bark.png"}
    assert rows[-1]["annotation_id"] == rows[-1]["annotation_type"] == rows[-1]["data_json"] == ""
    for analysis in several.values():
        alone = rows_of(admin.api("GET", f"/api/analyses/{analysis.id}/export?format=csv"))
        of_it = [row for row in rows if row["analysis_id"] == str(analysis.id) and row["annotation_id"]]
        assert [{name: row[name] for name in row if name not in ANALYSIS_COLUMNS} for row in of_it] == alone
    header = answer.data.decode().split("\r\n", 1)[0].split(",")
    assert len(header) == len(set(header))


def test_csv_without_annotations(several: dict[str, Analysis], take: Callable[..., Any]) -> None:
    rows = rows_of(take(format="csv", what="analyses"))
    assert list(rows[0]) == [*ANALYSIS_COLUMNS, *MORE_COLUMNS]
    assert [(row["status"], row["annotation_count"]) for row in rows] == [
        ("processing", "1"),
        ("processing", "2"),
        ("processing", "3"),
        ("failed", "0"),
    ]


def test_text_that_a_spreadsheet_would_run(
    world: World, several: dict[str, Analysis], take: Callable[..., Any]
) -> None:
    formula = world.image(world.project("Formulas"), "=cmd|'.png")
    world.analysis(
        formula, "failed", model_version="+1", error_message="@SUM(A1)", external_job_id="-x", group_id="=g"
    )
    rows = rows_of(take(format="csv"))
    assert {row["class_name"] for row in rows} == {"'-leaf", ""}
    assert {row["model_name"] for row in rows} == {"leaf-net", "bark-net", "'=net()"}
    assert (rows[-1]["filename"], rows[-1]["model_version"]) == ("'=cmd|'.png", "'+1")
    last = rows_of(take(format="csv", what="analyses"))[-1]
    assert (last["error_message"], last["external_job_id"], last["group_id"]) == ("'@SUM(A1)", "'-x", "'=g")


def test_deleted_images_are_left_out(
    app: Flask, several: dict[str, Analysis], admin: Person, take: Callable[..., Any]
) -> None:
    with app.app_context():
        db.session.get_one(Image, several["third"].image_id).deleted_at = datetime.now(UTC)
        db.session.commit()
    assert counted(admin) == (2, 3)
    assert take().json["analysis_count"] == 2


@pytest.mark.parametrize("name", ["Leaves", 'a/b"; filename="c', "naïve 葉"])
def test_the_file_name(world: World, clock: Any, take: Callable[..., Any], name: str) -> None:
    project = world.project(name)
    for form in ("json", "csv"):
        for fields, part in (({}, "all"), ({"project": str(project.id)}, name)):
            header = take(format=form, **fields).headers["Content-Disposition"]
            kind, options = parse_options_header(header)
            clean = part.replace("/", "-").replace('"', "-")
            assert (kind, options["filename"]) == ("attachment", f"analyses_{clean}_20260304_120000.{form}")


# --- written down ------------------------------------------------------------------------------------------------


def test_who_took_what_is_written_down_before_a_byte_is_sent(
    world: World, several: dict[str, Analysis], admin: Person, project: Project, take: Callable[..., Any]
) -> None:
    answer = take(project=str(project.id), format="csv", created_from="2026-03-01")
    [event] = world.rows(AuditEvent, action="analyses.exported")
    assert (event.actor_id, event.subject_type, event.subject_id) == (admin.id, "project", str(project.id))
    assert event.project_id == project.id and event.before is None
    assert event.after == {
        "filters": {
            "project_id": str(project.id),
            "group_id": None,
            "model_name": None,
            "status": None,
            "created_from": "2026-03-01",
            "created_to": None,
            "annotations": True,
        },
        "format": "csv",
        "columns": None,
        "analyses": 2,
        "annotations": 3,
    }
    assert len(rows_of(answer)) == 3
    take(what="analyses")
    whole = world.rows(AuditEvent, action="analyses.exported")[-1]
    assert (whole.subject_type, whole.subject_id, whole.project_id) == ("user", str(admin.id), None)
    assert (whole.after["analyses"], whole.after["annotations"]) == (4, 0)


# --- streaming ---------------------------------------------------------------------------------------------------


def fill(world: World, image: Image, sizes: list[int]) -> list[Analysis]:
    """Analyses with that many annotations each, put into the tables outright."""
    made = [world.analysis(image, "completed", annotation_count=size, next_position=size) for size in sizes]
    columns = {
        "annotation_type": "bounding_box",
        "content_hash": "0" * 64,
        "class_name": "leaf",
        "confidence": 0.5,
    }
    data = {"x_min": 4.0, "y_min": 4.0, "x_max": 14.0, "y_max": 12.0, "extra": {"note": "x" * 200}}
    moment = datetime.now(UTC)
    with world.app.app_context():
        for analysis, size in zip(made, sizes, strict=True):
            rows = [
                {
                    "id": new_id(),
                    "analysis_id": analysis.id,
                    "position": n,
                    "client_id": f"c{n}",
                    "data": data,
                    "created_at": moment,
                    **columns,
                }
                for n in range(size)
            ]
            if rows:
                db.session.execute(db.insert(Annotation), rows)
        db.session.commit()
    return made


@pytest.mark.parametrize("form", ["json", "csv"])
def test_whole_and_in_order_whatever_the_sizes(
    world: World, image: Image, take: Callable[..., Any], form: str
) -> None:
    """Around a page of annotations and a page of analyses, large beside small."""
    page = exports.PAGE
    sizes = [3, 0, page - 3, page, page + 1, 1, 2 * page, *[2] * 60, 0]
    made = fill(world, image, sizes)
    answer = take(format=form)
    if form == "json":
        document = answer.json
        found = [(one["id"], [a["client_id"] for a in one["annotations"]]) for one in document["analyses"]]
        assert (document["analysis_count"], document["annotation_count"]) == (len(sizes), sum(sizes))
    else:
        said: dict[str, list[str]] = {}
        for row in rows_of(answer):
            said.setdefault(row["analysis_id"], []).extend([row["client_id"]] if row["client_id"] else [])
        found = list(said.items())
    assert found == [
        (str(row.id), [f"c{n}" for n in range(size)]) for row, size in zip(made, sizes, strict=True)
    ]


def test_many_small_ones_are_read_together(
    monkeypatch: pytest.MonkeyPatch,
    world: World,
    image: Image,
    take: Callable[..., Any],
    count_queries: Callable[[], Any],
) -> None:
    monkeypatch.setattr("app.exports.many.FRESH", 1e9)
    fill(world, image, [2] * 40)
    with count_queries() as statements:
        assert take().json["annotation_count"] == 80
    assert len([line for line in statements if "FROM ml_annotations" in line]) == 2, "weighed, then read"
    assert len([line for line in statements if "FROM artifacts" in line]) == 1
    assert len(statements) < 25


@pytest.mark.parametrize("form", ["json", "csv"])
def test_no_transaction_is_open_between_the_pieces(
    app: Flask, world: World, image: Image, take: Callable[..., Any], form: str
) -> None:
    fill(world, image, [exports.PAGE, exports.PAGE, 10])
    with app.app_context():
        pool: Any = db.engine.pool
    in_use = [pool.checkedout() for _ in take(format=form).iter_encoded()]
    assert set(in_use) == {0} and len(in_use) >= 3


def test_what_grew_since_it_was_counted_is_read_by_itself(
    world: World, image: Image, take: Callable[..., Any], app: Flask
) -> None:
    """The counts of the rows say less than there is: still every annotation comes, once."""
    made = fill(world, image, [exports.PAGE, 5])
    with app.app_context():
        for row in made:
            db.session.get_one(Analysis, row.id).annotation_count = 1
        db.session.commit()
    assert [len(one["annotations"]) for one in take().json["analyses"]] == [exports.PAGE, 5]


class Failing:
    """A storage that goes away after some questions."""

    def __init__(self, answers: int) -> None:
        self.answers = answers

    def check(self) -> None:
        return None

    def stat(self, key: str) -> None:
        self.answers -= 1
        if self.answers < 0:
            raise StorageUnavailable

    def public_origin(self) -> None:
        return None


def test_a_storage_that_goes_away_before_the_first_block_is_503(
    app: Flask, world: World, image: Image, pipeline: Pipeline, take: Callable[..., Any]
) -> None:
    made = fill(world, image, [10] * 4)
    running = world.analysis(image, "processing")
    upload(app, pipeline, running, "log", b"x")
    app.extensions["storage"] = Failing(0)
    answer = take(format="json")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert int(answer.headers["Retry-After"]) > 0 and "Content-Disposition" not in answer.headers
    assert len(rows_of(take(format="csv"))) == 10 * len(made) + 1, "CSV has no artifacts in it"


def test_a_storage_that_goes_away_later_raises_from_the_stream(
    app: Flask, world: World, image: Image, pipeline: Pipeline, take: Callable[..., Any]
) -> None:
    fill(world, image, [10] * 49 + [400])
    running = world.analysis(image, "processing")
    upload(app, pipeline, running, "log", b"x")
    app.extensions["storage"] = Failing(0)
    answer = take(format="json")
    assert answer.status_code == 200
    with pytest.raises(StorageUnavailable):
        answer.get_data()


@pytest.mark.parametrize(("form", "times"), [("json", 1), ("csv", 1), ("coco", 2)])
def test_a_writer_gets_in_while_it_is_counted(
    app: Flask,
    database: Any,
    project: Project,
    image: Image,
    take: Callable[..., Any],
    world: World,
    form: str,
    times: int,
) -> None:
    """On SQLite whoever might write keeps all others from it. Where types are left out, they are counted, too."""
    written = []

    def write(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if (
            "sum(ml_analyses.annotation_count)" in statement
            or "BY ml_annotations.annotation_type" in statement
        ):
            with database.engine.begin() as connection:
                change = db.update(Project).where(Project.id == project.id)
                written.append(connection.execute(change.values(description="meanwhile")).rowcount)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", write)
    try:
        assert take(format=form).status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", write)
    assert written == [1] * times and world.reload(project).description == "meanwhile"


@pytest.mark.parametrize("form", ["coco", "yolo"])
@pytest.mark.parametrize(("limit", "value"), [("READ", 2 * exports.PAGE), ("WAIT", 0.0)])
def test_an_estimate_ends_though_nothing_is_written(
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    admin: Person,
    world: World,
    image: Image,
    form: str,
    limit: str,
    value: float,
) -> None:
    """Of classifications: six pages of them would be read. No transaction of the request is open meanwhile."""
    monkeypatch.setattr(exports, "WAIT", 1e9, raising=False)
    monkeypatch.setattr(exports, limit, value, raising=False)
    fill(world, image, [6 * exports.PAGE])
    with app.app_context():
        kind = {"annotation_type": "classification", "data": {"topk": [{"class": "a", "confidence": 1.0}]}}
        db.session.execute(db.update(Annotation).values(**kind))
        db.session.commit()
        engine = db.engine
    open_ones, pages = [], 0

    def look(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal pages
        pages += "FROM ml_annotations" in statement and "LIMIT" in statement
        if "FROM ml_annotations" in statement or "sum(" in statement:
            open_ones.append(db.session.registry().in_transaction())

    event.listen(engine, "before_cursor_execute", look)
    try:
        assert admin.client.get(f"{EXPORTS}?count=1&format={form}").status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", look)
    assert pages <= 2 and open_ones and not any(open_ones)


def test_a_storage_that_is_away_from_the_start_is_503(
    app: Flask, world: World, analysis: Analysis, take: Callable[..., Any]
) -> None:
    class Away(Failing):
        def check(self) -> None:
            raise StorageUnavailable

    app.extensions["storage"] = Away(0)
    assert take().status_code == 503
    assert world.count(AuditEvent, action="analyses.exported") == 0


# --- a real server -----------------------------------------------------------------------------------------------


def signed_in(live_server: Any, person: Person) -> tuple[requests.Session, str]:
    session = requests.Session()
    find = r'name="csrf_token" value="([^"]+)"'
    token = re.findall(find, session.get(f"{live_server.url}/sign-in", timeout=30).text)[0]
    data = {"csrf_token": token, "email": person.email, "password": PASSWORD}
    assert session.post(f"{live_server.url}/sign-in", data=data, timeout=30).status_code == 200
    return session, re.findall(find, session.get(f"{live_server.url}{EXPORTS}", timeout=30).text)[0]


@contextmanager
def most_memory(live_server: Any) -> Iterator[list[int]]:
    """What the workers take together: before, and the most of it meanwhile."""
    seen, over = [live_server.gunicorn.memory()] * 2, threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen[1] = max(seen[1], live_server.gunicorn.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


@pytest.mark.soak
@pytest.mark.parametrize("form", ["json", "csv"])
def test_memory_stays_flat(live_server: Any, form: str) -> None:
    """30,000 annotations in seven analyses: some 20 MB, of which a server holds a page."""
    world = live_server.world
    image = world.image(world.project("Leaves"))
    fill(world, image, [12_000, 9_000, 5_000, 2_500, 1_000, 400, 100])
    session, token = signed_in(live_server, world.person("admin@example.org", role="admin"))
    data = {"csrf_token": token, "format": form}
    warm = {**data, "what": "analyses"}
    assert session.post(f"{live_server.url}{DOWNLOAD}", data=warm, timeout=60).status_code == 200
    with most_memory(live_server) as seen:
        answer = session.post(f"{live_server.url}{DOWNLOAD}", data=data, timeout=120)
    assert answer.status_code == 200 and len(answer.content) > 10 * MIB
    if form == "json":
        assert json.loads(answer.content)["annotation_count"] == 30_000
    else:
        assert answer.content.count(b"\r\n") == 30_001
    assert seen[1] - seen[0] < 25 * MIB, f"{(seen[1] - seen[0]) / MIB:.0f} MiB more"


def test_a_writer_is_not_kept_waiting_by_a_slow_reader(live_server: Any) -> None:
    world = live_server.world
    project = world.project("Leaves")
    fill(world, world.image(project), [9_000])
    session, token = signed_in(live_server, world.person("admin@example.org", role="admin"))
    url = f"{live_server.url}{DOWNLOAD}"
    with session.post(url, data={"csrf_token": token}, stream=True, timeout=60) as answer:
        assert answer.raw.read(1000)
        running = world.analysis(world.image(project), "processing")
        written = live_server.pipeline.post(
            f"/api/analyses/{running.id}/annotations:bulk", {"annotations": [box()]}
        )
        assert written.status_code == 200
        rest = answer.raw.read()
    assert rest.rstrip().endswith(b'"annotation_count":9000}'), "what came later is not in it"


def test_a_store_that_fails_meanwhile_breaks_the_download_off(live_server: Any) -> None:
    """The connection is cut, so that no half file looks whole. Here the last log is a link in a circle."""
    world = live_server.world
    image = world.image(world.project("Leaves"))
    fill(world, image, [900] * 8)
    last = world.analysis(image, "processing")
    path = upload(world.app, pipeline_in_process(world.app), last, "log", b"done")
    session, token = signed_in(live_server, world.person("admin@example.org", role="admin"))
    url, data = f"{live_server.url}{DOWNLOAD}", {"csrf_token": token}
    assert session.post(url, data=data, timeout=60).json()["analysis_count"] == 9
    file = live_server.instance / "storage" / path
    file.unlink()
    file.symlink_to(file.name)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        session.post(url, data=data, timeout=60)
    file.unlink()
    assert session.post(url, data=data, timeout=60).json()["analysis_count"] == 9


def test_a_small_export_whose_store_fails_is_an_answer_like_any_other(live_server: Any) -> None:
    """Nothing has been sent yet, so people see a page and programs a problem, and both when to come back."""
    world = live_server.world
    image = world.image(world.project("Leaves"))
    analysis = world.analysis(image, "processing")
    path = upload(world.app, pipeline_in_process(world.app), analysis, "log", b"done")
    admin = world.person("admin@example.org", role="admin")
    session, token = signed_in(live_server, admin)
    file = live_server.instance / "storage" / path
    file.unlink()
    file.symlink_to(file.name)
    url, data = f"{live_server.url}{DOWNLOAD}", {"csrf_token": token}
    many = session.post(url, data=data, timeout=60)
    one = live_server.api(admin, "GET", f"/api/analyses/{analysis.id}/export")
    file.unlink()
    assert [many.status_code, one.status_code] == [503, 503]
    assert int(many.headers["Retry-After"]) > 0 and int(one.headers["Retry-After"]) > 0
    assert many.headers["Content-Type"].startswith("text/html")
    assert "Content-Disposition" not in many.headers and "send the form once more" in many.text
    assert one.json()["code"] == "storage-unavailable"
    assert session.post(url, data=data, timeout=60).json()["analysis_count"] == 1


@pytest.mark.soak
@pytest.mark.parametrize("form", ["json", "csv"])
def test_memory_stays_flat_whatever_the_annotations_weigh(live_server: Any, form: str) -> None:
    """400 reports of 60 KB each: 24 MB of text, half a gigabyte as objects, were they all in one page."""
    world = live_server.world
    [analysis] = fill(world, world.image(world.project("Leaves")), [400])
    heavy = {"annotation_type": "custom", "data": {"report": [{"n": n} for n in range(6000)]}}
    with world.app.app_context():
        db.session.execute(db.update(Annotation).values(heavy))
        db.session.commit()
    admin = world.person("admin@example.org", role="admin")
    session, token = signed_in(live_server, admin)
    data = {"csrf_token": token, "format": form}
    url = f"{live_server.url}{DOWNLOAD}"
    assert session.post(url, data={**data, "what": "analyses"}, timeout=60).status_code == 200
    with most_memory(live_server) as seen:
        many = session.post(url, data=data, timeout=120)
        one = live_server.api(admin, "GET", f"/api/analyses/{analysis.id}/export?format={form}")
    assert (many.status_code, one.status_code) == (200, 200)
    assert min(len(many.content), len(one.content)) > 22 * MIB
    assert seen[1] - seen[0] < 100 * MIB, f"{(seen[1] - seen[0]) / MIB:.0f} MiB more"
