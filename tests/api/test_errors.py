"""Every refusal under /api/ is problem+json; nothing a client or an outage does is a traceback."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, Image, Project
from app.models.columns import now
from tests.cast import Person, Pipeline
from tests.factories import some_id
from tests.fakes import BrokenStorage
from tests.html import LintClient
from tests.steps import check_problem

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"


def test_wrong_paths(app: Flask, viewer: Person, client: LintClient) -> None:
    for path in (
        "/api/",
        "/api/x",
        "/api/projects/",
        "/api/projects/7",
        "/api/analyses",
        "/api/%00",
        "/api/../etc",
    ):
        check_problem(viewer.api("GET", path), 404, "not-found")
        check_problem(client.get(path), 404, "not-found")
    check_problem(viewer.api("POST", "/api/nothing", json={}), 404, "not-found")


def test_wrong_methods_name_the_right_ones(viewer: Person, project: Project, analysis: Analysis) -> None:
    answer = viewer.api("PUT", "/api/projects")
    check_problem(answer, 405, "method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}
    answer = viewer.api("GET", f"/api/analyses/{analysis.id}/finalize")
    check_problem(answer, 405, "method-not-allowed")
    assert "POST" in answer.headers["Allow"].split(", ")
    check_problem(viewer.api("BREW", "/api/projects"), 405, "method-not-allowed")


def test_the_shape_of_a_422(viewer: Person, project: Project) -> None:
    answer = viewer.api("GET", f"/api/projects/{project.id}/images?limit=0&skip=x")
    body = check_problem(answer, 422, "invalid-payload")
    assert set(body) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert all(set(entry) == {"field", "reason"} for entry in body["errors"])
    assert {entry["field"] for entry in body["errors"]} == {"limit", "skip"}


def test_the_shape_of_the_others(viewer: Person) -> None:
    body = check_problem(viewer.api("GET", f"/api/images/{some_id()}"), 404, "not-found")
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}


def test_every_kind_of_refusal(
    app: Flask,
    make_app: Callable[..., Flask],
    client: LintClient,
    viewer: Person,
    owner: Person,
    stranger: Person,
    pipeline: Pipeline,
    project: Project,
    image: Image,
    analysis: Analysis,
) -> None:
    here, create = f"/api/images/{image.id}", f"/api/images/{image.id}/analyses"
    signed = {"X-ML-Timestamp": "1", "X-ML-Signature": "sha256=" + "0" * 64}
    check_problem(client.get(here), 401, "unauthenticated")
    check_problem(client.get(here, headers={"X-API-Key": "x"}), 401, "signature-invalid")
    check_problem(client.get(here, headers={"X-ML-Timestamp": "1"}), 401, "signature-missing")
    check_problem(client.get(here, headers=signed), 401, "scheme-not-allowed")
    skewed = check_problem(client.post(create, json={}, headers=signed), 401, "timestamp-skew")
    assert abs(skewed["server_time"] - now().timestamp()) < 60
    check_problem(client.get(here, headers=signed | {"X-ML-Timestamp": "x"}), 400, "malformed-request")
    check_problem(stranger.api("GET", here), 403, "forbidden")
    check_problem(viewer.api("GET", f"/api/images/{some_id()}"), 404, "not-found")
    check_problem(viewer.api("PUT", here), 405, "method-not-allowed")
    check_problem(owner.api("POST", "/api/projects", data=b" " * 40_000_000), 413, "payload-too-large")
    check_problem(
        owner.api("POST", "/api/projects", data="x", content_type="text/plain"), 415, "unsupported-media-type"
    )
    check_problem(owner.api("POST", "/api/projects", data="x"), 400, "malformed-request")
    check_problem(owner.api("POST", "/api/projects", json={}), 422, "invalid-payload")
    taken = {"status": "queued"}
    refused = pipeline.patch(f"/api/analyses/{analysis.id}/status", taken)
    assert check_problem(refused, 409, "illegal-transition")["current"] == "processing"
    unsigned = make_app(ML_CALLBACK_HMAC_SECRET="")
    answer = unsigned.test_client().post(f"/api/analyses/{analysis.id}/finalize", json={})
    check_problem(answer, 503, "signing-not-configured")
    assert int(answer.headers["Retry-After"]) > 0
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = now()
        db.session.commit()
    check_problem(viewer.api("GET", here), 410, "deleted")


# --- request ids -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["abc", "a" * 64, "5f0c-1.2_3"])
def test_a_sane_request_id_is_kept(viewer: Person, sent: str) -> None:
    answer = viewer.api("GET", "/api/nothing", headers={"X-Request-ID": sent})
    assert check_problem(answer, 404, "not-found")["request_id"] == sent
    assert viewer.api("GET", "/api/projects", headers={"X-Request-ID": sent}).headers["X-Request-ID"] == sent


@pytest.mark.parametrize("sent", ["", "a" * 65, "a b", "<script>", "é", "a;b", "'"])
def test_another_is_replaced(viewer: Person, sent: str) -> None:
    answer = viewer.api("GET", "/api/nothing", headers={"X-Request-ID": sent})
    made = check_problem(answer, 404, "not-found")["request_id"]
    assert made != sent and len(made) == 32


def test_each_request_has_its_own(viewer: Person) -> None:
    made = {viewer.api("GET", "/api/projects").headers["X-Request-ID"] for _ in range(3)}
    assert len(made) == 3


# --- outages -----------------------------------------------------------------------------------------------------


def test_a_lost_database_is_503(
    make_app: Callable[..., Flask], viewer: Person, pipeline: Pipeline, analysis: Analysis, caplog: Any
) -> None:
    caplog.set_level(logging.CRITICAL)
    lost = make_app(DATABASE_URL=NOWHERE)
    person = Person(lost, viewer.id, viewer.email, viewer.key)
    answers = [
        person.api("GET", "/api/projects"),
        person.api("GET", f"/api/analyses/{analysis.id}/export"),
        person.api("POST", "/api/projects", json={"name": "x"}),
    ]
    for answer in answers:
        body = check_problem(answer, 503, "database-unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert "127.0.0.1" not in str(body) and "Traceback" not in str(body)


def test_a_page_says_so_too(make_app: Callable[..., Flask], viewer: Person, caplog: Any) -> None:
    caplog.set_level(logging.CRITICAL)
    cookie = viewer.client.get_cookie("loupe")
    assert cookie is not None
    lost = make_app(DATABASE_URL=NOWHERE)
    client = LintClient(lost, lost.response_class)
    client.set_cookie("loupe", cookie.value)
    answer = client.get("/")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "127.0.0.1" not in answer.text


def test_a_lost_object_store_is_503(app: Flask, viewer: Person, image: Image) -> None:
    app.extensions["storage"] = BrokenStorage(StorageUnavailable())
    for path in ("download", "content"):
        answer = viewer.api("GET", f"/api/images/{image.id}/{path}")
        check_problem(answer, 503, "storage-unavailable")
        assert int(answer.headers["Retry-After"]) > 0


def test_a_fault_of_ours_tells_nothing_but_the_request_id(
    app: Flask, viewer: Person, image: Image, caplog: Any
) -> None:
    app.extensions["storage"] = BrokenStorage(RuntimeError("the secret is hunter2"))
    answer = viewer.api("GET", f"/api/images/{image.id}/download", headers={"X-Request-ID": "find-me"})
    body = check_problem(answer, 500, "internal-error")
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id"}
    assert "hunter2" not in answer.text and "Traceback" not in answer.text
    assert body["request_id"] == "find-me"
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info and "hunter2" in str(record.exc_info[1])


def test_an_error_leaves_no_transaction_open(app: Flask, viewer: Person, image: Image, caplog: Any) -> None:
    with app.app_context():
        pool: Any = db.engine.pool
    app.extensions["storage"] = BrokenStorage(RuntimeError("no"))
    viewer.api("GET", f"/api/images/{image.id}/download")
    assert pool.checkedout() == 0
