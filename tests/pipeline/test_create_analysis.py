"""POST /api/images/{image_id}/analyses"""

from datetime import datetime

import pytest

from app.models import Analysis
from tests.factories import some_id

# --- who may -----------------------------------------------------------------------------------------------------

MAY = ["owner", "editor", "admin", "pipeline", "pipeline+owner", "pipeline+viewer", "pipeline+admin"]
MAY_NOT = [
    ("viewer", 403, "forbidden"),
    ("stranger", 403, "forbidden"),
    ("pipeline+stranger", 403, "forbidden"),
    ("anonymous", 401, "signature-missing"),
]


@pytest.mark.parametrize("who", MAY)
def test_who_may(ask, analyses_path, job, who):
    assert ask(who, "POST", analyses_path, job).status_code == 201


@pytest.mark.parametrize(("who", "status", "code"), MAY_NOT)
def test_who_may_not(ask, analyses_path, job, unchanged, who, status, code):
    with unchanged(Analysis):
        answer = ask(who, "POST", analyses_path, job)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    assert answer.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    ("who", "status"),
    [("owner", 201), ("editor", 201), ("admin", 201), ("viewer", 403), ("stranger", 403), ("anonymous", 401)],
)
def test_who_may_where_no_signature_is_required(ask, switched, analyses_path, job, who, status):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    assert ask(who, "POST", analyses_path, job).status_code == status


def test_a_session_alone_is_nobody(owner, analyses_path, job):
    answer = owner.client.post(analyses_path, json=job)
    assert (answer.status_code, answer.json["code"]) == (401, "signature-missing")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_wrong_method(ask, analyses_path, method):
    answer = ask("pipeline", method, analyses_path, {})
    assert (answer.status_code, answer.json["code"]) == (405, "method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


@pytest.mark.parametrize("who", ["pipeline", "owner", "stranger"])
def test_missing_image(ask, job, who):
    answer = ask(who, "POST", f"/api/images/{some_id()}/analyses", job)
    assert (answer.status_code, answer.json["code"]) == (404, "not-found")


def test_not_a_uuid(ask, job):
    answer = ask("pipeline", "POST", "/api/images/7/analyses", job)
    assert (answer.status_code, answer.json["code"]) == (404, "not-found")
    assert answer.mimetype == "application/problem+json"


# --- what is made ------------------------------------------------------------------------------------------------

FIELDS = {
    *("id", "image_id", "model_name", "model_version", "status", "error_message", "parameters", "provenance"),
    *("requested_by_id", "external_job_id", "priority", "group_id", "created_at", "started_at"),
    *("completed_at", "updated_at", "annotation_count", "attempt", "retry_of_id"),
}


def test_the_least(ask, analyses_path, job, image, world):
    made = ask("pipeline", "POST", analyses_path, job).json
    assert made.keys() == FIELDS
    assert made["image_id"] == str(image.id)
    assert (made["model_name"], made["model_version"]) == ("leaf-net", "1.0.0")
    assert (made["status"], made["priority"], made["annotation_count"]) == ("queued", 0, 0)
    assert made["attempt"] == 1
    assert datetime.fromisoformat(made["created_at"]).utcoffset().total_seconds() == 0
    empty = FIELDS - {"id", "image_id", "model_name", "model_version", "status", "priority"}
    empty -= {"annotation_count", "created_at", "updated_at", "attempt"}
    assert {name: made[name] for name in empty} == dict.fromkeys(empty)
    (row,) = world.rows(Analysis)
    assert str(row.id) == made["id"]


def test_everything(ask, analyses_path, image, editor):
    sent = {
        "model_name": "leaf-net",
        "model_version": "3f2a9c1",
        "parameters": {"threshold": 0.25, "deep": {"list": [1, None, "x", 1.5e300]}},
        "provenance": {"commit": "3f2a9c1", "größe": "groß 🌿"},
        "external_job_id": "job/17",
        "priority": -3,
        "group_id": "night run",
        "image_id": str(image.id),
    }
    made = ask("editor", "POST", analyses_path, sent).json
    assert {name: made[name] for name in sent} == sent
    assert made["requested_by_id"] == str(editor.id)
    assert ask("viewer", "GET", f"/api/analyses/{made['id']}").json == made | {"annotations": []}


def test_the_person_beside_a_signature_requested_it(ask, analyses_path, job, viewer):
    assert ask("pipeline+viewer", "POST", analyses_path, job).json["requested_by_id"] == str(viewer.id)


def test_unknown_fields_are_named(ask, analyses_path, job):
    made = ask("pipeline", "POST", analyses_path, job | {"model_nmae": 1, "color": 2})
    assert made.status_code == 201
    assert made.json["ignored"] == ["color", "model_nmae"]


def test_the_default_status(ask, switched, analyses_path, job):
    switched(ML_DEFAULT_STATUS="processing")
    made = ask("pipeline", "POST", analyses_path, job).json
    assert made["status"] == "processing"
    assert made["started_at"] is not None


# --- what is refused ---------------------------------------------------------------------------------------------


def test_allowed_models(ask, switched, analyses_path, job, unchanged):
    switched(ML_ALLOWED_MODELS=("leaf-net", "root-net"))
    assert ask("pipeline", "POST", analyses_path, job).status_code == 201
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", analyses_path, job | {"model_name": "Leaf-net"})
    assert (answer.status_code, answer.json["code"]) == (400, "model-not-allowed")


def test_limit_per_image(ask, switched, world, project, analyses_path, job, unchanged):
    switched(ML_MAX_ANALYSES_PER_IMAGE=2)
    for _ in range(2):
        assert ask("pipeline", "POST", analyses_path, job).status_code == 201
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", analyses_path, job)
    assert (answer.status_code, answer.json["code"]) == (400, "limit-reached")
    another = f"/api/images/{world.image(project).id}/analyses"
    assert ask("pipeline", "POST", another, job).status_code == 201


def test_limit_of_what_a_person_has_under_way(ask, switched, world, project, analyses_path, job, unchanged):
    switched(ML_MAX_PENDING_PER_USER=2)
    another = f"/api/images/{world.image(project).id}/analyses"
    made = [ask("editor", "POST", path, job).json for path in (analyses_path, another)]
    with unchanged(Analysis):
        answer = ask("editor", "POST", analyses_path, job)
    assert (answer.status_code, answer.json["code"], answer.json["limit"]) == (400, "limit-reached", 2)
    assert ask("pipeline+editor", "POST", another, job).json["code"] == "limit-reached", (
        "a signature beside it is no way around"
    )
    assert ask("pipeline", "POST", analyses_path, job).status_code == 201, "a pipeline by itself is no person"
    assert ask("owner", "POST", analyses_path, job).status_code == 201
    moved = ask("pipeline", "PATCH", f"/api/analyses/{made[0]['id']}/status", {"status": "processing"})
    assert moved.status_code == 200
    assert ask("editor", "POST", another, job).status_code == 400, "processing is under way as well"
    ask("pipeline", "POST", f"/api/analyses/{made[0]['id']}/finalize", {"status": "failed"})
    assert ask("editor", "POST", another, job).status_code == 201


def test_what_was_deleted_is_not_under_way(ask, switched, world, project, analyses_path, job, owner):
    switched(ML_MAX_PENDING_PER_USER=2)
    other = world.image(project)
    made = ask("owner", "POST", analyses_path, job).json
    assert ask("owner", "POST", f"/api/images/{other.id}/analyses", job).status_code == 201
    for path in (f"/api/analyses/{made['id']}", f"/api/images/{other.id}"):
        assert ask("owner", "POST", analyses_path, job).status_code == 400
        assert owner.api("DELETE", path).status_code < 300
        assert ask("owner", "POST", analyses_path, job).status_code == 201


def test_a_person_in_many_places_at_once_has_one_limit(at_once, ask, switched, world, project, job, editor):
    switched(ML_MAX_PENDING_PER_USER=3)
    paths = [f"/api/images/{world.image(project).id}/analyses" for _ in range(8)]
    answers = at_once([lambda path=path: ask("editor", "POST", path, job) for path in paths])
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [400] * 5
    assert world.count(Analysis, requested_by_id=editor.id) == 3


def test_another_image_in_the_body(ask, analyses_path, job, unchanged):
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", analyses_path, job | {"image_id": str(some_id())})
    assert (answer.status_code, answer.json["code"]) == (400, "image-mismatch")


WRONG = [
    ({"model_name": None}, "model_name"),
    ({"model_name": ""}, "model_name"),
    ({"model_name": 7}, "model_name"),
    ({"model_name": "x" * 256}, "model_name"),
    ({"model_name": "leaf\u202enet"}, "model_name"),
    ({"model_name": "leaf\nnet"}, "model_name"),
    ({"model_version": ["1"]}, "model_version"),
    ({"parameters": [1]}, "parameters"),
    ({"parameters": "x=1"}, "parameters"),
    ({"provenance": {"x": "y" * 66_000}}, "provenance"),
    ({"external_job_id": 7}, "external_job_id"),
    ({"external_job_id": ""}, "external_job_id"),
    ({"priority": "1"}, "priority"),
    ({"priority": 1.5}, "priority"),
    ({"priority": True}, "priority"),
    ({"priority": 2**31}, "priority"),
    ({"priority": -(2**40)}, "priority"),
    ({"priority": None}, "priority"),
    ({"group_id": {}}, "group_id"),
    ({"image_id": "seven"}, "image_id"),
    ({"image_id": 7}, "image_id"),
    ({"image_id": []}, "image_id"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG)
def test_wrong_fields(ask, analyses_path, job, unchanged, wrong, field):
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", analyses_path, job | wrong)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")
    assert [error["field"] for error in answer.json["errors"]] == [field]


def test_missing_fields(ask, analyses_path):
    answer = ask("pipeline", "POST", analyses_path, {})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json["errors"]} == {"model_name", "model_version"}


@pytest.mark.parametrize("body", [[], "x", 7, None, True])
def test_not_an_object(ask, analyses_path, body, pipeline):
    answer = pipeline.post(analyses_path, body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")


# --- the pipeline's own id makes creating safe to retry ----------------------------------------------------------

SAME = {"parameters": {"a": 1, "b": [1, 2]}, "provenance": {"commit": "x"}, "priority": 2, "group_id": "g"}


def test_the_same_job_again(ask, analyses_path, job, unchanged):
    sent = job | SAME | {"external_job_id": "job-1"}
    made = ask("pipeline", "POST", analyses_path, sent)
    with unchanged(Analysis):
        again = ask("pipeline", "POST", analyses_path, sent | {"parameters": {"b": [1, 2], "a": 1.0}})
    assert (made.status_code, again.status_code) == (201, 200)
    assert again.json == made.json


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("model_name", "root-net"),
        ("model_version", "2"),
        ("parameters", None),
        ("parameters", {"a": 1}),
        ("parameters", {"b": [1, 2], "a": True}),
        ("parameters", {"b": [True, 2], "a": 1}),
        ("provenance", {}),
        ("priority", 0),
        ("group_id", None),
    ],
)
def test_the_same_job_with_another_field(ask, analyses_path, job, unchanged, name, other):
    sent = job | SAME | {"external_job_id": "job-1"}
    ask("pipeline", "POST", analyses_path, sent)
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", analyses_path, sent | {name: other})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert answer.json["differing"] == [name]


def test_the_same_job_on_another_image(ask, world, project, analyses_path, job):
    sent = job | {"external_job_id": "job-1"}
    ask("pipeline", "POST", analyses_path, sent)
    answer = ask("pipeline", "POST", f"/api/images/{world.image(project).id}/analyses", sent)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


def test_the_same_job_is_looked_up_before_the_limits(ask, switched, analyses_path, job):
    sent = job | {"external_job_id": "job-1"}
    made = ask("owner", "POST", analyses_path, sent).json
    switched(ML_MAX_ANALYSES_PER_IMAGE=1, ML_ALLOWED_MODELS=("root-net",), ML_MAX_PENDING_PER_USER=1)
    again = ask("owner", "POST", analyses_path, sent)
    assert (again.status_code, again.json["id"]) == (200, made["id"])


def test_the_same_job_after_it_ended(ask, analyses_path, job):
    sent = job | {"external_job_id": "job-1"}
    made = ask("pipeline", "POST", analyses_path, sent).json
    ask("pipeline", "POST", f"/api/analyses/{made['id']}/finalize", {"status": "completed"})
    again = ask("pipeline", "POST", analyses_path, sent)
    assert (again.status_code, again.json["id"], again.json["status"]) == (200, made["id"], "completed")


def test_without_a_job_each_request_makes_one(ask, analyses_path, job):
    ids = {ask("pipeline", "POST", analyses_path, job).json["id"] for _ in range(3)}
    assert len(ids) == 3
