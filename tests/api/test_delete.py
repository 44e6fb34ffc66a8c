"""DELETE /api/analyses/{id} and /api/images/{id}, and POST …/restore: gone at once, everywhere, until restored."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, Artifact, AuditEvent, Image, Project, Status
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.fakes import FixedClock
from tests.steps import box, check_problem, finalize, store, upload
from tests.support.permissions import ROUTES

AT = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
RLE = {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]}
OF_DELETING = ("delete_", "restore_")


@pytest.fixture(params=["analysis", "image"])
def address(request: pytest.FixtureRequest, image: Image, analysis: Analysis) -> str:
    return f"/api/analyses/{analysis.id}" if request.param == "analysis" else f"/api/images/{image.id}"


def test_who_may(
    address: str,
    viewer: Person,
    editor: Person,
    owner: Person,
    admin: Person,
    stranger: Person,
    pipeline: Pipeline,
) -> None:
    """The rest is in the permission matrix."""
    for person in (viewer, stranger):
        check_problem(person.api("DELETE", address), 403, "forbidden")
        check_problem(person.api("POST", f"{address}/restore"), 403, "forbidden")
    check_problem(pipeline.request("DELETE", address), 401, "scheme-not-allowed")
    for person in (editor, owner, admin):
        assert person.api("DELETE", address).status_code == 200
        check_problem(viewer.api("POST", f"{address}/restore"), 403, "forbidden")
        assert person.api("POST", f"{address}/restore").status_code == 200


def test_what_is_not_there(editor: Person) -> None:
    for kind in ("analyses", "images"):
        check_problem(editor.api("DELETE", f"/api/{kind}/{some_id()}"), 404, "not-found")
        check_problem(editor.api("POST", f"/api/{kind}/{some_id()}/restore"), 404, "not-found")


def test_a_body_is_not_needed_and_not_looked_at(address: str, editor: Person) -> None:
    assert editor.api("DELETE", address, json={"why": "blurred"}).status_code == 200
    assert editor.api("POST", f"{address}/restore", json={}).status_code == 200
    check_problem(editor.api("DELETE", address, data=b"{"), 400, "malformed-request")


def test_the_answer_says_what_was_deleted_and_how_long_it_can_be_restored(
    address: str, editor: Person, clock: FixedClock
) -> None:
    before = editor.api("GET", address).json
    before.pop("annotations", None)
    answer = editor.api("DELETE", address)
    times = {"deleted_at": "2026-03-04T12:00:00+00:00", "restorable_until": "2026-04-03T12:00:00+00:00"}
    assert answer.json == before | times
    clock.advance(days=3)
    assert editor.api("DELETE", address).json == answer.json
    assert editor.api("POST", f"{address}/restore").json == before
    assert editor.api("POST", f"{address}/restore").json == before


def test_kept_for_ever_there_is_no_until(app: Flask, address: str, editor: Person) -> None:
    app.config["ML_RETENTION_DAYS"] = 0
    assert editor.api("DELETE", address).json["restorable_until"] is None


def test_both_are_in_the_audit_trail_once(
    world: World, image: Image, analysis: Analysis, editor: Person, clock: FixedClock
) -> None:
    for kind, row in (("analysis", analysis), ("image", image)):
        address = f"/api/{'analyses' if kind == 'analysis' else 'images'}/{row.id}"
        for _ in range(2):
            editor.api("DELETE", address)
        for _ in range(2):
            editor.api("POST", f"{address}/restore")
        events = [
            (event.action, event.before, event.after, event.actor_id, event.project_id)
            for event in world.rows(AuditEvent, subject_id=str(row.id))
            if event.action.split(".")[1] in ("deleted", "restored")
        ]
        nothing, then = {"deleted_at": None}, {"deleted_at": AT.isoformat()}
        assert events == [
            (f"{kind}.deleted", nothing, then, editor.id, image.project_id),
            (f"{kind}.restored", then, nothing, editor.id, image.project_id),
        ]


# --- everything else is 410 --------------------------------------------------------------------------------------


@pytest.fixture
def everything(
    app: Flask, pipeline: Pipeline, image: Image, analysis: Analysis, admin: Person
) -> Callable[[str], list[tuple[str, str, int]]]:
    """everything("analysis_id"): asks every route that names one as somebody who may; how each answers."""
    path = upload(app, pipeline, analysis)
    heatmap = {"annotation_type": "heatmap", "data": {"width": 16, "height": 12}, "storage_path": path}
    said = store(pipeline, analysis, [heatmap, {"annotation_type": "segmentation", "data": RLE}])
    values = {"analysis_id": analysis.id, "image_id": image.id, "annotation_id": said[0], "level": 0}
    values |= {"column": 0, "row": 0}

    class Sent:
        artifact_path = path

    def ask(*named: str) -> list[tuple[str, str, int]]:
        token = admin.client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]
        found = []
        for rule in app.url_map.iter_rules():
            kind, name = rule.endpoint.split(".") if "." in rule.endpoint else ("", "")
            if not rule.arguments & set(named) or name.startswith(OF_DELETING):
                continue
            built = rule.build(values, append_unknown=False)
            assert built
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                route = ROUTES[method, rule.endpoint]
                if kind == "pipeline":
                    body = route.json(Sent) if route.json else None
                    answer = pipeline.request(method, built[1], body)
                elif kind == "api":
                    answer = admin.api(method, built[1])
                else:
                    sent = {"data": {"csrf_token": token}} if method == "POST" else {}
                    answer = admin.client.open(built[1], method=method, **sent)
                found.append((method, rule.rule, answer.status_code))
        assert len(found) >= 15
        return found

    return ask


def test_of_a_deleted_analysis_everything_is_410(
    everything: Any, analysis: Analysis, image: Image, admin: Person
) -> None:
    admin.api("DELETE", f"/api/analyses/{analysis.id}")
    answers = everything("analysis_id", "annotation_id")
    assert [one for one in answers if one[2] != 410] == []
    for path in ("download", "content"):
        query = {"path": f"ml_outputs/{analysis.id}/heatmap.png"}
        answer = admin.api("GET", f"/api/ml/artifacts/{path}", query_string=query)
        check_problem(answer, 410, "deleted")
    for part in ("", "/overlay", "/hit", "/pick", "/view.svg", "/view.png"):
        page = f"/images/{image.id}{part}?analysis={analysis.id}"
        assert admin.client.get(page).status_code == 410, page
    assert admin.client.get(f"/images/{image.id}?analysis={some_id()}").status_code == 404


def test_of_a_deleted_image_everything_is_410(
    everything: Any, image: Image, analysis: Analysis, admin: Person
) -> None:
    admin.api("DELETE", f"/api/images/{image.id}")
    answers = everything("image_id", "analysis_id", "annotation_id")
    assert [one for one in answers if one[2] != 410] == []
    check_problem(admin.api("DELETE", f"/api/analyses/{analysis.id}"), 410, "deleted")
    check_problem(admin.api("POST", f"/api/analyses/{analysis.id}/restore"), 410, "deleted")


def test_whoever_may_not_see_it_does_not_learn_that_it_was_deleted(
    address: str, editor: Person, stranger: Person
) -> None:
    editor.api("DELETE", address)
    check_problem(stranger.api("GET", address), 403, "forbidden")


# --- it vanishes everywhere, and comes back ----------------------------------------------------------------------


def seen(project: Project, image: Image, admin: Person) -> dict[str, Any]:
    """What every list, count and export tells, by where it is told."""

    def told(path: str, **query: Any) -> Any:
        answer = admin.api("GET", path, query_string=query)
        assert answer.status_code == 200, answer.text
        return answer

    def page(path: str) -> str:
        answer = admin.client.get(path)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    def exported(form: str, **fields: str) -> str:
        token = page("/").split('name="csrf_token" value="')[1].split('"')[0]
        sent = {"csrf_token": token, "format": form, "annotations": "1", **fields}
        answer = admin.client.post("/admin/exports/download", data=sent)
        text = answer.get_data(as_text=True)
        return json.dumps({**json.loads(text), "exported_at": ""}) if form == "json" else text

    listed = told(f"/api/projects/{project.id}/images")
    home, gallery = page("/"), page(f"/projects/{project.id}")
    return {
        "projects": told("/api/projects").json,
        "project": told(f"/api/projects/{project.id}").json,
        "images": (listed.json, listed.headers["X-Total-Count"]),
        "analyses of the project": told(f"/api/projects/{project.id}/analyses").json,
        "by status": told(f"/api/projects/{project.id}/analyses", status="completed").json,
        "home": [part.split("</li>")[0] for part in home.split("<li>")[1:]],
        "gallery": gallery.partition('<div id="gallery"')[2].partition("<section")[0],
        "gallery's images": gallery.partition('id="images"')[2],
        "gallery's models": gallery.partition('id="filter-model"')[2].partition("</select>")[0],
        "gallery by model": page(f"/projects/{project.id}?model=rare-net").partition('id="images"')[2],
        "gallery by state": page(f"/projects/{project.id}?state=completed").partition('id="images"')[2],
        "admin's projects": page("/admin/projects").partition("<tbody>")[2].partition("</tbody>")[0],
        "admin's project": page(f"/admin/projects/{project.id}")
        .partition('class="lead"')[2]
        .split("</p>")[0],
        "models to export": page("/admin/exports").partition("rare-net")[1],
        "count of an export": page("/admin/exports?count=1")
        .partition('id="counted"')[2]
        .partition("</dl>")[0],
        "export of all": exported("json"),
        "export as table": exported("csv"),
        "export of the project": exported("json", project=str(project.id)),
        "export of the model": exported("csv", model="rare-net"),
    }


@pytest.fixture
def rare(world: World, image: Image, pipeline: Pipeline) -> Analysis:
    """Completed, the only one of its model, on an image that has another one besides."""
    world.analysis(image, "completed", model_name="leaf-net")
    analysis = world.analysis(image, "processing", model_name="rare-net")
    store(pipeline, analysis, [box(class_name="leaf"), box(class_name="stem")])
    finalize(pipeline, analysis)
    return analysis


def test_a_deleted_analysis_vanishes_everywhere_and_comes_back(
    world: World, project: Project, image: Image, rare: Analysis, admin: Person
) -> None:
    of_image = f"/api/images/{image.id}/analyses"
    with_it = seen(project, image, admin)
    panel = admin.client.get(f"/images/{image.id}").text
    assert str(rare.id) in panel and 'class="shape"' in panel
    deleted = admin.api("DELETE", f"/api/analyses/{rare.id}")
    assert deleted.status_code == 200
    without = seen(project, image, admin)
    same = {name for name in with_it if with_it[name] == without[name]}
    # an image is not an analysis: these tell nothing of analyses
    assert same == {"projects", "project", "images"}
    leaks = [name for name, told in without.items() if "rare-net" in str(told) or str(rare.id) in str(told)]
    assert leaks == []
    left = admin.api("GET", of_image).json
    assert [one["model_name"] for one in left["analyses"]] == ["leaf-net"] and left["total"] == 1
    page = admin.client.get(f"/images/{image.id}").text
    assert "rare-net" not in page and str(rare.id) not in page
    admin.api("POST", f"/api/analyses/{rare.id}/restore")
    assert seen(project, image, admin) == with_it
    assert admin.api("GET", of_image).json["total"] == 2


def test_a_deleted_image_vanishes_everywhere_and_comes_back(
    world: World, project: Project, image: Image, rare: Analysis, admin: Person
) -> None:
    world.image(project, "other.png")
    with_it = seen(project, image, admin)
    admin.api("DELETE", f"/api/images/{image.id}")
    without = seen(project, image, admin)
    assert {name for name in with_it if with_it[name] == without[name]} == set()
    named = ("rare-net", str(rare.id), str(image.id), image.filename)
    leaks = [name for name, told in without.items() if any(one in str(told) for one in named)]
    assert leaks == []
    admin.api("POST", f"/api/images/{image.id}/restore")
    assert seen(project, image, admin) == with_it


def test_an_image_beside_it_is_the_next_one(
    world: World, project: Project, image: Image, editor: Person
) -> None:
    middle, last = world.image(project, "middle.png"), world.image(project, "last.png")
    editor.api("DELETE", f"/api/images/{middle.id}")
    assert f'rel="next" href="/images/{image.id}' in editor.client.get(f"/images/{last.id}").text


# --- a pipeline that works on it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["queued", "processing"])
def test_a_running_one_is_refused_and_goes_on_when_it_is_restored(
    world: World, image: Image, pipeline: Pipeline, editor: Person, status: str
) -> None:
    analysis = world.analysis(image, status)
    here = f"/api/analyses/{analysis.id}"
    editor.api("DELETE", here)
    answers = [
        pipeline.post(f"{here}/annotations:bulk", {"annotations": [box()]}),
        pipeline.patch(f"{here}/status", {"status": "processing"}),
        pipeline.post(f"{here}/artifacts/presign", {"artifact_type": "log"}),
        pipeline.post(f"{here}/finalize", {"status": "completed"}),
    ]
    for answer in answers:
        check_problem(answer, 410, "deleted")
    kept = world.reload(analysis)
    assert (kept.status, kept.revision, kept.updated_at) == (status, 1, analysis.updated_at)
    editor.api("POST", f"{here}/restore")
    store(pipeline, analysis, [box()])
    finalize(pipeline, analysis)
    assert world.reload(analysis).state is Status.COMPLETED


def test_it_makes_room_for_another(
    app: Flask, world: World, image: Image, analysis: Analysis, pipeline: Pipeline, editor: Person
) -> None:
    app.config["ML_MAX_ANALYSES_PER_IMAGE"] = 1
    wanted = {"model_name": "leaf-net", "model_version": "2.0.0"}
    creating = f"/api/images/{image.id}/analyses"
    check_problem(pipeline.post(creating, wanted), 400, "limit-reached")
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    made = pipeline.post(creating, wanted)
    assert made.status_code == 201
    restoring = f"/api/analyses/{analysis.id}/restore"
    assert check_problem(editor.api("POST", restoring), 400, "limit-reached")["limit"] == 1
    assert world.reload(analysis).deleted_at is not None
    assert editor.api("POST", f"/api/analyses/{made.json['id']}/restore").status_code == 200, (
        "it is not deleted"
    )
    editor.api("DELETE", f"/api/analyses/{made.json['id']}")
    assert editor.api("POST", restoring).status_code == 200


def test_what_is_restored_is_under_way_again(
    app: Flask, world: World, project: Project, editor: Person, owner: Person
) -> None:
    """On whichever image, for the person who asked for it."""
    app.config["ML_MAX_PENDING_PER_USER"] = 1
    one, other = (world.analysis(world.image(project), requested_by_id=editor.id) for _ in range(2))
    ended = world.analysis(world.image(project), "completed", requested_by_id=editor.id)
    for row in (one, ended):
        owner.api("DELETE", f"/api/analyses/{row.id}")
    assert owner.api("POST", f"/api/analyses/{ended.id}/restore").status_code == 200
    check_problem(owner.api("POST", f"/api/analyses/{one.id}/restore"), 400, "limit-reached")
    owner.api("DELETE", f"/api/analyses/{other.id}")
    assert owner.api("POST", f"/api/analyses/{one.id}/restore").status_code == 200


def test_many_are_restored_at_once(
    app: Flask, world: World, image: Image, editor: Person, at_once: Callable[..., list[Any]]
) -> None:
    app.config["ML_MAX_ANALYSES_PER_IMAGE"] = 2
    rows = [world.analysis(image, deleted_at=AT) for _ in range(5)]
    app.extensions["clock"] = FixedClock(AT)
    restoring = [f"/api/analyses/{row.id}/restore" for row in rows]
    answers = at_once([lambda path=path: editor.api("POST", path).status_code for path in restoring])
    assert sorted(answers) == [200, 200, 400, 400, 400]


def test_its_job_is_not_made_again_in_silence(image: Image, pipeline: Pipeline, editor: Person) -> None:
    wanted = {"model_name": "leaf-net", "model_version": "1.0.0", "external_job_id": "job-7"}
    creating = f"/api/images/{image.id}/analyses"
    made = pipeline.post(creating, wanted).json
    editor.api("DELETE", f"/api/analyses/{made['id']}")
    check_problem(pipeline.post(creating, wanted), 410, "deleted")
    check_problem(pipeline.post(creating, wanted | {"priority": 1}), 409, "conflict")


WRITES: dict[str, Callable[[Pipeline, str], Any]] = {
    "analysis.completed": lambda pipeline, here: pipeline.post(f"{here}/finalize", {"status": "completed"}),
    "analysis.canceled": lambda pipeline, here: pipeline.patch(f"{here}/status", {"status": "canceled"}),
    "annotations.stored": lambda pipeline, here: pipeline.post(
        f"{here}/annotations:bulk", {"annotations": [box()]}
    ),
    "artifact.presigned": lambda pipeline, here: pipeline.post(
        f"{here}/artifacts/presign", {"artifact_type": "log"}
    ),
}


def check_race(
    action: str,
    rounds: int,
    world: World,
    image: Image,
    pipeline: Pipeline,
    editor: Person,
    at_once: Callable[..., list[Any]],
) -> None:
    """Deleting and a write at once: whichever is first, what is there and what the trail says are the same story."""
    for _ in range(rounds):
        analysis = world.analysis(image, "processing")
        here = f"/api/analyses/{analysis.id}"
        wrote, deleted = at_once(
            [
                lambda here=here: WRITES[action](pipeline, here).status_code,
                lambda here=here: editor.api("DELETE", here).status_code,
            ]
        )
        assert (wrote in (200, 410), deleted) == (True, 200)
        told = {str(analysis.id), *(str(row.id) for row in world.rows(Artifact, analysis_id=analysis.id))}
        actions = [event.action for event in world.rows(AuditEvent) if event.subject_id in told]
        assert actions == ([action] if wrote == 200 else []) + ["analysis.deleted"]
        row = world.reload(analysis)
        ended = action.partition(".")[2] if action.startswith("analysis.") else "processing"
        assert (row.status, row.deleted_at is None) == (ended if wrote == 200 else "processing", False)
        assert row.annotation_count == (1 if (action, wrote) == ("annotations.stored", 200) else 0)
        with world.app.app_context():  # so that the trail stays short
            db.session.execute(db.delete(AuditEvent))
            db.session.commit()


@pytest.mark.parametrize("rounds", [5, pytest.param(500, marks=pytest.mark.soak)])
@pytest.mark.parametrize("action", WRITES)
def test_deleting_and_writing_at_once(
    action: str,
    rounds: int,
    world: World,
    image: Image,
    pipeline: Pipeline,
    editor: Person,
    at_once: Callable[..., list[Any]],
) -> None:
    check_race(action, rounds, world, image, pipeline, editor, at_once)
