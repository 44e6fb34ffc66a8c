"""POST /api/analyses/{analysis_id}/finalize"""

import hashlib

import pytest

from app.models import Analysis, Artifact, Status
from app.models.analyses import TRANSITIONS
from tests.factories import picture, some_id
from tests.pipeline.callers import who_may, who_may_not, who_may_without_a_signature


@pytest.fixture
def path(analysis):
    return f"/api/analyses/{analysis.id}/finalize"


# --- who may -----------------------------------------------------------------------------------------------------


@who_may
def test_who_may(ask, path, who):
    answer = ask(who, "POST", path, {"status": "completed"})
    assert (answer.status_code, answer.json["status"]) == (200, "completed")
    assert "annotations" not in answer.json


@who_may_not
def test_who_may_not(ask, path, unchanged, who, status, code):
    with unchanged(Analysis):
        answer = ask(who, "POST", path, {"status": "completed"})
    assert (answer.status_code, answer.json["code"]) == (status, code)


@who_may_without_a_signature
def test_who_may_where_no_signature_is_required(ask, switched, path, who, status):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    assert ask(who, "POST", path, {"status": "failed"}).status_code == status


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_method(ask, path, method):
    answer = ask("pipeline", method, path, {"status": "failed"})
    assert (answer.status_code, answer.json["code"]) == (405, "method-not-allowed")


def test_missing_analysis(ask):
    answer = ask("pipeline", "POST", f"/api/analyses/{some_id()}/finalize", {"status": "completed"})
    assert (answer.status_code, answer.json["code"]) == (404, "not-found")


# --- the end -----------------------------------------------------------------------------------------------------

ENDS = (Status.COMPLETED, Status.FAILED)


@pytest.mark.parametrize("after", ENDS)
@pytest.mark.parametrize("before", [Status.QUEUED, Status.PROCESSING])
def test_legal(ask, world, image, before, after):
    row = world.analysis(image, before)
    answer = ask("pipeline", "POST", f"/api/analyses/{row.id}/finalize", {"status": after})
    assert (answer.status_code, answer.json["status"]) == (200, after)
    stored = world.reload(row)
    assert stored.status == after
    assert None not in (stored.started_at, stored.completed_at)
    assert stored.started_at <= stored.completed_at


@pytest.mark.parametrize("after", ENDS)
@pytest.mark.parametrize("before", [status for status in TRANSITIONS if status.is_terminal])
def test_after_the_end(ask, world, image, unchanged, before, after):
    row = world.analysis(image, before)
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", f"/api/analyses/{row.id}/finalize", {"status": after})
    if before == after:
        assert (answer.status_code, answer.json["status"]) == (200, after)
    else:
        assert (answer.status_code, answer.json["code"]) == (409, "illegal-transition")
        assert (answer.json["current"], answer.json["allowed"]) == (before, [])


def test_error_message(ask, path):
    answer = ask("pipeline", "POST", path, {"status": "failed", "error_message": "no disk"})
    assert answer.json["error_message"] == "no disk"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "status"),
        ({"status": "canceled"}, "status"),
        ({"status": "processing"}, "status"),
        ({"status": ["completed"]}, "status"),
        ({"status": "failed", "error_message": {}}, "error_message"),
        ({"status": "completed", "expected_annotations": -1}, "expected_annotations"),
        ({"status": "completed", "expected_annotations": "3"}, "expected_annotations"),
        ({"status": "completed", "expected_annotations": 1.5}, "expected_annotations"),
    ],
)
def test_wrong_fields(ask, path, unchanged, body, field):
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", path, body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")
    assert [error["field"] for error in answer.json["errors"]] == [field]


def test_unknown_fields_are_named(ask, path):
    answer = ask("pipeline", "POST", path, {"status": "completed", "expected": 3})
    assert (answer.status_code, answer.json["ignored"]) == (200, ["expected"])


# --- how many annotations there must be --------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [0, 1, 3])
def test_expected_annotations(ask, path, bulk_path, box, unchanged, wrong):
    ask("pipeline", "POST", bulk_path, {"annotations": [box(), box()]})
    with unchanged(Analysis):
        answer = ask("pipeline", "POST", path, {"status": "completed", "expected_annotations": wrong})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert (answer.json["expected"], answer.json["actual"]) == (wrong, 2)
    right = ask("pipeline", "POST", path, {"status": "completed", "expected_annotations": 2})
    assert (right.status_code, right.json["annotation_count"]) == (200, 2)


# --- artifacts ---------------------------------------------------------------------------------------------------


@pytest.fixture
def presign(ask, analysis):
    def presign(artifact_type, **more):
        sent = {"artifact_type": artifact_type, **more}
        return ask("pipeline", "POST", f"/api/analyses/{analysis.id}/artifacts/presign", sent).json

    return presign


@pytest.fixture
def upload(client):
    def upload(signed, content):
        answer = client.put(signed["upload_url"], data=content, headers=signed["headers"])
        assert answer.status_code == 200

    return upload


def heatmap(path):
    return {"annotation_type": "heatmap", "data": {"width": 64, "height": 48}, "storage_path": path}


def test_artifacts_are_recorded(ask, path, bulk_path, presign, upload, world):
    signed, content = presign("heatmap"), picture()
    upload(signed, content)
    ask("pipeline", "POST", bulk_path, {"annotations": [heatmap(signed["storage_path"])]})
    assert ask("pipeline", "POST", path, {"status": "completed"}).status_code == 200
    (row,) = world.rows(Artifact)
    assert (row.storage_path, row.size_bytes) == (signed["storage_path"], len(content))
    assert row.sha256 == hashlib.sha256(content).hexdigest()
    assert None not in (row.etag, row.uploaded_at)


@pytest.mark.parametrize("status", ENDS)
def test_a_referenced_artifact_must_be_there(ask, path, bulk_path, presign, upload, unchanged, status):
    signed = presign("heatmap")
    ask("pipeline", "POST", bulk_path, {"annotations": [heatmap(signed["storage_path"])]})
    with unchanged(Analysis, Artifact):
        answer = ask("pipeline", "POST", path, {"status": status})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert answer.json["missing"] == [signed["storage_path"]]
    upload(signed, picture())
    assert ask("pipeline", "POST", path, {"status": status}).status_code == 200


def test_a_presigned_artifact_that_nothing_refers_to_may_be_missing(ask, path, presign, world):
    presign("log")
    assert ask("pipeline", "POST", path, {"status": "completed"}).status_code == 200
    (row,) = world.rows(Artifact)
    assert (row.size_bytes, row.etag, row.uploaded_at) == (None, None, None)


def test_a_log_is_recorded_though_nothing_refers_to_it(ask, path, presign, upload, world):
    upload(presign("log"), b"done\n")
    ask("pipeline", "POST", path, {"status": "completed"})
    (row,) = world.rows(Artifact)
    assert (row.artifact_type, row.size_bytes) == ("log", 5)


def test_a_later_difference_shows(ask, path, presign, upload, analysis):
    signed = presign("metadata")
    upload(signed, b"{}")
    ask("pipeline", "POST", path, {"status": "completed"})

    def exported():
        return ask("viewer", "GET", f"/api/analyses/{analysis.id}/export?format=json").json["artifacts"][0]

    before = exported()
    upload(signed, b'{"other": 1}')  # the address is still good
    after = exported()
    assert (before["state"], after["state"]) == ("present", "changed")
    assert (before["size"], before["hash"]) == (after["size"], after["hash"])
