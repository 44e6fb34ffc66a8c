"""POST /api/analyses/{analysis_id}/heartbeat"""

from datetime import UTC, datetime, timedelta

import pytest

from app.models import Analysis, AuditEvent
from tests.factories import some_id
from tests.steps import check_problem, fields_at_fault


@pytest.fixture
def beat(pipeline):
    """beat(analysis, token): the answer."""

    def beat(analysis, token=None, **kwargs):
        kwargs = kwargs or {"raw": b""}
        return pipeline.post(f"/api/analyses/{analysis.id}/heartbeat", headers=token or {}, **kwargs)

    return beat


# --- who may: whoever holds the lease, and may write at all ------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("pipeline", 200),
        ("pipeline+viewer", 200),
        ("pipeline+admin", 200),
        ("pipeline+stranger", 403),
        ("owner", 401),
        ("admin", 401),
        ("anonymous", 401),
    ],
)
def test_who_may(request, app, pipeline, leased, who, status):
    analysis, token = leased()
    path = f"/api/analyses/{analysis.id}/heartbeat"
    proof, _, beside = who.partition("+")
    key = (
        {"X-API-Key": request.getfixturevalue(beside or who).key}
        if who not in ("pipeline", "anonymous")
        else {}
    )
    answer = pipeline.post(path, raw=b"", sign=proof == "pipeline", headers=token | key)
    assert answer.status_code == status


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_method(pipeline, leased, method):
    analysis, token = leased()
    answer = pipeline.request(method, f"/api/analyses/{analysis.id}/heartbeat", {}, headers=token)
    check_problem(answer, 405, "method-not-allowed")


def test_missing_analysis(pipeline):
    check_problem(pipeline.post(f"/api/analyses/{some_id()}/heartbeat", {}), 404, "not-found")


# --- what it does ------------------------------------------------------------------------------------------------


def test_it_extends_by_what_was_claimed(pipeline, world, image, beat, run_out):
    analysis = world.analysis(image)
    wanted = {"worker_id": "gpu-1", "lease_seconds": 600}
    claimed = pipeline.post(f"/api/analyses/{analysis.id}/claim", wanted).json
    token = {"X-ML-Lease-Token": claimed["lease_token"]}
    run_out(analysis, seconds=-5)
    before = datetime.now(UTC)
    answer = beat(analysis, token)
    assert (answer.status_code, answer.json["cancel_requested"]) == (200, False)
    ends = datetime.fromisoformat(answer.json["lease_expires_at"])
    assert before + timedelta(seconds=599) < ends <= datetime.now(UTC) + timedelta(seconds=600)
    assert world.reload(analysis).lease_expires_at == ends


def test_it_never_shortens(leased, beat, run_out, world):
    analysis, token = leased()
    run_out(analysis, seconds=-3600)
    before = world.reload(analysis).lease_expires_at
    assert datetime.fromisoformat(beat(analysis, token).json["lease_expires_at"]) == before


def test_it_is_no_change_of_the_analysis(leased, beat, world):
    """Nothing to audit, and nothing that a page would have to draw again."""
    analysis, token = leased()
    events = world.count(AuditEvent)
    beat(analysis, token)
    again = world.reload(analysis)
    assert (again.revision, again.updated_at) == (analysis.revision, analysis.updated_at)
    assert world.count(AuditEvent) == events


@pytest.mark.parametrize("body", [{}, {"json": {}}, {"json": {"worker_id": "gpu-1"}}])
def test_its_body(leased, beat, body):
    analysis, token = leased()
    answer = beat(analysis, token, **body)
    assert (answer.status_code, answer.json.get("ignored")) == (
        200,
        ["worker_id"] if body.get("json") else None,
    )


@pytest.mark.parametrize("body", [[], None, "beat"])
def test_not_an_object(leased, beat, body):
    analysis, token = leased()
    assert fields_at_fault(beat(analysis, token, json=body)) == {""}


def test_a_body_that_cannot_be_read(leased, beat):
    analysis, token = leased()
    check_problem(beat(analysis, token, raw=b"{"), 400, "malformed-request")


# --- canceled meanwhile ------------------------------------------------------------------------------------------


def test_canceled_by_a_person(leased, beat, editor, unchanged, run_out):
    analysis, token = leased()
    canceled = editor.api("PATCH", f"/api/analyses/{analysis.id}/status", json={"status": "canceled"})
    assert canceled.status_code == 200
    for seconds in (-60, 60):  # also when the worker is late
        run_out(analysis, seconds)
        with unchanged(Analysis, AuditEvent):
            answer = beat(analysis, token)
        assert (answer.status_code, answer.json["cancel_requested"]) == (200, True)
        assert datetime.fromisoformat(answer.json["lease_expires_at"])


def test_canceled_and_another_token(leased, beat, editor, token_of):
    analysis, _ = leased()
    editor.api("PATCH", f"/api/analyses/{analysis.id}/status", json={"status": "canceled"})
    for token in (None, token_of(analysis, 2)):
        check_problem(beat(analysis, token), 409, "lease-lost")


# --- lost --------------------------------------------------------------------------------------------------------


def test_lost_without_the_token(leased, beat, unchanged, token_of):
    analysis, token = leased()
    _, other_token = leased()
    wrong = [None, other_token, token_of(analysis, 0), token_of(analysis, 2), {"X-ML-Lease-Token": ""}]
    wrong += [{"X-ML-Lease-Token": token["X-ML-Lease-Token"] + "x"}, {"X-ML-Lease-Token": "é"}]
    with unchanged(Analysis):
        for one in wrong:
            check_problem(beat(analysis, one), 409, "lease-lost")
    assert beat(analysis, token).status_code == 200


def test_lost_by_time_and_not_revived(leased, beat, unchanged, run_out):
    analysis, token = leased()
    run_out(analysis)
    with unchanged(Analysis):
        for _ in range(2):
            check_problem(beat(analysis, token), 409, "lease-lost")


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_lost_by_the_end(pipeline, leased, beat, unchanged, status):
    analysis, token = leased()
    end = pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": status}, headers=token)
    assert end.status_code == 200
    with unchanged(Analysis):
        check_problem(beat(analysis, token), 409, "lease-lost")


@pytest.mark.parametrize("status", ["queued", "processing", "completed", "canceled"])
def test_nothing_was_claimed(world, image, beat, unchanged, token_of, status):
    analysis = world.analysis(image, status)
    with unchanged(Analysis):
        for token in (None, token_of(analysis, 0), token_of(analysis, 1)):
            check_problem(beat(analysis, token), 409, "lease-lost")
