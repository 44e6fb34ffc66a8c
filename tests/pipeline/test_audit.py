"""Every change of state leaves one row in the audit trail, in its transaction; what is refused leaves none."""

import pytest
from sqlalchemy import func, select

from app.extensions import db
from app.models import Artifact, AuditEvent, User
from tests.factories import some_id


@pytest.fixture
def trail(world, image):
    """What was written since the rows of the test were made, oldest first."""
    before = world.count(AuditEvent)

    def trail():
        return world.rows(AuditEvent)[before:]

    return trail


@pytest.fixture
def sent(pipeline):
    """sent(method, path, body): signed, under a request id; fails unless it is answered with 2xx."""

    def send(method, path, body, **headers):
        answer = pipeline.request(method, path, body, headers={"X-Request-ID": "request-7", **headers})
        assert answer.status_code in (200, 201), answer.json
        return answer.json

    return send


def what(event):
    return event.action, event.subject_type, event.subject_id, event.before, event.after


def who(event):
    return event.actor_kind, event.actor_id, event.actor_label, event.request_id


THE_PIPELINE = ("pipeline", None, "pipeline", "request-7")


def test_created(sent, trail, analyses_path, job, project):
    made = sent("POST", analyses_path, job)
    (event,) = trail()
    after = {"status": "queued", "model": "leaf-net 1.0.0"}
    assert what(event) == ("analysis.created", "analysis", made["id"], None, after)
    assert who(event) == THE_PIPELINE
    assert event.project_id == project.id


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("queued", "processing"),
        ("queued", "canceled"),
        ("processing", "completed"),
        ("processing", "failed"),
        ("processing", "canceled"),
    ],
)
def test_status(sent, trail, world, image, project, before, after):
    row = world.analysis(image, before)
    sent("PATCH", f"/api/analyses/{row.id}/status", {"status": after})
    (event,) = trail()
    states = {"status": before}, {"status": after}
    assert what(event) == (f"analysis.{after}", "analysis", str(row.id), *states)
    assert who(event) == THE_PIPELINE
    assert event.project_id == project.id


@pytest.mark.parametrize("before", ["queued", "processing"])
@pytest.mark.parametrize("after", ["completed", "failed"])
def test_finalized(sent, trail, world, image, before, after):
    row = world.analysis(image, before)
    sent("POST", f"/api/analyses/{row.id}/finalize", {"status": after, "error_message": "so it was"})
    (event,) = trail()
    states = {"status": before}, {"status": after, "error_message": "so it was"}
    assert what(event) == (f"analysis.{after}", "analysis", str(row.id), *states)


def test_annotations(sent, trail, bulk_path, analysis, box):
    a, b = box(client_id="a"), box(client_id="b")
    sent("POST", bulk_path, {"annotations": [a, b]})
    sent("POST", bulk_path, {"annotations": [a | {"class_name": "root"}], "mode": "replace"})
    first, second = trail()
    counts = {"inserted": 2, "unchanged": 0, "updated": 0, "removed": 0, "total": 2, "mode": "append"}
    assert what(first) == ("annotations.stored", "analysis", str(analysis.id), {"total": 0}, counts)
    assert second.before == {"total": 2}
    assert second.after == {
        "inserted": 0,
        "unchanged": 0,
        "updated": 1,
        "removed": 1,
        "total": 1,
        "mode": "replace",
    }
    assert who(first) == THE_PIPELINE


def test_artifact(sent, trail, analysis, world):
    signed = sent("POST", f"/api/analyses/{analysis.id}/artifacts/presign", {"artifact_type": "log"})
    (event,) = trail()
    (row,) = world.rows(Artifact)
    after = {"storage_path": signed["storage_path"], "artifact_type": "log"}
    assert what(event) == ("artifact.presigned", "artifact", str(row.id), None, after)
    again = {"artifact_type": "metadata", "filename": "log.txt"}
    sent("POST", f"/api/analyses/{analysis.id}/artifacts/presign", again)
    assert [event.before for event in trail()] == [None, {"artifact_type": "log"}]


# --- who ---------------------------------------------------------------------------------------------------------


def test_a_person(editor, trail, analysis):
    path = f"/api/analyses/{analysis.id}/status"
    editor.api("PATCH", path, json={"status": "canceled"}, headers={"X-Request-ID": "r.1"})
    (event,) = trail()
    assert who(event) == ("user", editor.id, "editor@example.org", "r.1")


def test_a_person_beside_a_signature(sent, trail, analysis, viewer):
    sent("PATCH", f"/api/analyses/{analysis.id}/status", {"status": "failed"}, **{"X-API-Key": viewer.key})
    (event,) = trail()
    assert who(event) == ("pipeline", viewer.id, "pipeline with viewer@example.org", "request-7")


def test_without_a_request_id_one_is_made(pipeline, trail, analysis):
    answer = pipeline.patch(f"/api/analyses/{analysis.id}/status", {"status": "failed"})
    (event,) = trail()
    assert event.request_id == answer.headers["X-Request-ID"] != ""


# --- what leaves nothing -----------------------------------------------------------------------------------------


def test_what_changes_nothing(sent, trail, world, image, analyses_path, job, box):
    row = world.analysis(image, "processing")
    one = f"/api/analyses/{row.id}"
    items = {"annotations": [box(client_id="a")]}
    requests = [
        ("POST", analyses_path, job | {"external_job_id": "j"}),
        ("POST", f"{one}/annotations:bulk", items),
        ("POST", f"{one}/finalize", {"status": "completed"}),
    ]
    for request in requests:
        sent(*request)
    assert len(trail()) == 3
    for request in requests:
        sent(*request)
    sent("PATCH", f"{one}/status", {"status": "completed"})
    sent("POST", f"{one}/annotations:bulk?dry_run=1", items)
    assert len(trail()) == 3


REFUSED = [
    ("PATCH", "/status", {"status": "queued"}, 409),
    ("PATCH", "/status", {"status": "nothing"}, 422),
    ("POST", "/finalize", {"status": "completed", "expected_annotations": 7}, 409),
    ("POST", "/finalize", {}, 422),
    ("POST", "/annotations:bulk", {"annotations": [{}]}, 422),
    ("POST", "/artifacts/presign", {"artifact_type": "log", "filename": ".."}, 422),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED)
def test_what_is_refused(pipeline, stranger, trail, analysis, method, path, body, status):
    path = f"/api/analyses/{analysis.id}{path}"
    assert pipeline.request(method, path, body).status_code == status
    assert pipeline.request(method, path, body, secret="x").status_code == 401
    assert pipeline.request(method, path, body, headers={"X-API-Key": stranger.key}).status_code == 403
    assert pipeline.request(method, path.replace(str(analysis.id), str(some_id())), body).status_code == 404
    assert trail() == []


def test_the_change_and_its_row_are_one(pipeline, trail, world, analysis, monkeypatch):
    """When the row cannot be written, the change is not made either."""

    def without_an_action(*_, **__):
        db.session.add(AuditEvent())

    monkeypatch.setattr("app.services.states.audit.record", without_an_action)
    answer = pipeline.patch(f"/api/analyses/{analysis.id}/status", {"status": "completed"})
    assert (answer.status_code, answer.json["code"]) == (500, "internal-error")
    assert world.reload(analysis).status == "processing"
    assert trail() == []


# --- append-only -------------------------------------------------------------------------------------------------


@pytest.fixture
def event(sent, trail, analysis):
    sent("PATCH", f"/api/analyses/{analysis.id}/status", {"status": "completed"})
    return trail()[-1]


def change(row):
    row.actor_label = "somebody else"


@pytest.mark.parametrize("meddle", [change, db.session.delete], ids=["change", "delete"])
def test_append_only(app, world, event, meddle):
    with app.app_context():
        row = db.session.get(AuditEvent, event.id)
        meddle(row)
        with pytest.raises(RuntimeError, match="append-only"):
            db.session.commit()
        db.session.rollback()
        assert db.session.scalar(select(func.count(AuditEvent.id)).where(AuditEvent.id == event.id)) == 1
    assert world.reload(event).actor_label == "pipeline"


def test_it_outlives_its_person(app, world, editor, trail, analysis):
    editor.api("PATCH", f"/api/analyses/{analysis.id}/status", json={"status": "canceled"})
    with app.app_context():
        db.session.delete(db.session.get_one(User, editor.id))
        db.session.commit()
    (event,) = trail()
    assert (event.actor_id, event.actor_label) == (None, "editor@example.org")
