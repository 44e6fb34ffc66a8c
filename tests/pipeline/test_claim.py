"""POST /api/analyses/{analysis_id}/claim and POST /api/analyses:claim"""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from app.extensions import db
from app.models import Analysis, AuditEvent, Image
from tests.factories import some_id
from tests.pipeline.callers import who_may, who_may_not, who_may_without_a_signature
from tests.steps import check_problem, fields_at_fault

WORKER = {"worker_id": "gpu-1"}
NEXT = "/api/analyses:claim"


@pytest.fixture
def analysis(world, image):
    return world.analysis(image, "queued")


@pytest.fixture
def path(analysis):
    return f"/api/analyses/{analysis.id}/claim"


@pytest.fixture
def claim_next(pipeline):
    """claim_next(max=2, …): the ids of what the worker has then, in order; `key` is the Idempotency-Key."""

    def claim(key=None, **wanted):
        headers = {"Idempotency-Key": key} if key else {}
        answer = pipeline.post(NEXT, {**WORKER, **wanted}, headers=headers)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json["analyses"]]

    return claim


def ids(rows):
    return [str(row.id) for row in rows]


def seconds_until(text):
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


# --- who may -----------------------------------------------------------------------------------------------------


@who_may
def test_who_may(ask, path, who):
    answer = ask(who, "POST", path, WORKER)
    assert (answer.status_code, answer.json["status"]) == (200, "processing")


@who_may_not
def test_who_may_not(ask, path, unchanged, who, status, code):
    with unchanged(Analysis):
        answer = ask(who, "POST", path, WORKER)
    assert (answer.status_code, answer.json["code"]) == (status, code)


@who_may_without_a_signature
def test_who_may_where_no_signature_is_required(ask, switched, path, who, status):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    assert ask(who, "POST", path, WORKER).status_code == status


@pytest.mark.parametrize(
    ("who", "finds"),
    [("pipeline", True), ("pipeline+viewer", True), ("pipeline+admin", True), ("pipeline+stranger", False)],
)
def test_who_finds_what_is_next(ask, analysis, who, finds):
    """A key beside the signature narrows to the projects of its person."""
    answer = ask(who, "POST", NEXT, WORKER)
    assert (answer.status_code, len(answer.json["analyses"])) == (200, int(finds))


@pytest.mark.parametrize(
    ("who", "finds"), [("owner", 1), ("editor", 1), ("admin", 1), ("viewer", 0), ("stranger", 0)]
)
def test_who_finds_what_is_next_without_a_signature(ask, switched, analysis, who, finds):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    assert len(ask(who, "POST", NEXT, WORKER).json["analyses"]) == finds


@pytest.mark.parametrize("who", ["owner", "admin", "anonymous"])
def test_the_next_needs_a_signature(ask, unchanged, analysis, who):
    with unchanged(Analysis):
        check_problem(ask(who, "POST", NEXT, WORKER), 401, "signature-missing")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_method(ask, path, method):
    for address in (path, NEXT):
        check_problem(ask("pipeline", method, address, WORKER), 405, "method-not-allowed")


def test_missing_analysis(ask):
    check_problem(ask("pipeline", "POST", f"/api/analyses/{some_id()}/claim", WORKER), 404, "not-found")


@pytest.mark.parametrize("method", ["POST", "GET", "PATCH"])
def test_switched_off(pipeline, switched, unchanged, analysis, method):
    """It is 404 before anything else is looked at, with the right method and with a wrong one."""
    switched(ML_PIPELINE_PULL_ENABLED=False)
    one = f"/api/analyses/{analysis.id}"
    with unchanged(Analysis):
        for address in (f"{one}/claim", f"{one}/heartbeat", NEXT):
            check_problem(pipeline.request(method, address, WORKER), 404, "not-found")
            check_problem(pipeline.request(method, address, WORKER, secret="x"), 404, "not-found")


# --- one ---------------------------------------------------------------------------------------------------------


def test_the_lease(pipeline, path, analysis, world, image, client):
    answer = pipeline.post(path, WORKER | {"lease_seconds": 600, "typo": 1})
    body = answer.json
    assert (body["id"], body["status"], body["ignored"]) == (str(analysis.id), "processing", ["typo"])
    assert 590 < seconds_until(body["lease_expires_at"]) <= 600
    assert len(body["lease_token"]) == 43
    picture = body["image"]
    assert picture.pop("download_url").startswith("http://localhost/")
    assert picture == {
        "id": str(image.id),
        "width": 64,
        "height": 48,
        "content_type": "image/png",
        "sha256": image.sha256,
    }
    stored = world.reload(analysis)
    assert stored.started_at is not None and stored.lease_owner == "gpu-1" and stored.lease_epoch == 1
    assert body["lease_token"] not in str(vars(stored))


def test_the_image_can_be_fetched_without_a_key(pipeline, path, image, client):
    url = pipeline.post(path, WORKER).json["image"]["download_url"]
    content = client.get(url)
    assert (content.status_code, content.mimetype) == (200, "image/png")
    assert hashlib.sha256(content.data).hexdigest() == image.sha256


def test_how_long_it_is_by_itself(pipeline, path, switched):
    switched(ML_LEASE_SECONDS=30)
    assert 25 < seconds_until(pipeline.post(path, WORKER).json["lease_expires_at"]) <= 30


def test_the_audit_trail(pipeline, path, analysis, world):
    pipeline.post(path, WORKER)
    moved, claimed = world.rows(AuditEvent, subject_id=str(analysis.id))
    assert (moved.action, moved.before, moved.after) == (
        "analysis.processing",
        {"status": "queued"},
        {"status": "processing"},
    )
    assert (claimed.action, claimed.actor_kind) == ("analysis.claimed", "pipeline")
    ends = world.reload(analysis).lease_expires_at.isoformat()
    assert claimed.after == {"worker_id": "gpu-1", "epoch": 1, "lease_expires_at": ends}
    assert claimed.project_id is not None


def test_the_same_again(pipeline, path, unchanged):
    """The answer got lost: the same worker finds the lease as it is."""
    first = pipeline.post(path, WORKER).json
    with unchanged(Analysis, AuditEvent):
        again = pipeline.post(path, WORKER).json
    assert (again["lease_token"], again["lease_expires_at"]) == (
        first["lease_token"],
        first["lease_expires_at"],
    )
    assert again["image"]["id"] == first["image"]["id"]


@pytest.mark.parametrize(
    ("key", "worker", "other_key"),
    [
        (None, "gpu-2", None),
        ("a", "gpu-1", "b"),
        ("a", "gpu-1", None),
        (None, "gpu-1", "a"),
        ("a", "gpu-2", "a"),
    ],
)
def test_another_request(pipeline, path, unchanged, key, worker, other_key):
    def claim(worker, key):
        headers = {"Idempotency-Key": key} if key else {}
        return pipeline.post(path, {"worker_id": worker}, headers=headers)

    assert claim("gpu-1", key).status_code == 200
    with unchanged(Analysis, AuditEvent):
        check_problem(claim(worker, other_key), 409, "already-claimed")
    assert claim("gpu-1", key).status_code == 200


def test_another_caller_with_the_same_words(ask, path):
    assert ask("pipeline+owner", "POST", path, WORKER).status_code == 200
    check_problem(ask("pipeline+editor", "POST", path, WORKER), 409, "already-claimed")
    check_problem(ask("pipeline", "POST", path, WORKER), 409, "already-claimed")


def test_the_same_again_after_the_lease(pipeline, path, run_out, analysis, unchanged):
    pipeline.post(path, WORKER)
    run_out(analysis)
    with unchanged(Analysis, AuditEvent):
        check_problem(pipeline.post(path, WORKER), 409, "already-claimed")


def test_what_runs_without_a_lease(pipeline, path, analysis, unchanged):
    pipeline.patch(f"/api/analyses/{analysis.id}/status", {"status": "processing"})
    with unchanged(Analysis):
        check_problem(pipeline.post(path, WORKER), 409, "already-claimed")


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
def test_what_has_ended(pipeline, world, image, unchanged, status):
    ended = world.analysis(image, status)
    with unchanged(Analysis):
        answer = pipeline.post(f"/api/analyses/{ended.id}/claim", WORKER)
    body = check_problem(answer, 409, "illegal-transition")
    assert (body["current"], body["allowed"]) == (status, [])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"worker_id"}),
        ({"worker_id": ""}, {"worker_id"}),
        ({"worker_id": "a\nb"}, {"worker_id"}),
        ({"worker_id": "x" * 256}, {"worker_id"}),
        ({"worker_id": 7}, {"worker_id"}),
        (WORKER | {"lease_seconds": 0}, {"lease_seconds"}),
        (WORKER | {"lease_seconds": 86_401}, {"lease_seconds"}),
        (WORKER | {"lease_seconds": "60"}, {"lease_seconds"}),
    ],
)
def test_wrong_fields(pipeline, path, unchanged, body, fields):
    with unchanged(Analysis):
        for address in (path, NEXT):
            assert fields_at_fault(pipeline.post(address, body)) == fields


# --- the next ----------------------------------------------------------------------------------------------------


def test_by_priority_then_by_age(world, image, claim_next):
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    def queued(minutes, priority):
        return world.analysis(image, created_at=moment + timedelta(minutes=minutes), priority=priority)

    rows = [queued(*one) for one in [(3, 0), (1, 0), (2, 5), (4, 5), (0, -1), (1, 0)]]
    assert claim_next(max=100) == ids([rows[2], rows[3], rows[1], rows[5], rows[0], rows[4]])
    assert claim_next(max=100) == []


def test_one_at_a_time(world, image, claim_next):
    rows = [world.analysis(image) for _ in range(3)]
    assert [claim_next(), claim_next(max=1), claim_next(max=5), claim_next()] == [
        *([row] for row in ids(rows)),
        [],
    ]


def test_each_with_a_token_of_its_own(world, image, pipeline):
    for _ in range(3):
        world.analysis(image)
    answer = pipeline.post(NEXT, WORKER | {"max": 3, "typo": 1}).json
    assert answer["ignored"] == ["typo"]
    rows = answer["analyses"]
    assert len({row["lease_token"] for row in rows}) == 3
    for row in rows:
        beat = f"/api/analyses/{row['id']}/heartbeat"
        for other in rows:
            told = pipeline.post(beat, {}, headers={"X-ML-Lease-Token": other["lease_token"]})
            assert told.status_code == (200 if other is row else 409)
        assert row["image"]["download_url"].startswith("http://")


def test_models(world, image, claim_next):
    leaf, bark, root = (world.analysis(image, model_name=name) for name in ("leaf", "bark", "root"))
    assert claim_next(models=["root", "bark"], max=9) == ids([bark, root])
    assert claim_next(models=["none"]) == []
    assert claim_next(models=None) == ids([leaf])


def test_only_what_waits(world, image, claim_next):
    for status in ("processing", "completed", "failed", "canceled"):
        world.analysis(image, status)
    assert claim_next(max=9) == []


@pytest.mark.parametrize("deleted", ["analysis", "image"])
def test_what_is_deleted_waits_for_nobody(app, analysis, path, pipeline, claim_next, deleted):
    with app.app_context():
        kind, row_id = (Analysis, analysis.id) if deleted == "analysis" else (Image, analysis.image_id)
        db.session.get_one(kind, row_id).deleted_at = datetime.now(UTC)
        db.session.commit()
    assert claim_next(max=9) == []
    check_problem(pipeline.post(path, WORKER), 410, "deleted")


def test_the_same_key_again(world, image, claim_next, unchanged):
    rows = [world.analysis(image) for _ in range(5)]
    first = claim_next("night-1", max=2)
    with unchanged(Analysis, AuditEvent):
        assert claim_next("night-1", max=2) == first == ids(rows[:2])
    assert claim_next("night-2", max=2) == ids(rows[2:4])
    assert claim_next("night-1", max=2, worker_id="gpu-2") == ids(rows[4:])
    assert claim_next("night-1", max=2) == first


def test_the_same_key_again_gives_the_same_tokens(world, image, pipeline):
    world.analysis(image)
    headers = {"Idempotency-Key": "night-1"}
    (one,), (other,) = (pipeline.post(NEXT, WORKER, headers=headers).json["analyses"] for _ in range(2))
    assert one["lease_token"] == other["lease_token"]
    assert one["lease_expires_at"] == other["lease_expires_at"]


def test_the_same_key_again_gives_what_still_holds(world, image, claim_next, pipeline, run_out, token_of):
    rows = [world.analysis(image) for _ in range(4)]
    assert claim_next("night-1", max=3) == ids(rows[:3])
    run_out(rows[0])
    pipeline.patch(f"/api/analyses/{rows[1].id}/status", {"status": "completed"}, headers=token_of(rows[1]))
    assert world.reload(rows[1]).status == "completed"
    assert claim_next("night-1", max=3) == ids(rows[2:3])


def test_a_key_that_found_nothing_may_find_something_later(world, image, claim_next):
    assert claim_next("night-1") == []
    row = world.analysis(image)
    assert claim_next("night-1") == ids([row])


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"max": 0}, {"max"}),
        ({"max": 101}, {"max"}),
        ({"max": True}, {"max"}),
        ({"models": []}, {"models"}),
        ({"models": "leaf"}, {"models"}),
        ({"models": ["leaf", ""]}, {"models.1"}),
    ],
)
def test_wrong_fields_of_the_next(pipeline, unchanged, analysis, body, fields):
    with unchanged(Analysis):
        assert fields_at_fault(pipeline.post(NEXT, WORKER | body)) == fields


def test_no_query_for_each(world, image, pipeline, count_queries):
    """What is claimed grows, what is asked does not."""
    for _ in range(20):
        world.analysis(image)
    counts = []
    for most in (1, 15):
        with count_queries() as statements:
            assert len(pipeline.post(NEXT, WORKER | {"max": most}).json["analyses"]) == most
        counts.append(len([one for one in statements if one.startswith("SELECT")]))
    assert counts[0] == counts[1] <= 4
