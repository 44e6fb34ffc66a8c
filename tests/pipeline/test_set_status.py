"""PATCH /api/analyses/{analysis_id}/status"""

import pytest

from app.models import Analysis, Artifact, Status
from app.models.analyses import TRANSITIONS
from tests.factories import some_id


@pytest.fixture
def path(analysis):
    return f"/api/analyses/{analysis.id}/status"


# --- who may: the pipeline everything, people only cancel --------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "editor", "admin", "pipeline", "pipeline+viewer", "pipeline+admin"])
def test_who_may_cancel(ask, path, who):
    answer = ask(who, "PATCH", path, {"status": "canceled"})
    assert (answer.status_code, answer.json["status"]) == (200, "canceled")


@pytest.mark.parametrize(
    ("who", "status", "code"),
    [
        ("viewer", 403, "forbidden"),
        ("stranger", 403, "forbidden"),
        ("pipeline+stranger", 403, "forbidden"),
        ("anonymous", 401, "signature-missing"),
    ],
)
@pytest.mark.parametrize("wanted", ["canceled", "completed"])
def test_who_may_not(ask, path, unchanged, who, status, code, wanted):
    with unchanged(Analysis):
        answer = ask(who, "PATCH", path, {"status": wanted})
    assert (answer.status_code, answer.json["code"]) == (status, code)


@pytest.mark.parametrize("wanted", ["queued", "processing", "completed", "failed"])
@pytest.mark.parametrize("who", ["owner", "editor", "admin"])
def test_people_may_only_cancel(ask, path, unchanged, who, wanted):
    with unchanged(Analysis):
        answer = ask(who, "PATCH", path, {"status": wanted})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("who", "status"),
    [("owner", 200), ("editor", 200), ("admin", 200), ("viewer", 403), ("stranger", 403), ("anonymous", 401)],
)
def test_who_may_where_no_signature_is_required(ask, switched, path, who, status):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    assert ask(who, "PATCH", path, {"status": "completed"}).status_code == status


def test_a_session_alone_is_nobody(owner, path):
    answer = owner.client.patch(path, json={"status": "canceled"})
    assert (answer.status_code, answer.json["code"]) == (401, "signature-missing")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_wrong_method(ask, path, method):
    answer = ask("pipeline", method, path, {"status": "failed"})
    assert (answer.status_code, answer.json["code"]) == (405, "method-not-allowed")
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "PATCH"}


@pytest.mark.parametrize("who", ["pipeline", "owner", "stranger"])
def test_missing_analysis(ask, who):
    answer = ask(who, "PATCH", f"/api/analyses/{some_id()}/status", {"status": "canceled"})
    assert (answer.status_code, answer.json["code"]) == (404, "not-found")


# --- the state machine -------------------------------------------------------------------------------------------

PAIRS = [(before, after) for before in TRANSITIONS for after in Status]
LEGAL = [(before, after) for before, after in PAIRS if after in TRANSITIONS[before]]
SAME = [(before, after) for before, after in PAIRS if before == after]
ILLEGAL = [pair for pair in PAIRS if pair not in LEGAL and pair not in SAME]


def test_the_table_is_that_of_the_contract():
    assert [(str(before), str(after)) for before, after in LEGAL] == [
        ("queued", "processing"),
        ("queued", "canceled"),
        ("processing", "completed"),
        ("processing", "failed"),
        ("processing", "canceled"),
    ]


@pytest.mark.parametrize(("before", "after"), LEGAL)
def test_legal(ask, world, image, before, after):
    row = world.analysis(image, before)
    answer = ask("pipeline", "PATCH", f"/api/analyses/{row.id}/status", {"status": after})
    assert (answer.status_code, answer.json["status"]) == (200, after)
    assert "annotations" not in answer.json
    stored = world.reload(row)
    assert stored.status == after
    assert (stored.started_at is not None) == (Status.PROCESSING in (before, after))
    assert (stored.completed_at is not None) == after.is_terminal
    assert stored.updated_at > row.updated_at
    if before is Status.PROCESSING:
        assert stored.started_at == row.started_at


@pytest.mark.parametrize(("before", "after"), SAME)
def test_the_same_again(ask, world, image, unchanged, before, after):
    row = world.analysis(image, before)
    with unchanged(Analysis):
        answer = ask("pipeline", "PATCH", f"/api/analyses/{row.id}/status", {"status": after})
    assert (answer.status_code, answer.json["status"]) == (200, after)


@pytest.mark.parametrize(("before", "after"), ILLEGAL)
def test_illegal(ask, world, image, unchanged, before, after):
    row = world.analysis(image, before)
    with unchanged(Analysis):
        answer = ask("pipeline", "PATCH", f"/api/analyses/{row.id}/status", {"status": after})
    assert (answer.status_code, answer.json["code"]) == (409, "illegal-transition")
    assert answer.json["current"] == before
    assert answer.json["allowed"] == sorted(TRANSITIONS[before])


# --- the message -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("CUDA out of memory", "CUDA out of memory"),
        ("line one\r\nline\ttwo\n", "line one\nline\ttwo\n"),
        ("a\x1b[31mred\x07", "a\ufffd[31mred\ufffd"),
        ("x" * 20_000, "x" * 10_000),
        ("", ""),
    ],
)
def test_error_message(ask, path, sent, kept):
    answer = ask("pipeline", "PATCH", path, {"status": "failed", "error_message": sent})
    assert (answer.status_code, answer.json["error_message"]) == (200, kept)


def test_an_error_message_stays_when_none_is_sent(ask, path):
    ask("pipeline", "PATCH", path, {"status": "failed", "error_message": "no disk"})
    again = ask("pipeline", "PATCH", path, {"status": "failed", "error_message": "something else"})
    assert again.json["error_message"] == "no disk"


# --- what is refused ---------------------------------------------------------------------------------------------

WRONG = [
    ({}, "status"),
    ({"status": None}, "status"),
    ({"status": "done"}, "status"),
    ({"status": "COMPLETED"}, "status"),
    ({"status": 1}, "status"),
    ({"status": []}, "status"),
    ({"status": {}}, "status"),
    ({"status": "failed", "error_message": 7}, "error_message"),
]


@pytest.mark.parametrize(("body", "field"), WRONG)
def test_wrong_fields(ask, path, unchanged, body, field):
    with unchanged(Analysis):
        answer = ask("pipeline", "PATCH", path, body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")
    assert [error["field"] for error in answer.json["errors"]] == [field]


@pytest.mark.parametrize("body", [[], "canceled", 7, None])
def test_not_an_object(pipeline, path, body):
    assert pipeline.patch(path, body).status_code == 422


def test_unknown_fields_are_named(ask, path):
    answer = ask("pipeline", "PATCH", path, {"status": "completed", "message": "x"})
    assert (answer.status_code, answer.json["ignored"]) == (200, ["message"])


def test_completed_this_way_writes_down_what_is_there(pipeline, client, analysis, world):
    """Only finalize asks for every artifact; what is there is recorded all the same."""
    one = f"/api/analyses/{analysis.id}"
    heatmap = pipeline.post(f"{one}/artifacts/presign", {"artifact_type": "heatmap"}).json
    log = pipeline.post(f"{one}/artifacts/presign", {"artifact_type": "log"}).json
    client.put(log["upload_url"], data=b"done\n", headers=log["headers"])
    item = {
        "annotation_type": "heatmap",
        "data": {"width": 64, "height": 48},
        "storage_path": heatmap["storage_path"],
    }
    assert pipeline.post(f"{one}/annotations:bulk", {"annotations": [item]}).status_code == 200
    assert pipeline.patch(f"{one}/status", {"status": "completed"}).status_code == 200
    sizes = {row.artifact_type: row.size_bytes for row in world.rows(Artifact)}
    assert sizes == {"heatmap": None, "log": 5}
