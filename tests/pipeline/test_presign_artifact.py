"""POST /api/analyses/{analysis_id}/artifacts/presign, and the upload it allows"""

import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from app.models import Artifact, AuditEvent
from tests.cast import pipeline_in_process
from tests.factories import picture, some_id
from tests.pipeline.callers import who_may, who_may_not, who_may_without_a_signature


@pytest.fixture
def path(analysis):
    return f"/api/analyses/{analysis.id}/artifacts/presign"


# --- who may -----------------------------------------------------------------------------------------------------


@who_may
def test_who_may(ask, path, who):
    assert ask(who, "POST", path, {"artifact_type": "log"}).status_code == 200


@who_may_not
def test_who_may_not(ask, path, unchanged, who, status, code):
    with unchanged(Artifact):
        answer = ask(who, "POST", path, {"artifact_type": "log"})
    assert (answer.status_code, answer.json["code"]) == (status, code)


@who_may_without_a_signature
def test_who_may_where_no_signature_is_required(ask, switched, path, who, status):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    assert ask(who, "POST", path, {"artifact_type": "log"}).status_code == status


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_method(ask, path, method):
    answer = ask("pipeline", method, path, {"artifact_type": "log"})
    assert (answer.status_code, answer.json["code"]) == (405, "method-not-allowed")


def test_missing_analysis(ask):
    path = f"/api/analyses/{some_id()}/artifacts/presign"
    answer = ask("pipeline", "POST", path, {"artifact_type": "log"})
    assert (answer.status_code, answer.json["code"]) == (404, "not-found")


# --- the address -------------------------------------------------------------------------------------------------

TYPES = [
    ("heatmap", "heatmap.png", "image/png"),
    ("mask", "mask.png", "image/png"),
    ("segmentation", "segmentation.png", "image/png"),
    ("log", "log.txt", "text/plain"),
    ("metadata", "metadata.json", "application/json"),
]


@pytest.mark.parametrize(("artifact_type", "filename", "content_type"), TYPES)
def test_answer(ask, path, analysis, world, artifact_type, filename, content_type):
    answer = ask("pipeline", "POST", path, {"artifact_type": artifact_type}).json
    assert answer.keys() == {"upload_url", "storage_path", "method", "headers", "expires_at"}
    assert answer["storage_path"] == f"ml_outputs/{analysis.id}/{filename}"
    assert answer["method"] == "PUT"
    assert answer["headers"]["Content-Type"] == content_type
    assert urlsplit(answer["upload_url"]).netloc
    left = datetime.fromisoformat(answer["expires_at"]) - datetime.now(UTC)
    assert timedelta(seconds=890) < left <= timedelta(seconds=901)
    (row,) = world.rows(Artifact)
    assert (row.artifact_type, row.content_type) == (artifact_type, content_type)
    assert (row.storage_path, row.size_bytes) == (answer["storage_path"], None)


@pytest.mark.parametrize("name", ["a", "A-1_b.c..d.PNG", "0", "x" * 255])
def test_own_file_names(ask, path, analysis, name):
    answer = ask("pipeline", "POST", path, {"artifact_type": "mask", "filename": name})
    assert (answer.status_code, answer.json["storage_path"]) == (200, f"ml_outputs/{analysis.id}/{name}")


def test_public_url(ask, switched, path):
    switched(PUBLIC_URL="https://loupe.example.org")
    signed = ask("pipeline", "POST", path, {"artifact_type": "log"}).json
    assert signed["upload_url"].startswith("https://loupe.example.org/files/ml_outputs/")


def test_expiry_setting(ask, switched, path):
    switched(ML_PRESIGNED_URL_EXPIRY_SECONDS=60)
    signed = ask("pipeline", "POST", path, {"artifact_type": "log"}).json
    assert datetime.fromisoformat(signed["expires_at"]) - datetime.now(UTC) <= timedelta(seconds=61)


def test_unknown_fields_are_named(ask, path):
    answer = ask("pipeline", "POST", path, {"artifact_type": "log", "file": "x"})
    assert (answer.status_code, answer.json["ignored"]) == (200, ["file"])


def test_s3(make_app, s3, world, image):
    """The same call, with the address of the bucket."""
    row = world.analysis(image, "processing")
    signing = pipeline_in_process(make_app(**s3.environ))
    signed = signing.post(f"/api/analyses/{row.id}/artifacts/presign", {"artifact_type": "heatmap"}).json
    assert signed.keys() == {"upload_url", "storage_path", "method", "headers", "expires_at"}
    assert signed["upload_url"].startswith(f"{s3.endpoint}/{s3.name}/{signed['storage_path']}?")


# --- the upload --------------------------------------------------------------------------------------------------


def test_upload_and_read_back(ask, path, client):
    signed = ask("pipeline", "POST", path, {"artifact_type": "heatmap"}).json
    content = picture()
    assert client.put(signed["upload_url"], data=content, headers=signed["headers"]).status_code == 200
    query = {"path": signed["storage_path"]}
    read = ask("viewer", "GET", f"/api/ml/artifacts/content?path={query['path']}")
    assert (read.status_code, read.data, read.mimetype) == (200, content, "image/png")


def test_size_and_hash_are_held_to(ask, path, client):
    content = b"x" * 100
    wanted = {"size": 100, "sha256": hashlib.sha256(content).hexdigest()}
    signed = ask("pipeline", "POST", path, {"artifact_type": "log", **wanted}).json
    for wrong in (b"x" * 99, b"x" * 101, b"y" * 100):
        answer = client.put(signed["upload_url"], data=wrong, headers=signed["headers"])
        assert 400 <= answer.status_code < 500
    right = client.put(signed["upload_url"], data=content, headers=signed["headers"])
    assert right.status_code == 200


def test_the_same_name_again(ask, path, client, world):
    first = ask("pipeline", "POST", path, {"artifact_type": "log"}).json
    second = ask("pipeline", "POST", path, {"artifact_type": "log"}).json
    assert first["storage_path"] == second["storage_path"]
    for signed, content in ((first, b"old"), (second, b"new")):
        assert client.put(signed["upload_url"], data=content, headers=signed["headers"]).status_code == 200
    read = ask("viewer", "GET", f"/api/ml/artifacts/content?path={first['storage_path']}")
    assert read.data == b"new"
    assert world.count(Artifact) == 1


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
def test_after_the_end(ask, world, image, unchanged, status):
    path = f"/api/analyses/{world.analysis(image, status).id}/artifacts/presign"
    with unchanged(Artifact, AuditEvent):
        answer = ask("pipeline", "POST", path, {"artifact_type": "log"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"artifact_type": "picture"}, "artifact_type"),
        ({"artifact_type": None}, "artifact_type"),
        ({"artifact_type": ["log"]}, "artifact_type"),
        ({"filename": ""}, "filename"),
        ({"filename": ".hidden"}, "filename"),
        ({"filename": ".."}, "filename"),
        ({"filename": "../x"}, "filename"),
        ({"filename": "a/b"}, "filename"),
        ({"filename": "a\\b"}, "filename"),
        ({"filename": "a b"}, "filename"),
        ({"filename": "a\n"}, "filename"),
        ({"filename": "é"}, "filename"),
        ({"filename": "x" * 256}, "filename"),
        ({"filename": 7}, "filename"),
        ({"size": -1}, "size"),
        ({"size": "1"}, "size"),
        ({"size": 1.5}, "size"),
        ({"size": 2**60}, "size"),
        ({"sha256": "x"}, "sha256"),
        ({"sha256": "A" * 64}, "sha256"),
        ({"sha256": "a" * 64 + "\n"}, "sha256"),
    ],
)
def test_wrong_fields(ask, path, unchanged, wrong, field):
    with unchanged(Artifact, AuditEvent):
        answer = ask("pipeline", "POST", path, {"artifact_type": "log"} | wrong)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")
    assert [error["field"] for error in answer.json["errors"]] == [field]


def test_the_type_must_be_named(ask, path):
    answer = ask("pipeline", "POST", path, {"filename": "a.png"})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "artifact_type")


def test_a_size_no_request_may_have(ask, switched, path, unchanged):
    switched(MAX_REQUEST_BYTES=1000)
    assert ask("pipeline", "POST", path, {"artifact_type": "log", "size": 1000}).status_code == 200
    with unchanged(Artifact, AuditEvent):
        answer = ask("pipeline", "POST", path, {"artifact_type": "log", "size": 1001})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "size")
