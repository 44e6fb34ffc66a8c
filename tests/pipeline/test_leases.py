"""While an analysis is leased only the worker that holds it writes: every way to write × every way to have lost it."""

import re

import pytest

from app import background
from app.errors import StorageUnavailable
from app.extensions import db
from app.models import SYSTEM, Analysis, Annotation, Artifact, AuditEvent
from app.services import analyses, leases
from tests.fakes import BrokenStorage
from tests.steps import BOX, check_problem

BOXES = {"annotations": [{"annotation_type": "bounding_box", "client_id": "a", "data": BOX}]}
TABLES = (Analysis, Annotation, Artifact, AuditEvent)
# what writes, with its success; each is sent to an analysis of its own
WRITES = {
    "bulk": ("POST", "/annotations:bulk", BOXES),
    "dry run": ("POST", "/annotations:bulk?dry_run=1", BOXES),
    "replace": ("POST", "/annotations:bulk", {"annotations": [], "mode": "replace"}),
    "presign": ("POST", "/artifacts/presign", {"artifact_type": "log"}),
    "the same status": ("PATCH", "/status", {"status": "processing"}),
    "completed": ("PATCH", "/status", {"status": "completed"}),
    "failed": ("PATCH", "/status", {"status": "failed", "error_message": "no disk"}),
    "canceled": ("PATCH", "/status", {"status": "canceled"}),
    "finalize": ("POST", "/finalize", {"status": "completed"}),
    "finalize failed": ("POST", "/finalize", {"status": "failed"}),
}
every_write = pytest.mark.parametrize("write", WRITES)


@pytest.fixture
def send(pipeline):
    """send("bulk", analysis, token): the answer."""

    def send(write, analysis, token=None):
        method, path, body = WRITES[write]
        return pipeline.request(method, f"/api/analyses/{analysis.id}{path}", body, headers=token or {})

    return send


@pytest.fixture
def swept(app, run_out):
    """swept(analysis): its lease ran out, and the sweeper was there."""

    def sweep(analysis):
        run_out(analysis)
        with app.app_context():
            assert leases.expire(analysis.id, retries=0)
            db.session.commit()

    return sweep


@every_write
def test_with_the_token(send, leased, write):
    analysis, token = leased()
    assert send(write, analysis, token).status_code == 200


@every_write
def test_without_the_right_token(send, leased, unchanged, token_of, write):
    analysis, _ = leased()
    _, others = leased()
    with unchanged(*TABLES):
        for wrong in (None, others, token_of(analysis, 0), token_of(analysis, 2), {"X-ML-Lease-Token": "x"}):
            check_problem(send(write, analysis, wrong), 409, "lease-lost")


@every_write
@pytest.mark.parametrize("late", [0.001, 3600])
def test_when_its_time_has_run_out(send, leased, unchanged, run_out, write, late):
    """Lost before the sweeper comes, whoever asks; and nothing gets it back."""
    analysis, token = leased()
    run_out(analysis, late)
    with unchanged(*TABLES):
        for one in (token, None):
            check_problem(send(write, analysis, one), 409, "lease-lost")


@every_write
def test_after_the_sweeper(send, leased, unchanged, swept, write):
    analysis, token = leased()
    swept(analysis)
    with unchanged(*TABLES):
        check_problem(send(write, analysis, token), 409, "lease-lost")


@every_write
@pytest.mark.parametrize("status", ["queued", "processing"])
def test_a_token_where_nothing_is_leased(send, world, image, unchanged, token_of, write, status):
    analysis = world.analysis(image, status)
    with unchanged(*TABLES):
        for epoch in (0, 1):
            check_problem(send(write, analysis, token_of(analysis, epoch)), 409, "lease-lost")


def test_a_new_secret_key_ends_every_lease(app, send, leased, unchanged):
    analysis, token = leased()
    app.config["SECRET_KEY"] = "another-secret-key-0123456789abcdef"
    with unchanged(*TABLES):
        check_problem(send("bulk", analysis, token), 409, "lease-lost")


# --- the end by the worker itself --------------------------------------------------------------------------------


@pytest.mark.parametrize("write", ["completed", "failed", "finalize", "finalize failed", "canceled"])
def test_the_same_end_again(send, leased, unchanged, run_out, write):
    """The answer got lost; the lease may have run out meanwhile."""
    analysis, token = leased()
    first = send(write, analysis, token)
    run_out(analysis)
    with unchanged(*TABLES):
        again = send(write, analysis, token)
    assert (again.status_code, again.json) == (200, first.json)


def test_another_end(send, leased, unchanged):
    analysis, token = leased()
    assert send("finalize", analysis, token).status_code == 200
    with unchanged(*TABLES):
        check_problem(send("finalize failed", analysis, token), 409, "illegal-transition")
        check_problem(send("presign", analysis, token), 409, "conflict")


def test_the_same_batch_again_after_the_end(send, leased, unchanged):
    analysis, token = leased()
    for write in ("bulk", "finalize"):
        assert send(write, analysis, token).status_code == 200
    with unchanged(*TABLES):
        assert send("bulk", analysis, token).json["unchanged"] == 1


# --- people ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "editor", "admin"])
@pytest.mark.parametrize("late", [-60, 60])
def test_a_person_cancels_without_a_token(ask, leased, run_out, world, who, late):
    analysis, _ = leased()
    run_out(analysis, late)
    answer = ask(who, "PATCH", f"/api/analyses/{analysis.id}/status", {"status": "canceled"})
    assert (answer.status_code, answer.json["status"]) == (200, "canceled")
    (event,) = world.rows(AuditEvent, action="analysis.canceled")
    assert event.actor_kind == "user"


def test_a_person_cancels_on_the_page(editor, leased, world):
    analysis, _ = leased()
    path = f"/analyses/{analysis.id}/cancel"
    assert (
        editor.client.submit(f"/images/{analysis.image_id}?analysis={analysis.id}", path).status_code == 303
    )
    assert world.reload(analysis).status == "canceled"


def test_after_that_the_worker_writes_nothing(send, ask, leased, unchanged):
    analysis, token = leased()
    ask("editor", "PATCH", f"/api/analyses/{analysis.id}/status", {"status": "canceled"})
    codes = {"bulk": "conflict", "presign": "conflict", "finalize": "illegal-transition"}
    with unchanged(*TABLES):
        for write, code in codes.items():
            assert check_problem(send(write, analysis, token), 409, code)["current"] == "canceled"


def test_a_person_who_may_write_needs_the_token(ask, app, switched, editor, leased, unchanged):
    """Where no signature is required: canceling is all that a lease does not keep a person from."""
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    analysis, token = leased()
    with unchanged(*TABLES):
        for method, path, body in WRITES.values():
            if body != {"status": "canceled"}:
                answer = ask("editor", method, f"/api/analyses/{analysis.id}{path}", body)
                check_problem(answer, 409, "lease-lost")
    done = {"status": "completed"}
    answer = editor.api("POST", f"/api/analyses/{analysis.id}/finalize", json=done, headers=token)
    assert answer.status_code == 200


def test_the_system_may_cancel(app, leased, world):
    analysis, _ = leased()
    with app.app_context():
        analyses.cancel(db.session.get_one(Analysis, analysis.id), by=SYSTEM)
        db.session.commit()
    assert world.reload(analysis).status == "canceled"


def uploaded(app, pipeline, analysis, token):
    """An address that a log was put at, and still takes a PUT."""
    path = f"/api/analyses/{analysis.id}/artifacts/presign"
    signed = pipeline.post(path, {"artifact_type": "log", "filename": "run.txt"}, headers=token).json
    put(app, signed, b"first")
    return signed


def put(app, signed, content):
    client = app.test_client(use_cookies=False)
    assert client.put(signed["upload_url"], data=content, headers=signed["headers"]).status_code == 200


def by_the_sweeper(app, analysis, run_out, owner):
    run_out(analysis)
    with app.app_context():
        assert len(list(background.steps(background.TASKS["overdue"]))) == 1


def on_the_page(app, analysis, run_out, owner):
    page = owner.client.get(f"/images/{analysis.image_id}").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    sent = {"csrf_token": token}
    assert owner.client.post(f"/analyses/{analysis.id}/cancel", data=sent).status_code == 303


@pytest.mark.parametrize("end", [by_the_sweeper, on_the_page])
def test_what_was_uploaded_before_the_end_is_written_down(app, world, pipeline, leased, run_out, owner, end):
    """So that a worker which lost its lease cannot change it unseen."""
    analysis, token = leased()
    signed = uploaded(app, pipeline, analysis, token)
    end(app, analysis, run_out, owner)
    [row] = world.rows(Artifact)
    assert row.size_bytes == 5 and row.uploaded_at is not None
    put(app, signed, b"second")
    told = owner.api("GET", f"/api/analyses/{analysis.id}/export?format=json").json
    assert [one["state"] for one in told["artifacts"]] == ["changed"]


def test_an_end_waits_for_no_storage(app, world, pipeline, leased, run_out, owner):
    analysis, token = leased()
    uploaded(app, pipeline, analysis, token)
    app.extensions["storage"] = BrokenStorage(StorageUnavailable())
    by_the_sweeper(app, analysis, run_out, owner)
    assert world.reload(analysis).status == "failed"
