"""POST /api/analyses/{id}/annotations:import: a file as a bulk request."""

import json

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from app import exports
from app.models import Annotation, AuditEvent, Receipt
from tests.importers.anything import annotation
from tests.importers.reading import ANALYSIS
from tests.steps import check_problem

BOX = {"x_min": 1.0, "y_min": 2.0, "x_max": 9.0, "y_max": 12.0}


def item(**more):
    return {"annotation_type": "bounding_box", "class_name": "leaf", "confidence": 0.5, "data": BOX, **more}


@pytest.fixture
def path(analysis):
    return f"/api/analyses/{analysis.id}/annotations:import"


@pytest.fixture
def send(pipeline, path):
    """send(file, query, headers): `file` as JSON, or bytes as they are."""

    def send(file, query="?format=json", **more):
        raw = file if isinstance(file, bytes) else json.dumps(file).encode()
        return pipeline.post(path + query, raw=raw, **more)

    return send


def test_what_is_taken(send, viewer, analysis):
    answer = send({"annotations": [item(), item(client_id="b", confidence=0.123456)]})
    assert answer.status_code == 200, answer.text
    receipt = answer.json
    assert (receipt["inserted"], receipt["total"]) == (2, 2)
    assert [one["place"] for one in receipt["annotations"]] == ["annotations.0", "annotations.1"]
    assert receipt["normalised"][0]["place"] == "annotations.1"
    assert receipt["file"] == {"format": "json", "annotations": 2}
    held = viewer.api("GET", f"/api/analyses/{analysis.id}/annotations").json["annotations"]
    assert [one["data"] for one in held] == [BOX, BOX]


def test_the_trail_says_from_what_it_was(send, pipeline, analysis, world):
    send({"annotations": [item(), item(confidence=0.123456), 7]}, "?format=json&on_invalid=skip")
    pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": [item()]})
    file, bulk = (event.after for event in world.rows(AuditEvent, action="annotations.stored"))
    counts = {"inserted": 2, "unchanged": 0, "updated": 0, "removed": 0, "total": 2, "mode": "append"}
    assert file == counts | {"format": "json", "in_file": 3, "normalised": 1, "skipped": 1}
    assert bulk == counts | {"inserted": 1, "total": 3}


def test_a_retry_changes_nothing(send):
    assert send({"annotations": [item()]}).json["inserted"] == 1
    assert send({"annotations": [item()]}).json["unchanged"] == 1


def test_modes(send):
    assert send({"annotations": [item(client_id="a"), item(client_id="b")]}).json["total"] == 2
    check_problem(send({"annotations": [item(client_id="a", confidence=0.25)]}), 409, "conflict")
    upsert = send({"annotations": [item(client_id="a", confidence=0.25)]}, "?format=json&mode=upsert").json
    assert (upsert["updated"], upsert["total"]) == (1, 2)
    replaced = send({"annotations": [item(client_id="a")]}, "?format=json&mode=replace").json
    assert (replaced["removed"], replaced["total"]) == (1, 1)


def test_an_empty_file_replaces_nothing(send, world):
    send({"annotations": [item()]})
    check_problem(send(b"", "?format=ndjson&mode=replace"), 422, "invalid-payload")
    assert world.count(Annotation) == 1


def test_a_dry_run_stores_nothing(send, world):
    assert send({"annotations": [item()]}, "?format=json&dry_run=1").json["inserted"] == 1
    assert world.count(Annotation) == world.count(Receipt) == 0


def test_refusals_name_the_place(send, world):
    bad = item(data=BOX | {"x_max": 0})
    answer = send({"annotations": [item(), bad, 7]})
    check_problem(answer, 422, "invalid-payload")
    assert [(one["index"], one["place"]) for one in answer.json["errors"]] == [
        (1, "annotations.1"),
        (2, "annotations.2"),
    ]
    assert answer.json["errors"][1]["reason"] == "must be an object"
    assert world.count(Annotation) == 0
    skipped = send({"annotations": [item(), bad, 7]}, "?format=json&on_invalid=skip").json
    assert (skipped["inserted"], skipped["skipped_count"]) == (1, 2)
    assert [one["place"] for one in skipped["skipped"]] == ["annotations.1", "annotations.2"]


def test_what_is_said_of_the_file_is_kept(send, viewer, analysis):
    file = {"annotations": [item()], "model_name": "leaf-net", "status": "completed"}
    said = send(file).json["file"]
    assert [one["count"] for one in said["left_out"]] == [2]
    assert sorted(said["left_out"][0]["places"]) == ["model_name", "status"]
    (kept,) = viewer.api("GET", f"/api/analyses/{analysis.id}/receipts").json["receipts"]
    assert kept["file"] == said


def test_a_track_that_only_the_query_tells(send):
    """The receipt says where a file cannot, and the query does."""
    line = b"0 .5 .5 .2 .2 .9 1"
    (told,) = send(line, "?format=yolo&names=leaf&dry_run=1").json["file"]["told"]
    assert "say `tracks`" in told["what"] and told["places"] == ["line 1"]
    receipt = send(line, "?format=yolo&names=leaf&tracks=1").json
    assert receipt["file"]["extra"] == [{"key": "track_id", "count": 1}] and "told" not in receipt["file"]


def test_a_number_that_is_too_large_for_a_track(send):
    answer = send(b"0 .5 .5 .2 .2 .9 5\n0 .1 .1 .1 .1 1e999", "?format=yolo&names=leaf")
    check_problem(answer, 422, "invalid-payload")
    assert {fault["place"] for fault in answer.json["errors"]} == {"line 2"}


@pytest.mark.parametrize("query", ["", "?format=doc", "?format=json&mode=all", "?format=json&keypoints=x"])
def test_a_wrong_query(send, query):
    check_problem(send({"annotations": []}, query), 422, "invalid-payload")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"annotations": [NaN]}', b'{"a": 1, "a": 2}', b"\xff\xfe{", b"[1e999]"],
)
def test_what_is_no_json(send, body):
    check_problem(send(body), 400, "malformed-request")


@pytest.mark.parametrize("file", [[], {}, None, {"annotations": {}}, {"annotations": None}, "text", 1])
def test_what_is_another_file(send, file):
    check_problem(send(file), 422, "invalid-payload")


def test_another_content_type(send):
    answer = send({"annotations": []}, headers={"Content-Type": "text/html"})
    check_problem(answer, 415, "unsupported-media-type")
    assert send({"annotations": [item()]}, headers={"Content-Type": "text/plain"}).status_code == 200


def test_limits(send, app, switched):
    switched(ML_MAX_BULK_ANNOTATIONS=1)
    check_problem(send({"annotations": [item(), item()]}), 400, "too-many-annotations")
    switched(MAX_CONTENT_LENGTH=20)
    check_problem(send({"annotations": [item()]}), 413, "payload-too-large")


def test_a_lease_holds_here_too(pipeline, leased):
    analysis, token = leased()
    path = f"/api/analyses/{analysis.id}/annotations:import?format=json"
    check_problem(pipeline.post(path, {"annotations": [item()]}), 409, "lease-lost")
    assert pipeline.post(path, {"annotations": [item()]}, headers=token).status_code == 200


def test_who_may(ask, path):
    for who, status in {
        "anonymous": 401,
        "editor": 401,
        "pipeline+stranger": 403,
        "pipeline+editor": 200,
    }.items():
        answer = ask(who, "POST", path + "?format=json", {"annotations": [item()]})
        assert answer.status_code == status, (who, answer.text)


def test_an_export_is_taken_back(send, pipeline, viewer, world, image, analysis):
    sent = [item(), item(client_id="b", ordering=3, data=BOX | {"lens": 50}), {"annotation_type": "custom"}]
    assert (
        pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": sent}).json["inserted"]
        == 3
    )
    exported = viewer.api("GET", f"/api/analyses/{analysis.id}/export?format=json", buffered=True)
    other = world.analysis(image, "processing")
    path = f"/api/analyses/{other.id}/annotations:import?format=json"
    receipt = pipeline.post(path, raw=exported.data).json
    assert receipt["inserted"] == 3 and not receipt.keys() & {"normalised", "ignored", "skipped"}
    again = viewer.api("GET", f"/api/analyses/{other.id}/export?format=json", buffered=True)

    def said(answer):
        new = ("id", "analysis_id", "created_at")
        return [{key: one[key] for key in one if key not in new} for one in answer.json["annotations"]]

    assert said(again) == said(exported)
    assert pipeline.post(path, raw=again.data).json["unchanged"] == 3


# beyond 2**53 PostgreSQL keeps another whole number than the float is, and spells it
LARGE = {
    "annotation_type": "heatmap",
    "data": {"width": 1, "height": 1, "vmin": 48674037594092284},
    "storage_path": f"ml_outputs/{ANALYSIS}/a.png",
}


@pytest.mark.parametrize("form", [form for form in ("json", "ndjson") if form in exports.FORMATS])
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=st.lists(annotation(), min_size=1, max_size=6))
@example(made=[LARGE])
def test_whatever_is_exported_comes_back(form, made, pipeline, viewer, world, image):
    """Through both endpoints and the database, by a name and a place of its own each."""
    first, second = (world.analysis(image, "processing") for _ in range(2))
    own = json.loads(json.dumps(made).replace(str(ANALYSIS), str(first.id)))
    bulk = f"/api/analyses/{first.id}/annotations:bulk?on_invalid=skip"
    assume(pipeline.post(bulk, {"annotations": own}).status_code == 200)

    def exported(analysis):
        answer = viewer.api("GET", f"/api/analyses/{analysis.id}/export?format={form}", buffered=True)
        assert answer.status_code == 200
        return answer.data

    path = f"/api/analyses/{second.id}/annotations:import?format={form}"
    receipt = pipeline.post(path, raw=exported(first), headers={"Content-Type": "text/plain"})
    assert receipt.status_code == 200, receipt.text
    assert not receipt.json.keys() & {"normalised", "ignored", "skipped", "scaled"}
    before, after = (held(viewer, analysis) for analysis in (first, second))
    assert after == before and before


def held(viewer, analysis):
    """All that an analysis holds, but for what is new in another one."""
    found = viewer.api("GET", f"/api/analyses/{analysis.id}").json["annotations"]
    return [
        {key: value for key, value in one.items() if key not in ("id", "analysis_id", "created_at")}
        | {"storage_path": one["storage_path"] and one["storage_path"].rpartition("/")[2]}
        for one in found
    ]
