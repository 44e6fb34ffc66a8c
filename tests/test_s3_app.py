"""Loupe over S3, met over real HTTP: images, artifacts and exports with every byte in the bucket."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask

from app.bundles.verifying import verify
from app.models import Analysis, Artifact, Image
from tests.cast import Person, Pipeline, pipeline_in_process
from tests.factories import World, picture
from tests.steps import box, check_problem, finalize, store
from tests.support.s3 import Bucket


@pytest.fixture
def app(make_app: Callable[..., Flask], s3: Bucket, instance: Path) -> Iterator[Flask]:
    """Configured for the bucket; nothing may be written to the local disk."""
    yield make_app(**s3.environ)
    assert not [file for file in (instance / "storage").rglob("*") if file.is_file()]


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    return pipeline_in_process(app)


def presign(pipeline: Pipeline, analysis: Analysis, **wanted: Any) -> Any:
    answer = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted)
    assert answer.status_code == 200, answer.text
    return answer.json


def put(signed: Any, content: bytes) -> None:
    sent = requests.request(
        signed["method"], signed["upload_url"], data=content, headers=signed["headers"], timeout=20
    )
    assert sent.status_code == 200, sent.text


def keys(s3: Bucket) -> list[str]:
    return [entry["Key"] for entry in s3.client.list_objects_v2(Bucket=s3.name).get("Contents", [])]


def test_an_image(s3: Bucket, world: World, project: Any, owner: Person, viewer: Person) -> None:
    data = {"file": (io.BytesIO(picture()), "leaf.png")}
    path = f"/api/projects/{project.id}/images"
    made = owner.api("POST", path, data=data, content_type="multipart/form-data")
    assert made.status_code == 201, made.text
    [key] = keys(s3)
    assert key == f"images/{made.json['id']}"
    content = viewer.api("GET", f"/api/images/{made.json['id']}/content", buffered=True)
    assert (content.data, content.headers["Content-Length"]) == (picture(), str(len(picture())))
    assert content.headers["ETag"] == f'"{made.json["sha256"]}"'
    download = viewer.api("GET", f"/api/images/{made.json['id']}/download").json
    assert download["object_key"] == key
    assert download["url"].startswith(f"{s3.endpoint}/{s3.name}/{key}?")
    fetched = requests.get(download["url"], timeout=20)
    assert (fetched.content, fetched.headers["Content-Type"]) == (picture(), "image/png")
    assert fetched.headers["Content-Disposition"] == "attachment; filename=leaf.png"
    # the preview that the gallery shows is kept in the bucket too
    assert owner.client.get(f"/images/{made.json['id']}/preview").status_code in (200, 302)
    assert any(key.startswith("renders/") for key in keys(s3))


def test_a_refused_image_leaves_nothing(s3: Bucket, project: Any, owner: Person) -> None:
    data = {"file": (io.BytesIO(b"no picture"), "leaf.png")}
    answer = owner.api(
        "POST", f"/api/projects/{project.id}/images", data=data, content_type="multipart/form-data"
    )
    check_problem(answer, 422, "invalid-payload")
    assert keys(s3) == []


def test_the_whole_way_of_an_artifact(
    s3: Bucket, world: World, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    content = picture(16, 12)
    digest = hashlib.sha256(content).hexdigest()
    signed = presign(pipeline, analysis, artifact_type="heatmap", size=len(content), sha256=digest)
    path = signed["storage_path"]
    assert path == f"ml_outputs/{analysis.id}/heatmap.png"
    query = parse_qs(urlsplit(signed["upload_url"]).query)
    names = set(query["X-Amz-SignedHeaders"][0].split(";"))
    assert names >= {"host", "content-type", "content-length", "x-amz-checksum-sha256"}
    assert query["X-Amz-Expires"] == ["900"]
    put(signed, content)
    log = presign(pipeline, analysis, artifact_type="log")
    put(log, b"done\n")

    heatmap = {"annotation_type": "heatmap", "storage_path": path, "data": {"width": 16, "height": 12}}
    store(pipeline, analysis, [heatmap, box(class_name="leaf")])
    finalize(pipeline, analysis, expected_annotations=2)

    [recorded] = world.rows(Artifact, storage_path=path)
    assert (recorded.size_bytes, bool(recorded.etag), bool(recorded.uploaded_at)) == (
        len(content),
        True,
        True,
    )
    assert recorded.sha256 in (digest, None), "moto keeps no checksum that came in a presigned header"

    got = viewer.api("GET", "/api/ml/artifacts/content", query_string={"path": path}, buffered=True)
    assert (got.data, got.headers["Content-Type"]) == (content, "image/png")
    assert got.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    download = viewer.api("GET", "/api/ml/artifacts/download", query_string={"path": path}).json
    assert urlsplit(download["url"]).netloc == urlsplit(s3.endpoint).netloc
    fetched = requests.get(download["url"], timeout=20)
    assert fetched.content == content
    assert fetched.headers["Content-Disposition"] == "attachment; filename=heatmap.png"

    exported = viewer.api("GET", f"/api/analyses/{analysis.id}/export").json
    states = {entry["path"].rsplit("/")[-1]: entry["state"] for entry in exported["artifacts"]}
    assert states == {"heatmap.png": "present", "log.txt": "present"}
    assert {entry["size"] for entry in exported["artifacts"]} == {len(content), 5}
    assert exported["annotation_count"] == 2


def test_what_changed_or_went_missing_is_shown(
    s3: Bucket, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    for artifact_type, content in (("heatmap", picture(4, 4)), ("log", b"one\n")):
        put(presign(pipeline, analysis, artifact_type=artifact_type), content)
    finalize(pipeline, analysis)
    s3.client.put_object(Bucket=s3.name, Key=f"ml_outputs/{analysis.id}/log.txt", Body=b"two\n")
    s3.client.delete_object(Bucket=s3.name, Key=f"ml_outputs/{analysis.id}/heatmap.png")
    exported = viewer.api("GET", f"/api/analyses/{analysis.id}/export").json
    states = {entry["path"].rsplit("/")[-1]: entry["state"] for entry in exported["artifacts"]}
    assert states == {"heatmap.png": "missing", "log.txt": "changed"}
    gone = viewer.api(
        "GET",
        "/api/ml/artifacts/content",
        query_string={"path": f"ml_outputs/{analysis.id}/heatmap.png"},
    )
    check_problem(gone, 404, "not-found")


def test_finalize_waits_for_what_was_referenced(
    s3: Bucket, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    signed = presign(pipeline, analysis, artifact_type="heatmap")
    path = signed["storage_path"]
    heatmap = {"annotation_type": "heatmap", "storage_path": path, "data": {"width": 16, "height": 12}}
    store(pipeline, analysis, [heatmap])
    answer = pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    assert check_problem(answer, 409, "conflict")["missing"] == [path]
    put(signed, picture(16, 12))
    finalize(pipeline, analysis)


def test_files_of_local_disk_are_not_served(app: Flask, image: Image) -> None:
    answer = app.test_client().get(f"/files/images/{image.id}")
    check_problem(answer, 404, "not-found")


def test_a_store_that_is_away_is_503(
    make_app: Callable[..., Flask], s3: Bucket, image: Image, analysis: Analysis, viewer: Person
) -> None:
    away = make_app(**s3.environ | {"S3_ENDPOINT": "http://127.0.0.1:1"})
    person = Person(away, viewer.id, viewer.email, viewer.key)
    check_problem(person.api("GET", f"/api/images/{image.id}/content"), 503, "storage-unavailable")
    check_problem(away.test_client().get("/readyz"), 503, "storage-unavailable")
    assert away.test_client().get("/healthz").status_code == 200
    # making an address asks nobody, and what needs no file works on
    assert person.api("GET", f"/api/analyses/{analysis.id}/export").status_code == 200
    assert person.api("GET", f"/api/images/{image.id}").status_code == 200


def test_a_bundle(s3: Bucket, analysis: Analysis, image: Image, viewer: Person, pipeline: Pipeline) -> None:
    large = bytes(range(256)) * 1000
    put(presign(pipeline, analysis, artifact_type="heatmap"), picture(4, 4))
    put(presign(pipeline, analysis, artifact_type="log", filename="large.txt"), large)
    put(presign(pipeline, analysis, artifact_type="log"), b"one\n")
    finalize(pipeline, analysis)
    s3.client.put_object(Bucket=s3.name, Key=f"ml_outputs/{analysis.id}/log.txt", Body=b"two\n")
    s3.client.delete_object(Bucket=s3.name, Key=f"ml_outputs/{analysis.id}/heatmap.png")
    answer = viewer.api("GET", f"/api/analyses/{analysis.id}/bundle?images=1")
    manifest = verify(io.BytesIO(answer.data)).manifest
    states = {file["name"].rpartition("/")[2]: file.get("state") for file in manifest["files"]}
    assert (states["large.txt"], states["log.txt"], states[f"{image.id}.png"]) == (
        "present",
        "changed",
        "present",
    )
    assert [file["state"] for file in manifest["absent"]] == ["missing"]
    read = zipfile.ZipFile(io.BytesIO(answer.data))
    assert read.read(f"analyses/{analysis.id}/artifacts/large.txt") == large


def test_a_heatmap_comes_back_from_a_bundle(
    app: Flask,
    s3: Bucket,
    world: World,
    project: Any,
    analysis: Analysis,
    viewer: Person,
    pipeline: Pipeline,
    tmp_path: Path,
) -> None:
    content = picture(16, 12)
    signed = presign(pipeline, analysis, artifact_type="heatmap")
    put(signed, content)
    path = signed["storage_path"]
    store(
        pipeline,
        analysis,
        [{"annotation_type": "heatmap", "storage_path": path, "data": {"width": 16, "height": 12}}],
    )
    finalize(pipeline, analysis)
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(viewer.api("GET", f"/api/analyses/{analysis.id}/bundle", buffered=True).data)
    told = ["annotations", "import", str(bundle), "--project", str(project.id), "--format", "ndjson"]
    result = app.test_cli_runner().invoke(args=told)
    assert result.exit_code == 0, result.output
    (row,) = (row for row in world.rows(Artifact) if row.analysis_id != analysis.id)
    assert (row.size_bytes, row.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    stored = s3.client.get_object(Bucket=s3.name, Key=row.storage_path)
    assert (stored["Body"].read(), stored["ContentType"]) == (content, "image/png")
