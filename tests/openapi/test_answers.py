"""Real answers of every operation have the keys and types that the document tells, no more and no less."""

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
import schemathesis
from flask import Flask
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup

from app.annotations import TYPES
from app.exports import FORMATS
from app.models import Analysis, Image, Project
from app.openapi import document
from app.openapi.annotation_types import example
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.fakes import BrokenStorage
from tests.steps import BOX, finalize, store, upload
from tests.support.contract import Contract

CREATE = {"model_name": "leaf-net", "model_version": "1.0.0", "external_job_id": "job-1"}


@pytest.fixture
def image(world: World, project: Project) -> Image:
    """Large enough for the examples of the types."""
    return world.image(project, content=picture(320, 240))


@pytest.fixture
def full(app: Flask, pipeline: Pipeline, world: World, image: Image) -> Analysis:
    """Completed, with an annotation of every type and two artifacts."""
    analysis = world.analysis(image, "processing", parameters={"threshold": 0.5}, group_id="night run")
    path = upload(app, pipeline, analysis)
    upload(app, pipeline, analysis, "log", b"done")
    items = [example(name) for name in TYPES]
    for item in items:
        if "storage_path" in item:
            item["storage_path"] = path
    store(pipeline, analysis, items)
    finalize(pipeline, analysis, expected_annotations=len(TYPES))
    return analysis


@pytest.fixture
def check(app: Flask) -> Callable[..., None]:
    contract = Contract(document(app).content, closed=True)

    def against(answer: Any, method: str, path: str, status: int) -> None:
        assert answer.status_code == status, answer.text
        assert contract.faults_of_answer(path, method, answer) == []

    return against


def test_reading(
    check: Callable[..., None], owner: Person, project: Project, image: Image, full: Analysis
) -> None:
    paths = {
        "/api/openapi.json": "",
        "/api/projects": "",
        "/api/projects/{project_id}": "",
        "/api/projects/{project_id}/images": "?limit=1&typo=1",
        "/api/projects/{project_id}/analyses": "?typo=1",
        "/api/projects/{project_id}/groups": "?typo=1",
        "/api/projects/{project_id}/group": "?group_id=night+run&typo=1",
        "/api/images/{image_id}": "",
        "/api/images/{image_id}/download": "",
        "/api/images/{image_id}/content": "",
        "/api/images/{image_id}/analyses": "?typo=1",
        "/api/analyses/{analysis_id}": "",
        "/api/analyses/{analysis_id}/annotations": "?limit=2&typo=1",
        "/api/analyses/{analysis_id}/receipts": "?limit=5&typo=1",
        "/api/analyses/{analysis_id}/export": "?format=json",
        "/api/analyses/{analysis_id}/bundle": "?images=1",
        "/api/projects/{project_id}/bundle": "?group_id=night+run",
        "/api/bundle-keys": "",
        "/api/projects/{project_id}/export": "?format=json",
        "/api/ml/artifacts/download": f"?path=ml_outputs/{full.id}/heatmap.png&typo=1",
        "/api/ml/artifacts/content": f"?path=ml_outputs/{full.id}/log.txt",
    }
    there = {"project_id": project.id, "image_id": image.id, "analysis_id": full.id}
    for path, query in paths.items():
        check(owner.api("GET", path.format(**there) + query), "GET", path, 200)
    told = {path for path, item in document(owner.app).content["paths"].items() if "get" in item}
    assert told == set(paths), "a new GET needs its line here"
    export = "/api/analyses/{analysis_id}/export"
    for form in FORMATS:
        for path in (export, "/api/projects/{project_id}/export"):
            check(owner.api("GET", f"{path.format(**there)}?format={form}"), "GET", path, 200)


def test_what_the_client_has_already(check: Callable[..., None], owner: Person, image: Image) -> None:
    address, path = f"/api/images/{image.id}/content", "/api/images/{image_id}/content"
    etag = owner.api("GET", address).headers["ETag"]
    check(owner.api("GET", address, headers={"If-None-Match": etag}), "GET", path, 304)


def test_making(check: Callable[..., None], owner: Person, project: Project) -> None:
    check(owner.api("POST", "/api/projects", json={"name": "Roots", "typo": 1}), "POST", "/api/projects", 201)
    path = "/api/projects/{project_id}/images"
    form = {"file": (io.BytesIO(picture()), "leaf.png"), "typo": "1", "metadata": '{"lens": 50}'}
    check(owner.api("POST", path.format(project_id=project.id), data=form), "POST", path, 201)


def test_canceling_a_group(check: Callable[..., None], owner: Person, world: World, image: Image) -> None:
    world.analysis(image, group_id="night run")
    path = "/api/projects/{project_id}/group:cancel"
    for query in ("&dry_run=1", "&typo=1", ""):
        address = f"/api/projects/{image.project_id}/group:cancel?group_id=night+run{query}"
        check(owner.api("POST", address), "POST", path, 200)


def test_deleting_and_restoring(
    check: Callable[..., None], app: Flask, owner: Person, image: Image, analysis: Analysis
) -> None:
    there = {"image_id": image.id, "analysis_id": analysis.id}
    for path in ("/api/analyses/{analysis_id}", "/api/images/{image_id}"):
        here = path.format(**there)
        check(owner.api("DELETE", here), "DELETE", path, 200)
        check(owner.api("GET", here), "GET", path, 410)
        check(owner.api("POST", f"{here}/restore"), "POST", f"{path}/restore", 200)
    app.config["ML_RETENTION_DAYS"] = 0
    check(owner.api("DELETE", here), "DELETE", path, 200)


def test_a_pipelines_way(
    check: Callable[..., None], pipeline: Pipeline, viewer: Person, image: Image, analysis: Analysis
) -> None:
    creating, status = "/api/images/{image_id}/analyses", "/api/analyses/{analysis_id}/status"
    bulk, ending = "/api/analyses/{analysis_id}/annotations:bulk", "/api/analyses/{analysis_id}/finalize"
    presigning = "/api/analyses/{analysis_id}/artifacts/presign"
    there = {"image_id": image.id, "analysis_id": analysis.id}
    check(pipeline.post(creating.format(**there), CREATE | {"typo": 1}), "POST", creating, 201)
    check(pipeline.post(creating.format(**there), CREATE), "POST", creating, 200)
    check(pipeline.patch(status.format(**there), {"status": "processing", "typo": 1}), "PATCH", status, 200)
    presign = {"artifact_type": "metadata", "typo": 1}
    check(pipeline.post(presigning.format(**there), presign), "POST", presigning, 200)
    scaled = {"annotation_type": "bounding_box", "data": BOX | {"image_width": 640, "image_height": 480}}
    alias = {"annotation_type": "classification", "data": {"scores": {"oak": 1}}, "confidence": 0.55555}
    body = {"annotations": [scaled, {"annotation_type": "custom", "typo": 1}, alias, {"confidence": 2}]}
    check(pipeline.post(bulk.format(**there) + "?typo=1&on_invalid=skip", body), "POST", bulk, 200)
    taking = "/api/analyses/{analysis_id}/annotations:import"
    file = {**body, "annotations": [scaled, 7], "model_name": "leaf-net"}
    query = "?format=json&typo=1&on_invalid=skip"
    answer = pipeline.post(taking.format(**there) + query, file)
    assert {"left_out", "format"} <= answer.json["file"].keys()
    check(answer, "POST", taking, 200)
    kept = "/api/analyses/{analysis_id}/receipts"
    answer = viewer.api("GET", kept.format(**there))
    imported, sent = answer.json["receipts"]
    assert {"scaled", "normalised", "skipped", "ignored"} <= sent.keys()
    assert {"file", "skipped", "ignored"} <= imported.keys()
    check(answer, "GET", kept, 200)
    check(pipeline.post(ending.format(**there), {"status": "failed", "typo": 1}), "POST", ending, 200)


def test_a_workers_way(check: Callable[..., None], pipeline: Pipeline, world: World, image: Image) -> None:
    one, many, beat = (
        "/api/analyses/{analysis_id}/claim",
        "/api/analyses:claim",
        "/api/analyses/{analysis_id}/heartbeat",
    )
    there = {"analysis_id": world.analysis(image).id}
    claimed = pipeline.post(one.format(**there), {"worker_id": "gpu-1", "typo": 1})
    check(claimed, "POST", one, 200)
    check(pipeline.post(one.format(**there), {"worker_id": "gpu-2"}), "POST", one, 409)
    token = {"X-ML-Lease-Token": claimed.json["lease_token"]}
    check(pipeline.post(beat.format(**there), {"typo": 1}, headers=token), "POST", beat, 200)
    check(pipeline.post(beat.format(**there), {}), "POST", beat, 409)
    world.analysis(image)
    for _ in range(2):  # one, and then none
        check(pipeline.post(many, {"worker_id": "gpu-1", "max": 5, "typo": 1}), "POST", many, 200)
    check(pipeline.post(many, {"worker_id": ""}), "POST", many, 422)


def test_the_bytes_of_an_artifact(app: Flask, pipeline: Pipeline, analysis: Analysis) -> None:
    """As the operation without a path tells it, at the address in the answer to presigning."""
    content = document(app).content
    content = {**content, "paths": {**content["paths"], **content["components"]["pathItems"]}}
    contract = Contract(content, closed=True)
    wanted = {"artifact_type": "log", "size": 4}
    signed = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted).json
    client = app.test_client(use_cookies=False)
    address, headers = signed["upload_url"], signed["headers"]
    answers = {
        200: client.put(address, data=b"done", headers=headers),
        400: client.put(address, data=b"do", headers={**headers, "Content-Length": "2"}),
        403: client.put(address, data=b"done", headers={**headers, "Content-Type": "image/png"}),
        413: client.put(address, data=b"done.", headers={**headers, "Content-Length": "5"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status, answer.text
        assert contract.faults_of_answer("upload_url", "PUT", answer) == []


def test_a_fault_of_ours(
    check: Callable[..., None], app: Flask, owner: Person, image: Image, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, and a program that tries the API by its document takes it for a fault all the same."""
    caplog.set_level(logging.CRITICAL)
    address, path = f"/api/images/{image.id}/download", "/api/images/{image_id}/download"
    schema = schemathesis.openapi.from_dict(document(app).content)
    app.extensions["storage"] = BrokenStorage(RuntimeError("broken"))
    answer = owner.api("GET", address)
    check(answer, "GET", path, 500)
    case = schema[path]["GET"].Case(path_parameters={"image_id": str(image.id)})
    with pytest.raises(FailureGroup):
        case.validate_response(answer, checks=[not_a_server_error])


def test_refusals(
    check: Callable[..., None],
    app: Flask,
    pipeline: Pipeline,
    stranger: Person,
    owner: Person,
    world: World,
    image: Image,
    full: Analysis,
) -> None:
    """One of each kind that carries something of its own."""
    showing, status = "/api/analyses/{analysis_id}", "/api/analyses/{analysis_id}/status"
    bulk, ending = "/api/analyses/{analysis_id}/annotations:bulk", "/api/analyses/{analysis_id}/finalize"
    open_one = world.analysis(image, "processing")
    client = app.test_client(use_cookies=False)
    check(client.get(f"/api/analyses/{full.id}"), "GET", showing, 401)
    check(stranger.api("GET", f"/api/analyses/{full.id}"), "GET", showing, 403)
    check(owner.api("GET", f"/api/analyses/{some_id()}"), "GET", showing, 404)
    check(pipeline.patch(f"/api/analyses/{full.id}/status", {"status": "queued"}), "PATCH", status, 409)
    check(pipeline.patch(f"/api/analyses/{full.id}/status", {"status": 1}), "PATCH", status, 422)
    late = pipeline.patch(f"/api/analyses/{full.id}/status", {}, timestamp=1)
    check(late, "PATCH", status, 401)
    wrong_count = {"status": "completed", "expected_annotations": 9}
    check(pipeline.post(f"/api/analyses/{open_one.id}/finalize", wrong_count), "POST", ending, 409)
    for items in ([{"annotation_type": "heatmap"}], "none"):
        answer = pipeline.post(f"/api/analyses/{open_one.id}/annotations:bulk", {"annotations": items})
        check(answer, "POST", bulk, 422)
    taking = "/api/analyses/{analysis_id}/annotations:import"
    wrong = {"annotations": [{"annotation_type": "heatmap"}]}
    answer = pipeline.post(f"/api/analyses/{open_one.id}/annotations:import?format=json", wrong)
    assert answer.json["errors"][0]["place"] == "annotations.0"
    check(answer, "POST", taking, 422)
    app.config["ML_MAX_BULK_ANNOTATIONS"] = 1
    many = {"annotations": [{"annotation_type": "custom"}] * 2}
    check(pipeline.post(f"/api/analyses/{open_one.id}/annotations:bulk", many), "POST", bulk, 400)
    one = {"annotations": [{"annotation_type": "custom"}]}
    check(pipeline.post(f"/api/analyses/{full.id}/annotations:bulk", one), "POST", bulk, 409)
