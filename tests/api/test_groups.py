"""Groups over the API: listed, counted, canceled with a preview; and the analyses of one."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, AuditEvent, Group, Image, Project, WebhookDelivery
from app.models.columns import now
from app.services import cancels
from tests.cast import Person, Pipeline
from tests.factories import WEBHOOKS, World, some_id
from tests.fakes import BrokenStorage
from tests.html import LintClient
from tests.steps import check_problem, fields_at_fault, finalize, upload

NIGHT = {"group_id": "night run"}
START = datetime(2026, 1, 1, tzinfo=UTC)
# any short text names a group; none of these may mean anything on the way
HOSTILE = (
    "..",
    "../../admin",
    "a/b//c",
    "/",
    "%2e%2e%2f",
    "a?b=c&group_id=d#e",
    "100 %",
    "<script>alert(1)</script>",
    "'; DROP TABLE analysis_groups; --",
    "Näçhtlauf 夜 🌙",
    "\\..\\",
    "null",
    "x" * 255,
    "=1+1",
    ":cancel",
)


def listing(person: Person, project: Project, **query: Any) -> dict[str, Any]:
    answer = person.api("GET", f"/api/projects/{project.id}/groups", query_string=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json
    return found


def group(person: Person, project: Project, group_id: str = "night run") -> Any:
    return person.api("GET", f"/api/projects/{project.id}/group", query_string={"group_id": group_id})


def cancel(person: Person, project: Project, group_id: str = "night run", **query: Any) -> Any:
    address = f"/api/projects/{project.id}/group:cancel"
    return person.api("POST", address, query_string={"group_id": group_id, **query})


@pytest.fixture
def night(world: World, image: Image) -> dict[str, list[Analysis]]:
    """By status: two queued, three processing (one leased), and one of each end."""
    lease = {"lease_epoch": 1, "lease_owner": "w", "lease_seconds": 60}
    made = {
        "queued": [world.analysis(image, **NIGHT) for _ in range(2)],
        "processing": [world.analysis(image, "processing", **NIGHT) for _ in range(2)],
    }
    ends = now() + timedelta(minutes=1)
    made["processing"].append(world.analysis(image, "processing", lease_expires_at=ends, **lease, **NIGHT))
    for status in ("completed", "failed", "canceled"):
        made[status] = [world.analysis(image, status, annotation_count=7, **NIGHT)]
    return made


# --- who ---------------------------------------------------------------------------------------------------------


def test_who_may(
    client: LintClient, project: Project, night: object, viewer: Person, editor: Person, stranger: Person
) -> None:
    for name in ("groups", "group?group_id=night+run"):
        path = f"/api/projects/{project.id}/{name}"
        assert client.get(path).status_code == 401
        check_problem(stranger.api("GET", path), 403, "forbidden")
        assert viewer.api("GET", path).status_code == 200
        check_problem(editor.api("PUT", path), 405, "method-not-allowed")
    check_problem(cancel(viewer, project), 403, "forbidden")
    check_problem(cancel(viewer, project, dry_run=1), 403, "forbidden")
    check_problem(cancel(stranger, project), 403, "forbidden")
    assert cancel(editor, project, dry_run=1).status_code == 200


def test_what_is_not_there(world: World, project: Project, night: object, owner: Person) -> None:
    """A stranger is told that it is not theirs before anything is said of groups."""
    for ask in (group, cancel):
        check_problem(ask(owner, project, "day run"), 404, "not-found")
        nowhere = Project(id=some_id())
        check_problem(ask(owner, nowhere), 404, "not-found")
    path = f"/api/projects/{project.id}/group"
    assert fields_at_fault(owner.api("GET", path)) == {"group_id"}
    assert fields_at_fault(owner.api("GET", path + "?group_id=")) == {"group_id"}
    assert fields_at_fault(owner.api("GET", path + "?group_id=a%00b")) == {"group_id"}
    assert fields_at_fault(owner.api("GET", path + f"?group_id={'x' * 256}")) == {"group_id"}
    assert fields_at_fault(cancel(owner, project, dry_run="maybe")) == {"dry_run"}
    assert fields_at_fault(owner.api("GET", f"/api/projects/{project.id}/groups?cursor=x&limit=0")) == {
        "cursor",
        "limit",
    }


def test_without_the_feature_there_are_none(
    make_app: Callable[..., Flask], world: World, owner: Person
) -> None:
    off = Person(make_app(ML_ANALYSIS_ENABLED="false"), owner.id, owner.email, owner.key)
    project = world.project(owner=owner)
    for name in ("groups", "group?group_id=x"):
        check_problem(off.api("GET", f"/api/projects/{project.id}/{name}"), 404, "not-found")
    check_problem(cancel(off, project), 404, "not-found")


# --- what is in it -----------------------------------------------------------------------------------------------


def test_it_counts(world: World, project: Project, image: Image, night: object, viewer: Person) -> None:
    world.analysis(image, "failed")
    world.analysis(image, "failed", deleted_at=now(), **NIGHT)
    gone = world.image(project, "gone.png")
    world.analysis(gone, **NIGHT)
    with world.app.app_context():
        db.session.get_one(Image, gone.id).deleted_at = now()
        db.session.commit()
    first, *_, last = sorted(
        one.created_at for one in world.rows(Analysis) if one.group_id and not one.deleted_at
    )
    told = group(viewer, project).json
    assert told["counts"] == {"queued": 2, "processing": 3, "completed": 1, "failed": 1, "canceled": 1}
    assert (told["total"], told["done"], told["annotation_count"]) == (8, False, 21)
    assert datetime.fromisoformat(told["first_created_at"]) == first
    assert datetime.fromisoformat(told["last_created_at"]) < last  # which is of the deleted image
    assert told == listing(viewer, project)["groups"][0]
    address = urlsplit(told["analyses_url"])
    rows = viewer.api("GET", f"{address.path}?{address.query}").json["analyses"]
    assert len(rows) == 8
    assert {row["group_id"] for row in rows} == {"night run"}


def test_done_is_when_all_of_it_has_ended(
    world: World, project: Project, image: Image, viewer: Person, pipeline: Pipeline
) -> None:
    one, other = (world.analysis(image, status, **NIGHT) for status in ("processing", "queued"))
    finalize(pipeline, one)
    assert group(viewer, project).json["done"] is False
    finalize(pipeline, other, "failed")
    told = group(viewer, project).json
    assert (told["done"], told["counts"]["completed"], told["counts"]["failed"]) == (True, 1, 1)


def test_what_a_pipeline_creates_comes_into_its_group(
    world: World, project: Project, image: Image, pipeline: Pipeline, viewer: Person
) -> None:
    sent = {"model_name": "leaf-net", "model_version": "1"}
    for name in ("a", "b", "a", None):
        assert (
            pipeline.post(f"/api/images/{image.id}/analyses", {**sent, "group_id": name}).status_code == 201
        )
    assert [(one["group_id"], one["total"]) for one in listing(viewer, project)["groups"]] == [
        ("b", 1),
        ("a", 2),
    ]
    assert world.count(Group) == 2


def test_no_project_sees_anothers(
    world: World,
    project: Project,
    image: Image,
    night: object,
    owner: Person,
    editor: Person,
    stranger: Person,
) -> None:
    """The same name in two projects is two groups."""
    bark = world.project("Bark", owner=stranger)
    theirs = world.analysis(world.image(bark), **NIGHT)
    assert (group(stranger, bark).json["total"], group(owner, project).json["total"]) == (1, 8)
    assert cancel(editor, project).json["canceled"] == 5
    assert world.reload(theirs).status == "queued"
    assert cancel(stranger, bark).json["ids"] == [str(theirs.id)]
    check_problem(group(editor, bark), 403, "forbidden")


@pytest.mark.parametrize("name", HOSTILE)
def test_any_short_text_is_a_name(
    world: World, project: Project, image: Image, pipeline: Pipeline, owner: Person, name: str
) -> None:
    sent = {"model_name": "leaf-net", "model_version": "1", "group_id": name}
    made = pipeline.post(f"/api/images/{image.id}/analyses", sent)
    assert made.status_code == 201, made.text
    world.analysis(image, group_id="another")
    told = group(owner, project, name).json
    assert (told["group_id"], told["total"]) == (name, 1)
    address = urlsplit(told["analyses_url"])
    rows = owner.api("GET", f"{address.path}?{address.query}").json["analyses"]
    assert [row["id"] for row in rows] == [made.json["id"]]
    assert cancel(owner, project, name).json["ids"] == [made.json["id"]]


def test_the_list_goes_on_from_where_it_was(
    world: World, project: Project, image: Image, viewer: Person
) -> None:
    for n in range(7):
        world.analysis(image, group_id=f"g{n}")
    with world.app.app_context():
        for n, one in enumerate(db.session.scalars(db.select(Group).order_by(Group.group_id))):
            one.created_at = START + timedelta(days=n // 3)
        db.session.commit()
    world.analysis(image, group_id="left", deleted_at=now())
    seen, cursor = [], None
    while cursor or not seen:
        page = listing(viewer, project, limit=2, **({"cursor": cursor} if cursor else {}))
        seen += [one["group_id"] for one in page["groups"]]
        cursor = page["next_cursor"]
    in_order = sorted(world.rows(Group), key=lambda one: (one.created_at, one.id), reverse=True)
    assert seen == [one.group_id for one in in_order if one.group_id != "left"]
    assert listing(viewer, project, typo=1)["ignored"] == ["typo"]


def test_the_lists_cost_no_more_with_more_groups(
    world: World, project: Project, image: Image, viewer: Person, count_queries: Callable[[], Any]
) -> None:
    world.analysis(image, group_id="first")
    with count_queries() as few:
        listing(viewer, project)
    for n in range(5):
        world.analysis(image, group_id=f"g{n}")
    with count_queries() as many:
        listing(viewer, project)
    assert len(few) == len(many)


def test_the_analyses_of_a_group(
    world: World, project: Project, night: Any, image: Image, viewer: Person
) -> None:
    world.analysis(image)
    path = f"/api/projects/{project.id}/analyses"

    def ids(**query: str) -> set[str]:
        return {row["id"] for row in viewer.api("GET", path, query_string=query).json["analyses"]}

    assert ids(group_id="night run", status="queued") == {str(one.id) for one in night["queued"]}
    assert len(ids(group_id="night run")) == 8
    assert ids(group_id="day run") == set()
    assert ids(group_id="night run", model="no-net") == set()
    for side, moment, found in (
        ("after", 2000, 8),
        ("after", 2999, 0),
        ("before", 2000, 0),
        ("before", 2999, 8),
    ):
        assert len(ids(group_id="night run", **{f"created_{side}": f"{moment}-01-01T00:00:00Z"})) == found
    first = viewer.api("GET", path, query_string={"group_id": "night run", "limit": "5"}).json
    rest = viewer.api(
        "GET", path, query_string={"group_id": "night run", "cursor": first["next_cursor"]}
    ).json
    assert (len(first["analyses"]), len(rest["analyses"]), rest["next_cursor"]) == (5, 3, None)


# --- canceling ---------------------------------------------------------------------------------------------------


def test_the_preview_says_what_would_be_and_changes_nothing(
    world: World, project: Project, night: Any, editor: Person
) -> None:
    before = world.count(AuditEvent)
    told = cancel(editor, project, dry_run=1).json
    assert (told["dry_run"], told["canceled"], told["leased"], told["remaining"]) == (True, 5, 1, 0)
    assert told["counts"] == {"queued": 2, "processing": 3, "completed": 1, "failed": 1, "canceled": 1}
    assert set(told["ids"]) == {str(one.id) for status in ("queued", "processing") for one in night[status]}
    assert world.count(AuditEvent) == before
    assert world.count(Analysis, status="canceled") == 1
    done = cancel(editor, project).json
    assert set(done["ids"]) == set(told["ids"])
    assert {**done, "ids": 0} == {
        "group_id": "night run",
        "dry_run": False,
        "canceled": 5,
        "leased": 1,
        "ids": 0,
        "remaining": 0,
        "counts": {"queued": 0, "processing": 0, "completed": 1, "failed": 1, "canceled": 6},
    }


def test_each_is_canceled_as_if_it_were_alone(
    make_app: Callable[..., Flask], world: World, project: Project, image: Image, night: Any, editor: Person
) -> None:
    """In the trail, in the webhooks and in what stands in the row."""
    alone = world.analysis(image, "processing")
    app = make_app(**WEBHOOKS)
    person = Person(app, editor.id, editor.email, editor.key)
    page = f"/images/{image.id}?analysis={alone.id}"
    assert person.client.submit(page, f"/analyses/{alone.id}/cancel", {}).status_code == 303
    assert cancel(person, project).json["canceled"] == 5
    like = world.rows(AuditEvent, action="analysis.canceled", subject_id=str(alone.id))[0]
    for one in night["processing"]:
        row = world.reload(one)
        assert (row.status, row.revision, bool(row.completed_at)) == ("canceled", 2, True)
        [event] = world.rows(AuditEvent, subject_id=str(one.id), action="analysis.canceled")
        told = ("actor_kind", "actor_id", "actor_label", "project_id", "before", "after", "subject_type")
        assert all(getattr(event, name) == getattr(like, name) for name in told)
        [hook] = world.rows(WebhookDelivery, analysis_id=one.id)
        assert hook.event == "analysis.canceled"
    assert world.count(WebhookDelivery) == 6
    assert len({event.request_id for event in world.rows(AuditEvent, action="analysis.canceled")}) == 2


def test_again_it_does_nothing_but_cancel_what_has_come_since(
    world: World, project: Project, image: Image, night: object, editor: Person
) -> None:
    assert cancel(editor, project).json["canceled"] == 5
    before = world.count(AuditEvent)
    again = cancel(editor, project).json
    assert (again["canceled"], again["ids"], again["remaining"]) == (0, [], 0)
    assert world.count(AuditEvent) == before
    late = world.analysis(image, **NIGHT)
    assert cancel(editor, project).json["ids"] == [str(late.id)]


def test_its_worker_is_told_and_can_write_no_more(
    world: World, project: Project, image: Image, pipeline: Pipeline, editor: Person
) -> None:
    analysis = world.analysis(image, **NIGHT)
    claimed = pipeline.post(f"/api/analyses/{analysis.id}/claim", {"worker_id": "w"}).json
    token = {"X-ML-Lease-Token": claimed["lease_token"]}
    assert cancel(editor, project).json["leased"] == 1
    beat = pipeline.post(f"/api/analyses/{analysis.id}/heartbeat", {}, headers=token)
    assert (beat.status_code, beat.json["cancel_requested"]) == (200, True)
    ended = pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"}, headers=token)
    check_problem(ended, 409, "illegal-transition")


def test_what_the_storage_holds_is_written_down(
    app: Flask, world: World, project: Project, image: Image, pipeline: Pipeline, editor: Person
) -> None:
    several = [world.analysis(image, "processing", **NIGHT) for _ in range(2)]
    for one in several:
        upload(app, pipeline, one, "log", f"of {one.id}".encode())
    assert cancel(editor, project).json["canceled"] == 2
    for one in several:
        told = editor.api("GET", f"/api/analyses/{one.id}/export").json
        assert [(entry["size"], entry["state"]) for entry in told["artifacts"]] == [(39, "present")]


def test_it_waits_for_no_storage(
    app: Flask, world: World, project: Project, image: Image, pipeline: Pipeline, editor: Person
) -> None:
    one = world.analysis(image, "processing", **NIGHT)
    upload(app, pipeline, one, "log", b"done")
    app.extensions["storage"] = BrokenStorage(StorageUnavailable("no"))
    assert cancel(editor, project).json["canceled"] == 1
    assert world.reload(one).status == "canceled"


def test_a_storage_that_is_away_is_waited_for_once(
    monkeypatch: pytest.MonkeyPatch,
    app: Flask,
    world: World,
    project: Project,
    image: Image,
    pipeline: Pipeline,
    editor: Person,
) -> None:
    """It may take half a minute to say so."""
    for _ in range(6):
        upload(app, pipeline, world.analysis(image, "processing", **NIGHT), "log", b"done")
    asked = []

    class Away(BrokenStorage):
        def stat(self, path: str) -> None:
            asked.append(path)
            raise self.failure

    app.extensions["storage"] = Away(StorageUnavailable("no"))
    monkeypatch.setattr(cancels, "BATCH", 2)
    assert cancel(editor, project).json["canceled"] == 6
    assert len(asked) == 1


def test_a_request_that_takes_long_is_answered_with_what_it_canceled(
    monkeypatch: pytest.MonkeyPatch, world: World, project: Project, image: Image, editor: Person
) -> None:
    for _ in range(5):
        world.analysis(image, **NIGHT)
    monkeypatch.setattr(cancels, "BATCH", 2)
    monkeypatch.setattr(cancels, "SECONDS", 0)
    told = [cancel(editor, project).json for _ in range(3)]
    assert [(one["canceled"], one["remaining"]) for one in told] == [(2, 3), (2, 1), (1, 0)]


def test_a_very_large_group_takes_more_than_one_request(
    monkeypatch: pytest.MonkeyPatch, world: World, project: Project, image: Image, editor: Person
) -> None:
    for _ in range(7):
        world.analysis(image, **NIGHT)
    monkeypatch.setattr(cancels, "MOST", 4)
    monkeypatch.setattr(cancels, "BATCH", 2)
    told = cancel(editor, project, dry_run=1).json
    assert (told["canceled"], told["remaining"], len(told["ids"])) == (4, 3, 4)
    sizes = []
    while told["remaining"]:
        told = cancel(editor, project).json
        sizes.append((told["canceled"], told["remaining"]))
    assert sizes == [(4, 3), (3, 0)]


def test_a_session_cancels_nothing_here(project: Project, night: object, editor: Person) -> None:
    """What changes something takes a key, or a form with its token."""
    answer = editor.client.post(f"/api/projects/{project.id}/group:cancel?group_id=night+run")
    assert answer.status_code == 401
