"""The v2 signature and pipeline keys over the wire: what verifies, what is refused, what a nonce is good for."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy.exc import OperationalError

from app import guards, sealing
from app.extensions import db, limiter
from app.models import SYSTEM, Analysis, Annotation, AuditEvent, PipelineKey, Project, UsedNonce
from app.models.columns import now
from app.services import last_use, pipeline_keys
from tests.cast import SECRET, encode, pipeline_in_process, plain_signature
from tests.fakes import FixedClock
from tests.steps import box, check_problem
from tests.support.signatures import v2_headers

SEALED = "a key to encrypt signing secrets under"
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "signature-vectors.json").read_text())
NONCE = "Zm9vYmFyYmF6cXV4MDEyMw"


@pytest.fixture
def app(make_app):
    return make_app(ML_KEY_ENCRYPTION_KEYS=SEALED)


class Worker:
    """A pipeline with a key of its own."""

    def __init__(self, app, made):
        self.app, self.id, self.full, self.secret = app, made.key.id, made.full, made.signing_secret

    def send(self, method, target, value=None, *, raw=None, key_id=None, secret=None, nonce=None, **headers):
        body = raw if raw is not None else (b"" if value is None else encode(value))
        moment = int(self.app.extensions["clock"]().timestamp())
        signed = v2_headers(
            secret or self.secret, method, target, body, moment, key_id=key_id or self.id, nonce=nonce
        )
        sent = {**signed, "Content-Type": "application/json", **headers}
        return self.app.test_client(use_cookies=False).open(target, method=method, data=body, headers=sent)


def make_key(app, *projects, **columns):
    with app.app_context():
        rows = [db.session.get_one(Project, project.id) for project in projects]
        scheme = columns.pop("min_scheme", "v2")
        made = pipeline_keys.create("reader", rows, encryption_keys=[SEALED], by=SYSTEM, min_scheme=scheme)
        for name, value in columns.items():
            setattr(made.key, name, value)
        db.session.commit()
        return Worker(app, made)


@pytest.fixture
def worker(app, project):
    return make_key(app, project)


def status_path(analysis):
    return f"/api/analyses/{analysis.id}/status"


PROCESSING = {"status": "processing"}


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_a_worked_case_gets_in(app, clock, project, vector):
    """It is let in when it is told that there is no such analysis, or that nothing is no JSON."""
    sent = answered(app, clock, project, vector)
    empty = vector["scheme"] == "plain" and not vector["body_hex"]
    assert sent.status_code == (400 if empty else 404), sent.text


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_a_worked_case_stays_out(app, clock, project, vector):
    sent = answered(app, clock, project, vector)
    # the method of this one is not taken at all at its address, which is told before who asks
    expected = 405 if vector["method"] == "PUT" else vector["expect"]
    assert sent.status_code == expected, sent.text


SOME_TARGET = "/api/analyses/8f14e45f-ceea-467f-9a0b-3c5d1e2f7a10/finalize"


def answered(app, clock, project, vector):
    """A vector, sent; its key is there and may sign plain too."""
    moment = vector["timestamp"]
    usual = moment.isascii() and moment.isdigit() and len(moment) < 12
    clock.set(datetime.fromtimestamp(int(moment) if usual else 1_700_000_000, UTC))
    if vector["name"] == "timestamp changed":
        clock.set(datetime.fromtimestamp(1_700_000_000, UTC))
    key_id = vector.get("key_id", "mlk_7Q2M4XKD")
    with app.app_context():
        key = PipelineKey(
            id=key_id if vector["name"] != "key id changed" else "mlk_7Q2M4XKD",
            name="vectors",
            secret_hash="0" * 64,
            signing_secret=sealing.seal([SEALED], vector["secret"]),
            projects=[db.session.get_one(Project, project.id)],
        )
        db.session.add(key)
        db.session.commit()
    named = {"X-ML-Timestamp": "timestamp", "X-ML-Signature": "signature", "X-ML-Key-Id": "key_id"}
    named["X-ML-Nonce"] = "nonce"
    headers = {header: vector[name] for header, name in named.items() if name in vector}
    if vector.get("scheme") == "plain":
        app.config["ML_CALLBACK_HMAC_SECRET"] = (vector["secret"],)
    body = bytes.fromhex(vector["body_hex"])
    client = app.test_client(use_cookies=False)
    headers["Content-Type"] = "application/json"
    if not moment.isascii():
        headers["X-ML-Timestamp"] = moment.encode().decode("latin-1")
    return client.open(
        vector.get("target", SOME_TARGET),
        method=vector.get("method", "POST"),
        data=body,
        headers=headers,
    )


def test_the_global_secret_signs_v2_as_default(app, analysis, world, pipeline):
    path = status_path(analysis)
    headers = v2_headers(SECRET, "PATCH", path, encode(PROCESSING), pipeline.now())
    answer = pipeline.patch(path, PROCESSING, sign=False, headers=headers)
    assert answer.status_code == 200, answer.text
    assert world.reload(analysis).status == "processing"


def test_a_signature_is_for_one_address(app, world, image, worker):
    one, other = world.analysis(image), world.analysis(image)
    body = encode(PROCESSING)
    moment = int(app.extensions["clock"]().timestamp())
    headers = v2_headers(worker.secret, "PATCH", status_path(one), body, moment, key_id=worker.id)
    client = app.test_client(use_cookies=False)
    sent = {"data": body, "headers": {**headers, "Content-Type": "application/json"}}
    check_problem(client.patch(status_path(other), **sent), 401, "signature-invalid")
    check_problem(client.patch(status_path(one) + "?x=1", **sent), 401, "signature-invalid")
    assert client.patch(status_path(one), **sent).status_code == 200
    assert world.reload(other).status == "queued"


def test_a_key_signs_reads_and_is_for_its_projects_only(app, world, project, image, analysis, worker):
    elsewhere = world.project("Elsewhere")
    hidden = world.analysis(world.image(elsewhere))
    path = f"/api/analyses/{analysis.id}/annotations?limit=10"
    assert worker.send("GET", path).status_code == 200
    assert worker.send("PATCH", status_path(analysis), PROCESSING).status_code == 200
    check_problem(worker.send("GET", f"/api/analyses/{hidden.id}"), 403, "forbidden")
    check_problem(worker.send("PATCH", status_path(hidden), PROCESSING), 403, "forbidden")
    made = worker.send("POST", f"/api/images/{image.id}/analyses", {"model_name": "a", "model_version": "1"})
    assert made.status_code == 201 and made.json["requested_by_id"] is None
    row = world.reload(world.rows(Analysis, model_name="a")[0])
    assert row.pipeline_key_id == worker.id


def test_people_s_business_is_closed_to_pipelines(app, project, image, worker):
    client = app.test_client(use_cookies=False)
    for path in ("/api/projects", f"/api/projects/{project.id}/images", f"/api/images/{image.id}"):
        check_problem(worker.send("GET", path), 403, "forbidden")
        check_problem(client.get(path, headers={"X-API-Key": worker.full}), 403, "forbidden")
        wrong = worker.send("GET", path, secret="x" * 32)
        check_problem(wrong, 401, "signature-invalid")
    refused = client.post("/api/projects", json={"name": "x"}, headers={"X-API-Key": worker.full})
    check_problem(refused, 403, "forbidden")
    assert client.get("/", headers={"X-API-Key": worker.full}).status_code == 303


def test_a_key_alone_reads_and_creates_but_writes_nothing_else(app, image, analysis, worker):
    client, key = app.test_client(use_cookies=False), {"Authorization": f"Bearer {worker.full}"}
    assert client.get(f"/api/analyses/{analysis.id}", headers=key).status_code == 200
    wanted = {"model_name": "a", "model_version": "1"}
    assert client.post(f"/api/images/{image.id}/analyses", json=wanted, headers=key).status_code == 201
    bulk = client.post(f"/api/analyses/{analysis.id}/annotations:bulk", json={"annotations": []}, headers=key)
    check_problem(bulk, 401, "signature-missing")
    canceled = client.patch(status_path(analysis), json={"status": "canceled"}, headers=key)
    check_problem(canceled, 401, "signature-missing")


def test_where_nobody_need_sign_a_pipeline_key_is_enough(make_app, world, image):
    app = make_app(ML_KEY_ENCRYPTION_KEYS=SEALED, ML_PIPELINE_REQUIRE_HMAC="false")
    analysis = world.analysis(image)
    worker = make_key(app, world.rows(Project)[0])
    client, key = app.test_client(use_cookies=False), {"X-API-Key": worker.full}
    assert client.patch(status_path(analysis), json=PROCESSING, headers=key).status_code == 200
    wrong = v2_headers("x" * 32, "PATCH", status_path(analysis), b"{}", 0, key_id=worker.id)
    refused = client.patch(status_path(analysis), json=PROCESSING, headers={**key, **wrong})
    assert refused.status_code == 401


@pytest.mark.parametrize(
    "columns",
    [{"revoked_at": now()}, {"expires_at": now() - timedelta(seconds=1)}],
    ids=["revoked", "expired"],
)
def test_a_key_that_is_over_opens_nothing(app, project, analysis, columns):
    worker = make_key(app, project, **columns)
    check_problem(worker.send("PATCH", status_path(analysis), PROCESSING), 401, "signature-invalid")
    client = app.test_client(use_cookies=False)
    read = client.get(f"/api/analyses/{analysis.id}", headers={"X-API-Key": worker.full})
    check_problem(read, 401, "signature-invalid")


@pytest.mark.parametrize("key_id", ["nobody", "default", "mlk_ZZZZ"])
def test_another_key_s_name_does_not_help(analysis, worker, key_id):
    refused = worker.send("PATCH", status_path(analysis), PROCESSING, key_id=key_id)
    check_problem(refused, 401, "signature-invalid")


def test_an_unknown_key_is_not_signed_with_nothing(analysis, worker):
    """Neither the empty secret nor anything else that can be guessed stands in for a key that is not there."""
    for secret in ("", " ", "None", "default"):
        refused = worker.send(
            "PATCH", status_path(analysis), PROCESSING, key_id="nobody", secret=secret or "\0"
        )
        check_problem(refused, 401, "signature-invalid")


def test_plain_with_a_key_s_own_secret_takes_the_key_beside_it(app, world, project, image, pipeline):
    analysis, worker = world.analysis(image), make_key(app, project, min_scheme="plain")
    alone = pipeline.patch(status_path(analysis), PROCESSING, secret=worker.secret)
    check_problem(alone, 401, "signature-invalid")
    key = {"X-API-Key": worker.full}
    assert (
        pipeline.patch(status_path(analysis), PROCESSING, secret=worker.secret, headers=key).status_code
        == 200
    )
    event = world.rows(AuditEvent, action="analysis.processing")[0]
    assert event.actor_kind == "pipeline" and worker.id in event.actor_label


def test_a_key_that_demands_v2_takes_no_plain_signature(analysis, worker, pipeline):
    key = {"X-API-Key": worker.full}
    for secret in (worker.secret, SECRET):
        refused = pipeline.patch(status_path(analysis), PROCESSING, secret=secret, headers=key)
        check_problem(refused, 401, "scheme-not-allowed")


def test_two_keys_in_one_request_are_one_too_many(app, project, analysis, worker):
    other = make_key(app, project)
    sent = worker.send("PATCH", status_path(analysis), PROCESSING, **{"X-API-Key": other.full})
    check_problem(sent, 401, "signature-invalid")
    same = worker.send("PATCH", status_path(analysis), PROCESSING, **{"X-API-Key": worker.full})
    assert same.status_code == 200


def test_a_person_s_key_beside_the_signature_must_be_a_member_s(analysis, worker, stranger, viewer):
    refused = worker.send("PATCH", status_path(analysis), PROCESSING, **{"X-API-Key": stranger.key})
    check_problem(refused, 403, "forbidden")
    sent = worker.send("PATCH", status_path(analysis), PROCESSING, **{"X-API-Key": viewer.key})
    assert sent.status_code == 200


def test_without_the_key_it_was_encrypted_under_a_secret_is_lost(make_app, app, analysis, worker):
    other = make_app(ML_KEY_ENCRYPTION_KEYS="another key than the one before")
    worker.app = other
    check_problem(worker.send("PATCH", status_path(analysis), PROCESSING), 503, "signing-not-configured")
    worker.app = make_app(ML_KEY_ENCRYPTION_KEYS=f"another key than the one before,{SEALED}")
    assert worker.send("PATCH", status_path(analysis), PROCESSING).status_code == 200


def test_when_a_key_was_used_and_from_where(app, world, clock, analysis, worker):
    def used():
        row = world.rows(PipelineKey)[0]
        return row.last_used_at, row.last_used_from, row.last_used_agent

    assert used() == (None, None, None)
    worker.send("GET", f"/api/analyses/{analysis.id}", secret="x" * 32)
    assert used() == (None, None, None)
    first = clock()
    worker.send("GET", f"/api/analyses/{analysis.id}", **{"User-Agent": "worker/1"}).close()
    assert used() == (first, "127.0.0.1", "worker/1")
    clock.advance(30)
    worker.send("GET", f"/api/analyses/{analysis.id}").close()
    assert used()[0] == first
    clock.advance(31)
    worker.send("PATCH", status_path(analysis), PROCESSING).close()
    assert used()[0] == clock()


def test_reading_waits_for_nobody_to_write_down_that_it_was_read(
    app, world, monkeypatch, caplog, analysis, worker
):
    """The answer is there first; and where it cannot be written down, that is said in the log."""

    def fail(*_):
        raise OperationalError("UPDATE", {}, Exception("database is locked"))

    monkeypatch.setattr(last_use, "note", fail)
    answer = worker.send("GET", f"/api/analyses/{analysis.id}")
    assert answer.status_code == 200
    answer.close()
    assert world.rows(PipelineKey)[0].last_used_at is None
    assert "was not written down" in caplog.text


def test_a_plain_signature_reads_nothing_whatever_stands_beside_it(app, analysis, worker, pipeline):
    """A MAC that somebody saw in a PATCH, with an element of v2 that nobody made."""
    body = encode(PROCESSING)
    plain = plain_signature(body, str(pipeline.now()))
    headers = {
        "X-ML-Timestamp": str(pipeline.now()),
        "X-ML-Signature": f"v2={'0' * 64} {plain}",
        "X-ML-Nonce": NONCE,
        "Content-Type": "application/json",
    }
    client = app.test_client(use_cookies=False)
    for key_id in ("default", "nobody", worker.id):
        for method in ("GET", "HEAD"):
            sent = {"data": body, "headers": {**headers, "X-ML-Key-Id": key_id}}
            answer = client.open(f"/api/analyses/{analysis.id}", method=method, **sent)
            assert answer.status_code == 401
    # writing is what it was made for
    written = client.patch(status_path(analysis), data=body, headers={**headers, "X-ML-Key-Id": "default"})
    assert written.status_code == 200


@pytest.mark.parametrize("prefix", ["http://localhost", "http://localhost:8000", "https://a.example"])
def test_an_absolute_target_is_taken_from_its_path_on(app, analysis, worker, prefix):
    body, path = encode(PROCESSING), status_path(analysis)
    headers = v2_headers(
        worker.secret, "PATCH", path, body, int(app.extensions["clock"]().timestamp()), key_id=worker.id
    )
    client = app.test_client(use_cookies=False)
    sent = {"data": body, "headers": {**headers, "Content-Type": "application/json"}}
    rewritten = {"environ_overrides": {"RAW_URI": prefix + path.replace("api", "%61pi")}}
    check_problem(client.patch(path, **sent, **rewritten), 400, "malformed-request")
    trailing = {"environ_overrides": {"RAW_URI": f"{prefix}{path}?"}}
    check_problem(client.patch(path, **sent, **trailing), 401, "signature-invalid")
    right = {"environ_overrides": {"RAW_URI": prefix + path}}
    assert client.patch(path, **sent, **right).status_code == 200


def test_reading_takes_a_plain_path_too(app, analysis, worker):
    raw = f"/api/%61nalyses/{analysis.id}"
    moment = int(app.extensions["clock"]().timestamp())
    headers = v2_headers(worker.secret, "GET", raw, b"", moment, key_id=worker.id)
    client = app.test_client(use_cookies=False)
    answer = client.get(f"/api/analyses/{analysis.id}", headers=headers, environ_overrides={"RAW_URI": raw})
    check_problem(answer, 400, "malformed-request")


def test_whom_a_proxy_signed_in_is_not_asked_beside_a_pipeline_key(
    make_app, world, project, analysis, stranger
):
    app = make_app(ML_KEY_ENCRYPTION_KEYS=SEALED, AUTH_PROXY_SECRET="a secret of the proxy's own")
    worker = make_key(app, project)
    proof = {"X-User-Email": stranger.email, "X-Proxy-Secret": "a secret of the proxy's own"}
    key = {"X-API-Key": worker.full}
    assert worker.send("PATCH", status_path(analysis), PROCESSING, **proof, **key).status_code == 200
    client = app.test_client(use_cookies=False)
    assert client.get(f"/api/analyses/{analysis.id}", headers={**proof, **key}).status_code == 200
    # beside a signature alone they are
    refused = worker.send("PATCH", status_path(analysis), PROCESSING, **proof)
    check_problem(refused, 403, "forbidden")


def test_nothing_is_held_while_a_body_is_parsed(app, monkeypatch, analysis, worker):
    held = []

    def parse(raw):
        held.append(db.session().in_transaction())
        return json.loads(raw)

    monkeypatch.setattr(guards.strict_json, "parse", parse)
    worker.send("PATCH", status_path(analysis), PROCESSING)
    assert held == [False]


# --- nonces ------------------------------------------------------------------------------------------------------


def test_a_nonce_is_good_for_one_success(world, image, worker):
    one, other = world.analysis(image), world.analysis(image)
    assert worker.send("PATCH", status_path(one), PROCESSING, nonce=NONCE).status_code == 200
    check_problem(worker.send("PATCH", status_path(one), PROCESSING, nonce=NONCE), 401, "replay")
    check_problem(worker.send("PATCH", status_path(other), PROCESSING, nonce=NONCE), 401, "replay")
    assert world.reload(other).status == "queued"


def test_a_refusal_spends_no_nonce(world, analysis, worker):
    refused = worker.send("PATCH", status_path(analysis), {"status": "queued"}, nonce=NONCE)
    check_problem(refused, 409, "illegal-transition")
    assert worker.send("PATCH", status_path(analysis), {"status": "gone"}, nonce=NONCE).status_code == 422
    assert worker.send("GET", f"/api/analyses/{analysis.id}", nonce=NONCE).status_code == 200
    assert world.count(UsedNonce) == 0
    assert worker.send("PATCH", status_path(analysis), PROCESSING, nonce=NONCE).status_code == 200
    # reading is never refused for a nonce
    assert worker.send("GET", f"/api/analyses/{analysis.id}", nonce=NONCE).status_code == 200


def test_every_success_spends_its_nonce(world, analysis, worker):
    one = f"/api/analyses/{analysis.id}"
    steps = [
        ("PATCH", f"{one}/status", PROCESSING),
        ("PATCH", f"{one}/status", PROCESSING),  # changes nothing
        ("POST", f"{one}/annotations:bulk?dry_run=1", {"annotations": [box()]}),
        ("POST", f"{one}/annotations:bulk", {"annotations": [box()]}),
        ("POST", f"{one}/artifacts/presign", {"artifact_type": "log"}),
        ("POST", f"/api/images/{analysis.image_id}/analyses", {"model_name": "a", "model_version": "1"}),
        ("POST", f"{one}/finalize", {"status": "completed"}),
        ("POST", f"{one}/finalize", {"status": "completed"}),
    ]
    for number, (method, path, value) in enumerate(steps):
        nonce = f"{NONCE}{number}"
        assert worker.send(method, path, value, nonce=nonce).status_code in (200, 201), path
        check_problem(worker.send(method, path, value, nonce=nonce), 401, "replay")
    assert world.count(UsedNonce) == len(steps)


def test_keys_have_nonces_of_their_own(app, world, project, image, worker, pipeline):
    other = make_key(app, project)
    for sender in (worker, other):
        path = status_path(world.analysis(image))
        assert sender.send("PATCH", path, PROCESSING, nonce=NONCE).status_code == 200
    path = status_path(world.analysis(image))
    assert pipeline.patch(path, PROCESSING, headers={"X-ML-Nonce": NONCE}).status_code == 200
    again = pipeline.patch(path, PROCESSING, headers={"X-ML-Nonce": NONCE})
    check_problem(again, 401, "replay")


def test_one_of_many_at_once_has_the_effect(app, world, analysis, worker):
    """The same signed request, sent by several at one moment: one is stored, and no other has an answer of success."""
    path, many = f"/api/analyses/{analysis.id}/annotations:bulk", 8
    body = encode({"annotations": [box()], "mode": "append"})
    gate = Barrier(many)

    def send(_):
        gate.wait()
        return worker.send("POST", path, raw=body, nonce=NONCE).status_code

    with ThreadPoolExecutor(many) as pool:
        statuses = sorted(pool.map(send, range(many)))
    assert statuses == [200] + [401] * (many - 1)
    assert world.count(Annotation) == 1 and world.count(UsedNonce) == 1


def test_what_fails_at_the_end_leaves_neither_effect_nor_nonce(app, world, monkeypatch, analysis, worker):
    def crash():
        raise RuntimeError("the machine is gone")

    app.config["PROPAGATE_EXCEPTIONS"] = False
    path, boxes = f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": [box()]}
    with monkeypatch.context() as broken:
        broken.setattr(type(db.session), "commit", lambda _: crash())
        assert worker.send("POST", path, boxes, nonce=NONCE).status_code == 500
    assert world.count(Annotation) == world.count(UsedNonce) == 0
    assert worker.send("POST", path, boxes, nonce=NONCE).status_code == 200
    assert world.count(Annotation) == world.count(UsedNonce) == 1


def test_a_nonce_is_kept_as_long_as_its_signature_lives(app, world, clock, analysis, worker):
    worker.send("PATCH", status_path(analysis), PROCESSING, nonce=NONCE)
    kept = world.rows(UsedNonce)[0].expires_at - clock()
    assert timedelta(seconds=300) < kept <= timedelta(seconds=600)


# --- plain, bound to its target ----------------------------------------------------------------------------------


def test_plain_is_bound_to_no_target_by_itself(world, image, pipeline):
    for _ in range(2):
        assert pipeline.patch(status_path(world.analysis(image)), PROCESSING).status_code == 200
    assert world.count(UsedNonce) == 0


def test_plain_can_be_bound_to_the_first_target_it_was_used_for(make_app, world, image):
    app = make_app(ML_PLAIN_BIND_TARGET="true")
    app.extensions["clock"] = FixedClock(now())
    pipeline, one, other = pipeline_in_process(app), world.analysis(image), world.analysis(image)
    assert pipeline.patch(status_path(one), PROCESSING).status_code == 200
    assert pipeline.patch(status_path(one), PROCESSING).status_code == 200  # a retry
    check_problem(pipeline.patch(status_path(other), PROCESSING), 401, "replay")
    check_problem(pipeline.patch(status_path(one) + "?x=1", PROCESSING), 401, "replay")
    named = pipeline.patch(status_path(one), PROCESSING, headers={"Idempotency-Key": "another"})
    check_problem(named, 401, "replay")
    refused = pipeline.post(f"/api/analyses/{one.id}/finalize", PROCESSING)
    check_problem(refused, 401, "replay")
    assert world.reload(other).status == "queued"


def test_a_plain_signature_beside_one_of_v2_is_bound_too(make_app, world, image):
    app = make_app(ML_PLAIN_BIND_TARGET="true")
    app.extensions["clock"] = FixedClock(now())
    pipeline, one, other = pipeline_in_process(app), world.analysis(image), world.analysis(image)
    body, moment = encode(PROCESSING), str(pipeline.now())
    plain, v2 = plain_signature(body, moment), v2_headers(SECRET, "PATCH", status_path(one), body, moment)
    both = {**v2, "X-ML-Signature": f"{v2['X-ML-Signature']} {plain} sha256={'1' * 64}"}
    assert pipeline.patch(status_path(one), PROCESSING, sign=False, headers=both).status_code == 200
    check_problem(pipeline.patch(status_path(other), PROCESSING), 401, "replay")
    # what nobody made is not remembered
    assert {row.value for row in world.rows(UsedNonce)} == {v2["X-ML-Nonce"], plain.removeprefix("sha256=")}


# --- the echo ----------------------------------------------------------------------------------------------------


def test_the_echo_tells_whether_it_verifies_and_what_was_signed(world, worker):
    path = "/api/pipeline/echo?x=1"
    told = worker.send("POST", path, raw=b"any body", nonce=NONCE).json
    assert told["verified"] and told["scheme"] == "v2" and told["code"] is None
    lines = told["string_to_sign"]["v2"].split("\n")
    assert lines[:4] == ["mlv2", "POST", path, worker.id] and lines[5:] == [NONCE, told["body_sha256"]]
    assert world.count(UsedNonce) == 0
    wrong = worker.send("POST", path, raw=b"any body", secret="x" * 32).json
    assert not wrong["verified"] and wrong["code"] == "signature-invalid"
    assert wrong["string_to_sign"]["v2"].startswith("mlv2\nPOST\n")
    assert worker.secret not in json.dumps(told | wrong) and SECRET not in json.dumps(told | wrong)


def test_the_echo_of_a_plain_signature(pipeline):
    moment = pipeline.now()
    told = pipeline.post("/api/pipeline/echo", raw=b'{"a": 1}', timestamp=moment).json
    assert told["verified"] and told["scheme"] == "sha256"
    assert told["string_to_sign"] == {"sha256": f'{moment}.{{"a": 1}}'}
    binary = pipeline.post("/api/pipeline/echo", raw=b"\xff\xfe").json
    assert binary["verified"] and binary["string_to_sign"] == {}
    unsigned = pipeline.post("/api/pipeline/echo", raw=b"{}", sign=False).json
    assert (unsigned["verified"], unsigned["code"]) == (False, "signature-missing")
    late = pipeline.post("/api/pipeline/echo", raw=b"{}", timestamp=pipeline.now() - 301).json
    assert late["code"] == "timestamp-skew" and moment <= late["server_time"] <= pipeline.now()


def test_the_echo_says_that_a_nonce_was_used(analysis, worker):
    worker.send("PATCH", status_path(analysis), PROCESSING, nonce=NONCE)
    assert worker.send("POST", "/api/pipeline/echo", raw=b"", nonce=NONCE).json["code"] == "replay"


def test_each_pipeline_key_has_its_own_rate(app, worker, project, image):
    limiter.reset()
    app.config["RATE_LIMIT_PIPELINE_PER_KEY"] = "2/hour"
    path, job = f"/api/images/{image.id}/analyses", {"model_name": "leaf-net", "model_version": "1"}
    other, plain = make_key(app, project), pipeline_in_process(app)
    assert [worker.send("POST", path, job).status_code for _ in range(3)] == [201, 201, 429]
    assert [other.send("POST", path, job, **{"X-API-Key": other.full}).status_code for _ in range(3)] == [
        201,
        201,
        429,
    ]
    assert plain.post(path, job).status_code == 201
    assert worker.send("POST", path, job, key_id="default", secret=SECRET).status_code == 201
    assert plain.post(path, job).status_code == 429, "one secret, however it signs"
    forged = worker.send("POST", path, job, secret="a guess")
    assert (forged.status_code, forged.json["code"]) == (401, "signature-invalid")
