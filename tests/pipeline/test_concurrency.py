"""Many requests at once, over real HTTP to two processes: what must hold whoever comes first."""

import http.client
import time
from collections import Counter

import pytest

from app.models import Analysis, Annotation, Artifact, AuditEvent, Receipt
from tests.cast import encode

AT_ONCE = 8
MANY = 64  # in longer rounds


@pytest.fixture(params=[AT_ONCE, pytest.param(MANY, marks=pytest.mark.soak)])
def many(request):
    """How many requests come at once."""
    return request.param


@pytest.fixture
def world(live_server):
    return live_server.world


@pytest.fixture
def image(world):
    return world.image(world.project("Leaves"))


@pytest.fixture
def analysis(world, image):
    return world.analysis(image, "processing")


@pytest.fixture
def pipeline(live_server):
    return live_server.pipeline


def statuses(answers):
    """How often each status came; every refusal is a problem+json."""
    assert all(
        answer.ok or answer.headers["Content-Type"] == "application/problem+json" for answer in answers
    )
    return Counter(answer.status_code for answer in answers)


def total(answers, name):
    return sum(answer.json()[name] for answer in answers)


# --- ending ------------------------------------------------------------------------------------------------------


def test_the_same_end(at_once, many, pipeline, world, analysis):
    path = f"/api/analyses/{analysis.id}/finalize"
    answers = at_once([lambda: pipeline.post(path, {"status": "completed"})] * many)
    assert statuses(answers) == {200: many}
    assert len({answer.text for answer in answers}) == 1
    assert world.count(AuditEvent, action="analysis.completed") == 1


def test_different_ends(at_once, many, pipeline, world, analysis):
    def end(status):
        body = {"status": status, "error_message": f"was {status}"}
        return lambda: pipeline.post(f"/api/analyses/{analysis.id}/finalize", body)

    answers = at_once([end("completed"), end("failed")] * (many // 2))
    stored = world.reload(analysis)
    assert stored.status in ("completed", "failed")
    assert stored.error_message == f"was {stored.status}"
    assert statuses(answers) == {200: many // 2, 409: many // 2}
    assert {answer.json()["status"] for answer in answers if answer.ok} == {stored.status}
    assert {answer.json()["code"] for answer in answers if not answer.ok} == {"illegal-transition"}
    assert world.count(AuditEvent, action=f"analysis.{stored.status}") == 1
    assert world.count(AuditEvent, subject_id=str(analysis.id)) == 1


def test_different_states(at_once, pipeline, world, analysis):
    def move(status):
        return lambda: pipeline.patch(f"/api/analyses/{analysis.id}/status", {"status": status})

    answers = at_once([move(status) for status in ("completed", "failed", "canceled", "completed") * 2])
    stored = world.reload(analysis)
    assert {answer.json()["status"] for answer in answers if answer.ok} == {stored.status}
    assert statuses(answers).keys() <= {200, 409}
    assert world.count(AuditEvent, subject_id=str(analysis.id)) == 1


def test_nothing_lands_after_the_end(at_once, pipeline, world, analysis):
    one = f"/api/analyses/{analysis.id}"

    def store(name):
        items = [{"annotation_type": "custom", "data": {"n": n}} for n in range(50)]
        key = {"Idempotency-Key": name}
        return lambda: pipeline.post(f"{one}/annotations:bulk", {"annotations": items}, headers=key)

    def end():
        return pipeline.post(f"{one}/finalize", {"status": "completed"})

    *stored, ended = at_once([*(store(f"batch-{n}") for n in range(AT_ONCE - 1)), end])
    assert ended.status_code == 200
    assert statuses(stored).keys() <= {200, 409}
    landed = sum(answer.json()["inserted"] for answer in stored if answer.ok)
    assert ended.json()["annotation_count"] == landed == world.count(Annotation)


# --- annotations -------------------------------------------------------------------------------------------------

ITEMS = [{"annotation_type": "custom", "data": {"n": n}, "client_id": f"n{n}"} for n in range(200)]


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
@pytest.mark.parametrize("named", [True, False])
def test_identical_bulks(at_once, many, pipeline, world, analysis, mode, named):
    items = ITEMS if named else [{**item, "client_id": None} for item in ITEMS]
    body = encode({"annotations": items, "mode": mode})
    path = f"/api/analyses/{analysis.id}/annotations:bulk"
    answers = at_once([lambda: pipeline.post(path, raw=body)] * many)
    assert statuses(answers) == {200: many}
    assert (total(answers, "inserted"), total(answers, "unchanged")) == (200, 200 * (many - 1))
    assert {answer.json()["total"] for answer in answers} == {200}
    assert len({str(answer.json()["annotations"]) for answer in answers}) == 1
    assert world.count(Annotation) == world.reload(analysis).annotation_count == 200
    assert world.count(AuditEvent, action="annotations.stored") == 1
    assert world.count(Receipt) == 1


def test_contradicting_bulks(at_once, pipeline, world, analysis):
    """The same names with other content: one wins whole, the others are told."""

    def store(name):
        items = [item | {"class_name": name} for item in ITEMS]
        return lambda: pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": items})

    answers = at_once([store(f"worker-{n}") for n in range(AT_ONCE)])
    assert statuses(answers) == {200: 1, 409: AT_ONCE - 1}
    rows = world.rows(Annotation)
    assert (len(rows), len({row.class_name for row in rows})) == (200, 1)


@pytest.mark.parametrize("mode", ["upsert", "replace"])
def test_contradicting_bulks_that_may_overwrite(at_once, pipeline, world, analysis, mode):
    """In any order, also with the items in opposite orders: the last one wins whole."""

    def store(n):
        items = [item | {"class_name": f"worker-{n}"} for item in ITEMS[:: 1 if n % 2 else -1]]
        body = {"annotations": items, "mode": mode}
        return lambda: pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", body)

    answers = at_once([store(n) for n in range(AT_ONCE)])
    assert statuses(answers) == {200: AT_ONCE}
    assert (total(answers, "inserted"), total(answers, "updated")) == (200, 200 * (AT_ONCE - 1))
    rows = world.rows(Annotation)
    assert (len(rows), len({row.class_name for row in rows})) == (200, 1)


def test_parts_of_one_set(at_once, pipeline, world, analysis):
    def store(part):
        return lambda: pipeline.post(
            f"/api/analyses/{analysis.id}/annotations:bulk",
            {"annotations": ITEMS[part * 25 : part * 25 + 25]},
        )

    answers = at_once([store(part) for part in range(AT_ONCE)])
    assert statuses(answers) == {200: AT_ONCE}
    assert sorted(answer.json()["total"] for answer in answers) == list(range(25, 201, 25))
    rows = world.rows(Annotation)
    assert sorted(row.position for row in rows) == list(range(200))
    assert world.reload(analysis).annotation_count == 200


# --- making ------------------------------------------------------------------------------------------------------

JOB = {"model_name": "leaf-net", "model_version": "1"}


def test_the_limit_of_an_image(at_once, serve):
    server = serve(ML_MAX_ANALYSES_PER_IMAGE="3", WEB_CONCURRENCY="2")
    image = server.world.image(server.world.project("Leaves"))
    path = f"/api/images/{image.id}/analyses"
    answers = at_once([lambda: server.pipeline.post(path, JOB)] * AT_ONCE)
    assert statuses(answers) == {201: 3, 400: 5}
    assert {answer.json()["code"] for answer in answers if not answer.ok} == {"limit-reached"}
    assert server.world.count(Analysis) == 3


def test_one_job(at_once, many, pipeline, world, image):
    body = JOB | {"external_job_id": "job-1", "parameters": {"a": [1, 2.5]}}
    answers = at_once([lambda: pipeline.post(f"/api/images/{image.id}/analyses", body)] * many)
    assert statuses(answers) == {201: 1, 200: many - 1}
    assert len({answer.text for answer in answers}) == 1
    assert world.count(Analysis) == 1
    assert world.count(AuditEvent, action="analysis.created") == 1


def test_one_job_on_many_images(at_once, pipeline, world):
    """The rows of different images are locked by different requests; the id is still taken once."""
    project = world.project("Leaves")
    paths = [f"/api/images/{world.image(project).id}/analyses" for _ in range(AT_ONCE)]
    for round in range(5):
        body = JOB | {"external_job_id": f"job-{round}"}
        answers = at_once([lambda path=path, body=body: pipeline.post(path, body) for path in paths])
        assert statuses(answers) == {201: 1, 409: AT_ONCE - 1}
        assert {answer.json()["code"] for answer in answers if not answer.ok} == {"conflict"}
        assert world.count(Analysis) == round + 1


def test_many_jobs(at_once, pipeline, world, image):
    path = f"/api/images/{image.id}/analyses"
    answers = at_once(
        [lambda n=n: pipeline.post(path, JOB | {"external_job_id": f"{n}"}) for n in range(AT_ONCE)]
    )
    assert statuses(answers) == {201: AT_ONCE}
    assert world.count(Analysis) == AT_ONCE


def test_one_artifact(at_once, pipeline, world, analysis):
    path = f"/api/analyses/{analysis.id}/artifacts/presign"
    answers = at_once([lambda: pipeline.post(path, {"artifact_type": "heatmap"})] * AT_ONCE)
    assert statuses(answers) == {200: AT_ONCE}
    assert len({answer.json()["storage_path"] for answer in answers}) == 1
    assert world.count(Artifact) == 1


# --- a slow sender holds up nobody -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["application/json", "multipart/form-data; boundary=x"])
def test_a_slow_body_holds_no_lock(live_server, pipeline, world, analysis, form):
    """Someone with a key who sends the body bit by bit must not keep the others from writing."""
    somebody = world.person("slow@example.org")
    method, path, body = "PATCH", f"/api/analyses/{analysis.id}/status", encode({"status": "canceled"})
    if form.startswith("multipart"):
        method, path = "POST", f"/api/projects/{world.project().id}/images"
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nx\r\n--x--\r\n'
    slow = http.client.HTTPConnection("127.0.0.1", live_server.gunicorn.port, timeout=20)
    slow.putrequest(method, path)
    for name, value in {"X-API-Key": somebody.key, "Content-Type": form, "Content-Length": len(body)}.items():
        slow.putheader(name, str(value))
    slow.endheaders(body[:5])
    time.sleep(0.3)  # until the server waits for the rest
    started = time.monotonic()
    answer = pipeline.patch(f"/api/analyses/{analysis.id}/status", {"status": "completed"})
    took = time.monotonic() - started
    slow.send(body[5:])
    refused = slow.getresponse()
    assert (refused.status, answer.status_code) == (403, 200)
    refused.read()
    slow.close()
    assert took < 10  # and not the 20 that it would take until somebody gave up
