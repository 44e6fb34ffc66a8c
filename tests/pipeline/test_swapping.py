"""services/swapping.py, on PostgreSQL: changed without a lock is as changed under one, whoever comes between."""

import threading

import pytest
from flask import g
from sqlalchemy import event, insert, update
from sqlalchemy.orm.exc import DetachedInstanceError

from app import access
from app.dialect import Swap
from app.extensions import db
from app.models import SYSTEM, Analysis, Artifact, AuditEvent, Image, UsedNonce, WebhookDelivery
from app.models.columns import now
from app.services import annotations, swapping
from app.services.locking import clock_under_lock, lock
from tests.pipeline.test_v2 import NONCE, SEALED, make_key

PNG = {"artifact_type": "heatmap", "filename": "heat.png"}


@pytest.fixture
def app(make_app):
    return make_app(
        ML_KEY_ENCRYPTION_KEYS=SEALED,
        ML_PIPELINE_PULL_ENABLED="true",
        ML_PIPELINE_PUSH_WEBHOOKS_ENABLED="true",
        ML_WEBHOOK_URL="https://hooks.example.org/loupe",
    )


@pytest.fixture
def between(app, monkeypatch):
    """between(act): this is done once, by another thread, between reading the analysis and changing it."""
    acts = []
    send = Swap.send

    def sending(swap, connection):
        if acts:
            other = threading.Thread(target=acts.pop())
            other.start()
            other.join()
        return send(swap, connection)

    monkeypatch.setattr(Swap, "send", sending)
    return acts.append


@pytest.fixture
def meanwhile(app):
    """meanwhile(statement): sent over a connection of its own, and committed."""

    def run(statement):
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(statement)

    return run


def verbs(statements):
    return [statement.split()[0] for statement in statements]


def actions(world, analysis):
    return sorted(event.action for event in world.rows(AuditEvent, subject_id=str(analysis.id)))


# --- what is read, and what it takes -----------------------------------------------------------------------------


def test_it_is_what_the_orm_reads(app, analysis):
    with app.app_context():
        read = swapping.begin(analysis.id)
        change = swapping.of(read)
        found = {column.key: getattr(read, column.key) for column in Analysis.__table__.columns}
        image = (read.image.id, read.image.project_id, read.image.deleted_at)
        assert lock(read) is read and abs(clock_under_lock(read) - now()).total_seconds() < 60
        assert change is not None and swapping.of(analysis) is None
        swapping.drop()
        row = access.analysis_for(SYSTEM, analysis.id)
        assert found == {name: getattr(row, name) for name in found}
        assert image == (row.image.id, row.image.project_id, row.image.deleted_at)


REQUESTS = [
    ("queued", "PATCH", "status", {"status": "processing"}, ["SELECT", "WITH"]),
    ("processing", "PATCH", "status", {"status": "processing"}, ["SELECT"]),
    ("processing", "PATCH", "status", {"status": "failed"}, ["SELECT", "WITH"]),
    ("queued", "POST", "finalize", {"status": "completed"}, ["SELECT", "WITH"]),
    ("queued", "POST", "artifacts/presign", PNG, ["SELECT", "WITH"]),
]


@pytest.mark.parametrize(("status", "method", "path", "body", "sent"), REQUESTS)
def test_what_it_takes(count_queries, pipeline, world, image, status, method, path, body, sent):
    analysis = world.analysis(image, status)
    pipeline.request(method, f"/api/analyses/{world.analysis(image, status).id}/{path}", body)
    with count_queries() as statements:
        answer = pipeline.request(method, f"/api/analyses/{analysis.id}/{path}", body)
    assert (answer.status_code, verbs(statements)) == (200, sent)


def test_what_a_heartbeat_takes(count_queries, pipeline, world, leased):
    analysis, token = leased()
    before = world.reload(analysis).lease_expires_at
    with count_queries() as statements:
        answer = pipeline.post(f"/api/analyses/{analysis.id}/heartbeat", {}, headers=token)
    assert (answer.status_code, verbs(statements)) == (200, ["SELECT", "WITH"])
    assert world.reload(analysis).lease_expires_at > before


def test_a_v2_signature_is_spent_with_it(app, count_queries, world, project, image):
    worker, analysis = make_key(app, project), world.analysis(image)
    path = f"/api/analyses/{analysis.id}/artifacts/presign"
    with count_queries() as statements:
        assert worker.send("POST", path, PNG, nonce=NONCE).status_code == 200
    assert verbs(statements)[-1] == "WITH"
    assert world.count(Artifact) == world.count(AuditEvent, action="artifact.presigned") == 1
    assert world.count(UsedNonce) == 1
    again = worker.send("POST", path, PNG, nonce=NONCE)
    assert (again.status_code, again.json["code"]) == (401, "replay")
    assert world.count(AuditEvent, action="artifact.presigned") == 1


def test_webhooks_are_announced_with_it(count_queries, pipeline, world, analysis):
    with count_queries() as statements:
        pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    assert verbs(statements) == ["SELECT", "WITH"]
    [delivery] = world.rows(WebhookDelivery, analysis_id=analysis.id)
    assert delivery.event == "analysis.completed" and delivery.next_attempt_at is not None


# --- somebody comes between ---------------------------------------------------------------------------------------


def test_it_was_canceled_meanwhile(between, meanwhile, pipeline, world, analysis):
    between(lambda: meanwhile(update(Analysis).where(Analysis.id == analysis.id).values(status="canceled")))
    answer = pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    assert (answer.status_code, answer.json["code"]) == (409, "illegal-transition")
    assert world.reload(analysis).status == "canceled" and actions(world, analysis) == []


@pytest.mark.parametrize(("status", "method", "path", "body", "_sent"), REQUESTS[2:])
def test_it_was_changed_in_what_does_not_matter(
    between, meanwhile, pipeline, world, image, status, method, path, body, _sent
):
    """The view is run again, under the lock: what was done is there once, on top of the other change."""
    analysis = world.analysis(image, status)
    between(lambda: meanwhile(update(Analysis).where(Analysis.id == analysis.id).values(priority=7)))
    answer = pipeline.request(method, f"/api/analyses/{analysis.id}/{path}", body)
    assert answer.status_code == 200, answer.text
    assert world.reload(analysis).priority == 7
    subjects = world.rows(AuditEvent)
    assert len([one for one in subjects if one.action.startswith(("analysis.", "artifact."))]) == 1
    assert world.count(Artifact) == (path == "artifacts/presign")


def test_it_was_deleted_meanwhile(between, meanwhile, pipeline, world, analysis):
    between(lambda: meanwhile(update(Analysis).where(Analysis.id == analysis.id).values(deleted_at=now())))
    answer = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", PNG)
    assert (answer.status_code, world.count(Artifact), actions(world, analysis)) == (410, 0, [])


def test_an_annotation_came_that_names_a_file(between, pipeline, world, image):
    """Under the lock the end sees it, and that the file is not there."""
    analysis = world.analysis(image, "processing")
    path = f"ml_outputs/{analysis.id}/heat.png"
    item = {"annotation_type": "heatmap", "data": {"width": 8, "height": 8}, "storage_path": path}
    one = f"/api/analyses/{analysis.id}"
    stored = []
    between(lambda: stored.append(pipeline.post(f"{one}/annotations:bulk", {"annotations": [item]})))
    answer = pipeline.post(f"{one}/finalize", {"status": "completed"})
    assert [one.status_code for one in stored] == [200], stored[0].text
    assert (answer.status_code, answer.json["missing"]) == (409, [path])
    assert world.reload(analysis).status == "processing"


def test_the_same_file_was_announced_meanwhile(between, pipeline, world, analysis):
    path = f"/api/analyses/{analysis.id}/artifacts/presign"
    other = {"artifact_type": "mask", "filename": "heat.png"}
    between(lambda: pipeline.post(path, other))
    assert pipeline.post(path, PNG).status_code == 200
    [artifact] = world.rows(Artifact)
    assert artifact.artifact_type == "heatmap"
    told = world.rows(AuditEvent, action="artifact.presigned")
    assert [event.before for event in told] == [None, {"artifact_type": "mask"}]


def test_the_nonce_was_spent_meanwhile(app, between, meanwhile, world, project, image):
    """The file is new and the nonce is not: neither is written, and nothing of what goes with them."""
    worker, analysis = make_key(app, project), world.analysis(image)
    used = {"scope": worker.id, "value": NONCE, "expires_at": now()}
    between(lambda: meanwhile(insert(UsedNonce).values(used)))
    answer = worker.send("POST", f"/api/analyses/{analysis.id}/artifacts/presign", PNG, nonce=NONCE)
    assert (answer.status_code, answer.json["code"]) == (401, "replay")
    assert world.count(Artifact) == world.count(AuditEvent, action="artifact.presigned") == 0


def test_somebody_holds_it(app, between, pipeline, world, analysis):
    """It waits for nobody with what it read: it waits for the lock, and reads again."""
    holds, lets_go = threading.Event(), threading.Event()

    def hold():
        with app.app_context():
            lock(db.session.get_one(Analysis, analysis.id)).priority = 3
            holds.set()
            assert lets_go.wait(10)
            db.session.commit()

    other = threading.Thread(target=hold)

    def begin():
        other.start()
        assert holds.wait(10)
        threading.Timer(0.2, lets_go.set).start()

    between(begin)
    assert pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "failed"}).status_code == 200
    other.join()
    stored = world.reload(analysis)
    assert (stored.status, stored.priority) == ("failed", 3)
    assert actions(world, analysis) == ["analysis.failed"]


@pytest.fixture
def behind(monkeypatch):
    """behind(module, first, second): `second` is sent while `first` holds the row and has not written yet."""

    def run(module, first, second):
        answers, holds, lets_go = [], threading.Event(), threading.Event()
        write, once = module.write, [True]

        def slow(row):
            if once:
                once.pop()
                holds.set()
                assert lets_go.wait(10)
            return write(row)

        monkeypatch.setattr(module, "write", slow)
        other = threading.Thread(target=lambda: answers.append(first()))
        other.start()
        assert holds.wait(10)
        threading.Timer(0.3, lets_go.set).start()
        answer = second()
        other.join()
        return answers[0], answer

    return run


def test_what_is_about_to_come_is_waited_for(behind, pipeline, world, image, box):
    """Without the lock there is nothing yet, and nobody is refused for that."""
    analysis = world.analysis(image, "processing")
    one = f"/api/analyses/{analysis.id}"
    stored, ended = behind(
        annotations,
        lambda: pipeline.post(f"{one}/annotations:bulk", {"annotations": [box()]}),
        lambda: pipeline.post(f"{one}/finalize", {"status": "completed", "expected_annotations": 1}),
    )
    assert (stored.status_code, ended.status_code) == (200, 200), ended.text


@pytest.mark.parametrize("beside", [False, True])
def test_a_file_that_is_about_to_be_named_is_looked_for(behind, pipeline, editor, world, image, beside):
    """With a swap, and with a person's key beside the signature, which takes the lock."""
    analysis = world.analysis(image, "processing")
    one, key = f"/api/analyses/{analysis.id}", {"X-API-Key": editor.key} if beside else {}
    path = f"ml_outputs/{analysis.id}/heat.png"
    item = {"annotation_type": "heatmap", "data": {"width": 8, "height": 8}, "storage_path": path}
    stored, ended = behind(
        annotations,
        lambda: pipeline.post(f"{one}/annotations:bulk", {"annotations": [item]}),
        lambda: pipeline.post(f"{one}/finalize", {"status": "completed"}, headers=key),
    )
    assert (stored.status_code, ended.status_code) == (200, 409), ended.text
    assert ended.json["missing"] == [path] and world.reload(analysis).status == "processing"


# --- one connection ---------------------------------------------------------------------------------------------------


@pytest.fixture
def most_connections(app):
    """most_connections(): how many of the pool were out at once so far."""
    out = [0]

    def note(*_):
        out.append(db.engine.pool.checkedout())

    with app.app_context():
        pool = db.engine.pool
        event.listen(pool, "checkout", note)
        yield lambda: max(out)
        event.remove(pool, "checkout", note)


def test_no_request_takes_two(app, most_connections, pipeline, world, project, image):
    """Not with a signature that is spent, for a file that was announced before, or with one to look for."""
    worker, analysis = make_key(app, project), world.analysis(image)
    one = f"/api/analyses/{analysis.id}"
    for _ in range(2):
        assert worker.send("POST", f"{one}/artifacts/presign", PNG).status_code == 200
    assert worker.send("POST", f"{one}/finalize", {"status": "completed"}).status_code == 200
    assert most_connections() == 1


# --- what is collected is sent whole or not at all ------------------------------------------------------------------


def test_what_is_set_is_sent(app, world, analysis):
    with app.app_context():
        swapping.begin(analysis.id).priority = 9
        assert swapping.end() is True
    assert world.reload(analysis).priority == 9


def test_a_transaction_that_has_begun_is_gone_on_with(app, analysis):
    with app.app_context():
        db.session.execute(update(Analysis).where(Analysis.id == analysis.id).values(priority=3))
        assert swapping.begin(analysis.id) is None


def test_what_was_not_read_is_not_taken_for_empty(app, analysis):
    with app.app_context(), pytest.raises(DetachedInstanceError):
        _ = swapping.begin(analysis.id).image.width


def test_nothing_is_written_beside_it(app, world, analysis):
    with app.app_context():
        swapping.begin(analysis.id)
        with pytest.raises(swapping.NeedsLock):
            db.session.get(Image, analysis.image_id)
        assert (
            db.session.get(Image, analysis.image_id) is not None
        )  # it is given up, and nothing is in the way
    with app.app_context():
        swapping.begin(analysis.id)
        db.session.add(
            Artifact(analysis_id=analysis.id, storage_path="x", artifact_type="log", content_type="x")
        )
        with pytest.raises(swapping.NeedsLock):
            swapping.end()
    assert world.count(Artifact) == 0


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [("completed", {"status": "processing"}, 409), ("queued", {"status": "gone"}, 422), ("queued", {}, 422)],
)
def test_what_is_refused_leaves_nothing_behind(app, pipeline, world, image, status, body, code):
    """Not even a connection that nobody gives back."""
    analysis = world.analysis(image, status)
    for _ in range(20):
        assert pipeline.patch(f"/api/analyses/{analysis.id}/status", body).status_code == code
    with app.app_context():
        assert db.engine.pool.checkedout() == 0
        assert swapping.current() is None
    assert actions(world, analysis) == []


def test_whoever_needs_the_lock_has_it(app, analysis):
    with app.test_request_context(method="POST"):
        g.takes_lock = True
        assert swapping.begin(analysis.id) is None
        held = access.analysis_for(SYSTEM, analysis.id, swap=True)
        assert held in db.session and swapping.current() is None
        assert swapping.end() is False
