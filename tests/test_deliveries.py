"""From a change of state to its receiver: written with the change, sent as it is stored, at least once."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.deliveries import deliver_due
from app.extensions import db
from app.models import SYSTEM, Analysis, AuditEvent, Image, WebhookDelivery, WebhookTarget
from app.outgoing import Answer, NotSent, Sender
from app.schemas.analyses import analysis_out
from app.services import analyses, leases, webhooks
from app.services.webhooks import CLAIMED, DELAYS
from tests.cast import SECRET, Person, Pipeline, pipeline_in_process
from tests.conftest import ENVIRON
from tests.factories import World
from tests.fakes import FixedClock
from tests.steps import box, finalize, store
from tests.support import server as servers
from tests.support.receivers import Inbox, Reply, listening

ROOT = Path(__file__).parent.parent
OLD_SECRET = "an-older-secret-0123456789abcdef"
JOB = {
    "model_name": "leaf-net",
    "model_version": "1.0.0",
    "parameters": {"threshold": 0.5, "name": "Blatt ü"},
}


@pytest.fixture(scope="module")
def _inbox() -> Iterator[Inbox]:
    with listening() as found:
        yield found


@pytest.fixture
def inbox(_inbox: Inbox) -> Inbox:
    _inbox.reset()
    return _inbox


@pytest.fixture
def settings(inbox: Inbox) -> dict[str, str]:
    return {
        "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED": "true",
        "ML_WEBHOOK_URL": f"http://127.0.0.1:{inbox.port}/in?token=t",
        "ML_WEBHOOK_ALLOW_PRIVATE": "true",
        "ML_CALLBACK_HMAC_SECRET": f"{SECRET},{OLD_SECRET}",
    }


@pytest.fixture
def app(make_app: Callable[..., Flask], settings: dict[str, str]) -> Flask:
    """Events are written at the real time, so the clock stands still a moment later."""
    made = make_app(**settings)
    made.extensions["clock"] = FixedClock(datetime.now(UTC) + timedelta(seconds=30))
    return made


@pytest.fixture
def clock(app: Flask) -> FixedClock:
    found: FixedClock = app.extensions["clock"]
    return found


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    return pipeline_in_process(app)


@pytest.fixture
def deliver(app: Flask) -> Callable[..., int]:
    """deliver(): what is due now; the number of attempts."""

    def run(limit: int = 100) -> int:
        with app.app_context():
            return deliver_due(limit)

    return run


@pytest.fixture
def queued(pipeline: Pipeline, image: Image) -> str:
    """The id of an analysis that was made just now, with an event that waits."""
    answer = pipeline.post(f"/api/images/{image.id}/analyses", JOB)
    assert answer.status_code == 201
    return str(answer.json["id"])


def events(world: World) -> list[str]:
    return [row.event for row in world.rows(WebhookDelivery)]


def only(world: World) -> WebhookDelivery:
    [row] = world.rows(WebhookDelivery)
    found: WebhookDelivery = row
    return found


class Saying:
    """A sender that says the same of everything, and reaches nobody."""

    def __init__(self, said: Answer | NotSent) -> None:
        self.said, self.asked = said, 0

    def post(self, *_: object) -> Answer:
        self.asked += 1
        if isinstance(self.said, NotSent):
            raise self.said
        return self.said


# --- what is written ---------------------------------------------------------------------------------------------


def test_each_event(world: World, pipeline: Pipeline, image: Image, queued: str, editor: Person) -> None:
    def made() -> str:
        return str(pipeline.post(f"/api/images/{image.id}/analyses", JOB).json["id"])

    pipeline.patch(f"/api/analyses/{queued}/status", {"status": "processing"})
    assert events(world) == ["analysis.queued"], "nobody is told of one that runs"
    pipeline.post(f"/api/analyses/{queued}/finalize", {"status": "completed"})
    failing, canceled = made(), made()
    pipeline.post(f"/api/analyses/{failing}/finalize", {"status": "failed", "error_message": "no memory"})
    assert (
        editor.api("PATCH", f"/api/analyses/{canceled}/status", json={"status": "canceled"}).status_code
        == 200
    )
    told = [
        (row.event, str(row.analysis_id), json.loads(row.body)["data"]["status"])
        for row in world.rows(WebhookDelivery)
    ]
    assert told == [
        ("analysis.queued", queued, "queued"),
        ("analysis.completed", queued, "completed"),
        ("analysis.queued", failing, "queued"),
        ("analysis.queued", canceled, "queued"),
        ("analysis.failed", failing, "failed"),
        ("analysis.canceled", canceled, "canceled"),
    ]
    [row] = world.rows(WebhookDelivery, event="analysis.failed")
    assert json.loads(row.body)["data"]["error_message"] == "no memory"


def test_the_page_cancels_too(world: World, editor: Person, queued: str) -> None:
    page, form = f"/analyses/{queued}", f"/analyses/{queued}/cancel"
    assert editor.client.submit(page, form, {}).status_code == 303
    assert events(world) == ["analysis.queued", "analysis.canceled"]


def test_a_lease_that_runs_out_tells_of_both_attempts(app: Flask, world: World, image: Image) -> None:
    lease = {"lease_epoch": 1, "lease_owner": "gpu-1", "lease_seconds": 120}
    ended = datetime.now(UTC) - timedelta(seconds=1)
    lost = world.analysis(image, "processing", lease_expires_at=ended, **lease)
    with app.app_context():
        assert leases.expire(lost.id, retries=1)
        db.session.commit()
    failing, again = (json.loads(row.body) for row in world.rows(WebhookDelivery))
    assert (failing["type"], failing["data"]["id"]) == ("analysis.failed", str(lost.id))
    assert failing["data"]["error_message"] == "lease_expired"
    assert again["type"] == "analysis.queued"
    assert (again["data"]["attempt"], again["data"]["retry_of_id"]) == (2, str(lost.id))


def test_the_body(world: World, app: Flask, pipeline: Pipeline, image: Image, analysis: Analysis) -> None:
    store(pipeline, analysis, [box(), box()])
    finalize(pipeline, analysis)
    row = only(world)
    body = json.loads(row.body)
    with app.app_context():
        now = analysis_out(db.session.get_one(Analysis, analysis.id))
    assert body["data"] == {**now, "project_id": str(image.project_id)}
    assert body["data"]["annotation_count"] == 2
    assert body["type"] == row.event == "analysis.completed"
    assert datetime.fromisoformat(body["timestamp"]) == row.created_at == row.next_attempt_at
    assert set(body) == {"type", "timestamp", "data"}


def test_what_changes_nothing_tells_nothing(world: World, pipeline: Pipeline, image: Image) -> None:
    job = {**JOB, "external_job_id": "run-1"}
    ids = {pipeline.post(f"/api/images/{image.id}/analyses", job).json["id"] for _ in range(3)}
    [one] = ids
    for _ in range(3):
        assert pipeline.post(f"/api/analyses/{one}/finalize", {"status": "completed"}).status_code == 200
    assert pipeline.post(f"/api/analyses/{one}/finalize", {"status": "failed"}).status_code == 409
    assert events(world) == ["analysis.queued", "analysis.completed"]


def test_a_change_that_is_rolled_back_tells_nothing(
    app: Flask, world: World, pipeline: Pipeline, analysis: Analysis
) -> None:
    wrong = {"status": "completed", "expected_annotations": 7}
    assert pipeline.post(f"/api/analyses/{analysis.id}/finalize", wrong).status_code == 409
    with app.app_context():
        analyses.cancel(db.session.get_one(Analysis, analysis.id), by=SYSTEM)
        db.session.flush()
        assert db.session.scalar(db.select(db.func.count()).select_from(WebhookDelivery)) == 1
        db.session.rollback()
    assert events(world) == []


def test_one_that_begins_as_processing_is_not_queued(
    make_app: Callable[..., Flask], settings: dict[str, str], world: World, image: Image
) -> None:
    pipeline = pipeline_in_process(make_app(**settings, ML_DEFAULT_STATUS="processing"))
    assert pipeline.post(f"/api/images/{image.id}/analyses", JOB).status_code == 201
    assert events(world) == []


@pytest.mark.parametrize("switch", ["ML_PIPELINE_PUSH_WEBHOOKS_ENABLED", "ML_ANALYSIS_ENABLED"])
def test_switched_off(
    app: Flask,
    world: World,
    queued: str,
    analysis: Analysis,
    deliver: Callable[..., int],
    inbox: Inbox,
    switch: str,
) -> None:
    app.config[switch] = False
    assert deliver() == 0 and not inbox.received
    app.config[switch] = True
    assert deliver() == 1


def test_nothing_is_written_while_it_is_off(
    app: Flask, world: World, pipeline: Pipeline, analysis: Analysis
) -> None:
    app.config["ML_PIPELINE_PUSH_WEBHOOKS_ENABLED"] = False
    finalize(pipeline, analysis)
    assert events(world) == []


# --- what is sent ------------------------------------------------------------------------------------------------


def test_the_verifier_of_the_receivers(
    world: World, queued: str, deliver: Callable[..., int], inbox: Inbox, clock: FixedClock
) -> None:
    """With either secret, and not with another or another body."""
    assert deliver() == 1
    [got] = inbox.received
    assert (got.method, got.path, got.headers["content-type"]) == ("POST", "/in?token=t", "application/json")
    assert got.headers["webhook-id"] == str(only(world).id)
    assert got.headers["webhook-timestamp"] == str(int(clock().timestamp()))
    for secret in (SECRET, OLD_SECRET):
        key = hmac.new(secret.encode(), b"loupe-webhook-1", hashlib.sha256).digest()
        webhook = Webhook("whsec_" + base64.b64encode(key).decode())
        told = webhook.verify(got.body, dict(got.headers))
        assert told["type"] == "analysis.queued" and told["data"]["id"] == queued
        with pytest.raises(WebhookVerificationError):
            webhook.verify(got.body + b" ", dict(got.headers))
        with pytest.raises(WebhookVerificationError):
            webhook.verify(got.body, {**got.headers, "webhook-id": "another"})
    with pytest.raises(WebhookVerificationError):
        Webhook(base64.b64encode(b"another secret").decode()).verify(got.body, dict(got.headers))


def test_the_same_id_and_bytes_at_every_attempt(
    world: World, queued: str, deliver: Callable[..., int], inbox: Inbox, clock: FixedClock
) -> None:
    inbox.replies = [Reply(500, b"<b>no</b>"), Reply(302, b"", {"Location": "/"}), Reply(200, b"ok")]
    assert deliver() == 1
    assert deliver() == 0, "it waits"
    for _ in range(2):
        clock.advance(hours=11)
        assert deliver() == 1
    clock.advance(days=3)
    assert deliver() == 0
    first, *others = inbox.received
    assert first.body.decode() == only(world).body and len(others) == 2
    for other in others:
        assert (other.headers["webhook-id"], other.body) == (first.headers["webhook-id"], first.body)
        assert other.headers["webhook-timestamp"] != first.headers["webhook-timestamp"]
        assert other.headers["webhook-signature"] != first.headers["webhook-signature"]
    row = only(world)
    assert [attempt["status"] for attempt in row.attempts] == [500, 302, 200]
    assert [attempt["answer"] for attempt in row.attempts] == ["<b>no</b>", "", "ok"]
    assert all(0 <= attempt["seconds"] < 5 for attempt in row.attempts)
    assert row.state == "delivered" and row.delivered_at == clock.moment - timedelta(days=3)


def test_what_is_kept_of_an_answer(
    world: World, queued: str, deliver: Callable[..., int], inbox: Inbox
) -> None:
    inbox.replies = [Reply(200, b"\x00\xff" + "ü".encode() * 5000)]
    deliver()
    [attempt] = only(world).attempts
    assert attempt["answer"] == "\ufffd\ufffd" + "ü" * 498


def test_given_up_after_a_day(
    app: Flask, world: World, queued: str, deliver: Callable[..., int], clock: FixedClock,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    app.extensions["sender"] = sender = Saying(Answer(500, "", None))
    began = clock.moment
    for made, delay in enumerate(DELAYS, 1):
        assert deliver() == 1
        row = only(world)
        assert len(row.attempts) == made and row.state == "waiting" and row.next_attempt_at is not None
        assert delay * 0.9 <= row.next_attempt_at - clock.moment <= delay * 1.1
        clock.set(row.next_attempt_at - timedelta(milliseconds=1))
        assert deliver() == 0
        clock.advance(0.001)
    assert not caplog.messages
    assert deliver() == 1
    row = only(world)
    assert caplog.messages == [f"the webhook {row.id} was given up; an admin can send it again"]
    assert row.state == "given-up" and len(row.attempts) == len(DELAYS) + 1 == sender.asked
    assert timedelta(hours=24) < clock.moment - began < timedelta(hours=31)
    clock.advance(days=9)
    assert deliver() == 0


def test_a_receiver_may_ask_for_time(
    world: World, queued: str, deliver: Callable[..., int], inbox: Inbox, clock: FixedClock
) -> None:
    inbox.replies = [Reply(503, b"", {"Retry-After": "600"})]
    assert deliver() == 1
    assert only(world).next_attempt_at == clock.moment + timedelta(minutes=10)


def test_once_more_after_it_was_given_up(
    app: Flask, world: World, queued: str, deliver: Callable[..., int], inbox: Inbox, clock: FixedClock
) -> None:
    """A single attempt, with the same id."""
    inbox.replies = [Reply(500)] * 9
    while only(world).state == "waiting":
        clock.set(only(world).next_attempt_at)
        deliver()
    for state in ("given-up", "delivered"):
        with app.app_context():
            webhooks.redeliver(db.session.get_one(WebhookDelivery, only(world).id), clock(), by=SYSTEM)
            db.session.commit()
        assert only(world).state == "waiting"
        assert deliver() == 1 and only(world).state == state
    assert len({(got.headers["webhook-id"], got.body) for got in inbox.received}) == 1
    assert len(inbox.received) == len(DELAYS) + 3


def test_the_oldest_first_and_not_more_than_asked_for(
    world: World, pipeline: Pipeline, image: Image, deliver: Callable[..., int], inbox: Inbox
) -> None:
    for _ in range(5):
        pipeline.post(f"/api/images/{image.id}/analyses", JOB)
    assert [deliver(2), deliver(2), deliver(2), deliver(2)] == [2, 2, 1, 0]
    ids = [str(row.id) for row in world.rows(WebhookDelivery)]
    assert [got.headers["webhook-id"] for got in inbox.received] == ids


def test_a_round_ends_where_nobody_answers(
    app: Flask, world: World, pipeline: Pipeline, image: Image, deliver: Callable[..., int]
) -> None:
    for _ in range(3):
        pipeline.post(f"/api/images/{image.id}/analyses", JOB)
    app.extensions["sender"] = sender = Saying(NotSent("connection refused"))
    assert deliver() == 1 == sender.asked
    assert [[a["error"] for a in row.attempts] for row in world.rows(WebhookDelivery)] == [
        ["connection refused"],
        [],
        [],
    ]


def test_where_it_may_not_go(
    app: Flask, world: World, queued: str, deliver: Callable[..., int], inbox: Inbox
) -> None:
    app.extensions["sender"] = Sender(allow_private=False)
    assert deliver() == 1 and not inbox.received
    assert only(world).attempts[0]["error"] == "the address is not https://"


# --- an address that has gone ------------------------------------------------------------------------------------


def test_410_disables_the_address(
    app: Flask, world: World, pipeline: Pipeline, image: Image, queued: str, deliver: Callable[..., int], inbox: Inbox,
    clock: FixedClock, settings: dict[str, str],
) -> None:  # fmt: skip
    pipeline.post(f"/api/images/{image.id}/analyses", JOB)
    inbox.replies = [Reply(410, b"gone")]
    assert deliver() == 1
    assert len(inbox.received) == 1, "the second one waits"
    pipeline.post(f"/api/analyses/{queued}/finalize", {"status": "completed"})
    clock.advance(days=3)
    assert deliver() == 0 and len(inbox.received) == 1
    assert [row.state for row in world.rows(WebhookDelivery)] == ["waiting"] * 3
    with app.app_context():
        assert webhooks.disabled_at(settings["ML_WEBHOOK_URL"]) == clock.moment - timedelta(days=3)
        assert webhooks.disabled_at("https://another.example/") is None
        webhooks.enable(settings["ML_WEBHOOK_URL"], by=SYSTEM)
        db.session.commit()
    assert deliver() == 3
    assert {row.state for row in world.rows(WebhookDelivery)} == {"delivered"}
    [disabled] = world.rows(AuditEvent, action="webhook_target.disabled")
    [enabled] = world.rows(AuditEvent, action="webhook_target.enabled")
    address = f"http://127.0.0.1:{inbox.port}/in"
    assert disabled.after == enabled.after == {"address": address} and disabled.actor_kind == "system"


def test_another_address_is_another_matter(
    app: Flask, world: World, queued: str, deliver: Callable[..., int], inbox: Inbox, clock: FixedClock
) -> None:
    inbox.replies = [Reply(410)]
    deliver()
    clock.advance(hours=1)
    app.config["ML_WEBHOOK_URL"] = f"http://127.0.0.1:{inbox.port}/new"
    assert deliver() == 1 and only(world).state == "delivered"


# --- several processes, and their deaths -------------------------------------------------------------------------


def test_nothing_is_held_while_one_is_sent(
    app: Flask, world: World, queued: str, deliver: Callable[..., int], image: Image
) -> None:
    class Looking:
        def post(self, *_: object) -> Answer:
            assert not db.session().in_transaction()
            world.analysis(image, "queued")  # over another connection: on SQLite there is one writer
            return Answer(204, "", None)

    app.extensions["sender"] = Looking()
    assert deliver() == 1 and only(world).state == "delivered"


def test_at_once_each_goes_out_once(
    world: World,
    pipeline: Pipeline,
    image: Image,
    deliver: Callable[..., int],
    inbox: Inbox,
    at_once: Callable[..., list[int]],
) -> None:
    for _ in range(24):
        pipeline.post(f"/api/images/{image.id}/analyses", JOB)
    assert sum(at_once([deliver] * 4)) == 24
    sent = [got.headers["webhook-id"] for got in inbox.received]
    assert len(sent) == len(set(sent)) == 24
    assert all(row.state == "delivered" and len(row.attempts) == 1 for row in world.rows(WebhookDelivery))


def test_gone_told_to_several_at_once_is_one_disabling(
    app: Flask, world: World, pipeline: Pipeline, image: Image, deliver: Callable[..., int],
    at_once: Callable[..., list[int]],
) -> None:  # fmt: skip
    for _ in range(4):
        pipeline.post(f"/api/images/{image.id}/analyses", JOB)
    together = threading.Barrier(4)

    class Gone:
        def post(self, *_: object) -> Answer:
            together.wait(10)
            return Answer(410, "", None)

    app.extensions["sender"] = Gone()
    assert at_once([deliver] * 4) == [1] * 4
    assert world_count(app, WebhookTarget) == 1
    assert world.count(AuditEvent, action="webhook_target.disabled") == 1


def world_count(app: Flask, table: Any) -> int:
    with app.app_context():
        return db.session.scalar(db.select(db.func.count()).select_from(table)) or 0


def test_who_comes_late_undoes_nothing(app: Flask, world: World, queued: str, clock: FixedClock) -> None:
    """A process that stood still for longer than its claim, while another one delivered."""
    url, late = app.config["ML_WEBHOOK_URL"], webhooks.Outcome(0.1, 500)
    with app.app_context():
        first = webhooks.claim(url, clock())
        db.session.commit()
        assert webhooks.claim(url, clock()) is None
        second = webhooks.claim(url, clock() + CLAIMED)
        db.session.commit()
        assert first is not None and second is not None and first.id == second.id
        webhooks.settle(second, webhooks.Outcome(0.1, 200), url, clock())
        db.session.commit()
        webhooks.settle(first, late, url, clock())
        db.session.commit()
    assert only(world).state == "delivered" and len(only(world).attempts) == 2


def test_asked_to_send_again_while_it_is_on_its_way(
    app: Flask, world: World, queued: str, clock: FixedClock
) -> None:
    """What an admin asked for is done, whatever comes of the attempt that was under way."""
    url = app.config["ML_WEBHOOK_URL"]
    for status in (200, 500):
        with app.app_context():
            due = webhooks.claim(url, clock())
            db.session.commit()
            assert due is not None
            row = db.session.get_one(WebhookDelivery, due.id)
            webhooks.redeliver(row, clock(), by=SYSTEM)
            db.session.commit()
            webhooks.settle(due, webhooks.Outcome(0.1, status), url, clock())
            db.session.commit()
        assert only(world).next_attempt_at == clock()


def test_killed_before_it_was_written_down(
    app: Flask, world: World, queued: str, deliver: Callable[..., int], inbox: Inbox, clock: FixedClock,
    settings: dict[str, str], tmp_path: Path,
) -> None:  # fmt: skip
    """The receiver has it and has not answered yet: it gets it again, with the same id."""
    inbox.answering.clear()
    environ = {**ENVIRON, **settings, "DATABASE_URL": app.config["DATABASE_URL"], "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "webhooks", "deliver"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
    try:
        first = inbox.arrivals.get(timeout=30)
    finally:
        process.kill()
        process.wait(10)
    inbox.answering.set()
    row = only(world)
    assert row.attempts == [] and row.state == "waiting" and first.headers["webhook-id"] == str(row.id)
    clock.set(row.next_attempt_at - timedelta(seconds=1))
    assert deliver() == 0, "another process may still be at it"
    clock.advance(1)
    assert deliver() == 1
    again = inbox.received[1]
    assert (again.headers["webhook-id"], again.body) == (first.headers["webhook-id"], first.body)
    assert only(world).state == "delivered"


# --- the command -------------------------------------------------------------------------------------------------


def test_the_command(app: Flask, world: World, queued: str, inbox: Inbox) -> None:
    runner = app.test_cli_runner()
    for told in ("1 sent.", "0 sent."):
        result = runner.invoke(args=["webhooks", "deliver", "--limit", "5"])
        assert (result.exit_code, result.output.strip()) == (0, told)
    assert UUID(inbox.received[0].headers["webhook-id"]) == only(world).id
    app.config["ML_PIPELINE_PUSH_WEBHOOKS_ENABLED"] = False
    result = runner.invoke(args=["webhooks", "deliver"])
    assert result.exit_code == 1 and "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED is off" in result.output


# --- by itself ---------------------------------------------------------------------------------------------------


def test_sweeping_sends_them_too(app: Flask, world: World, queued: str, inbox: Inbox) -> None:
    for more, received in ((["--dry-run"], 0), ([], 1), ([], 1)):
        result = app.test_cli_runner().invoke(args=["sweep", *more, "webhooks"])
        assert (result.exit_code, result.output, len(inbox.received)) == (0, "", received)
    assert only(world).state == "delivered"


def test_the_loop_of_a_server(
    app: Flask, queued: str, settings: dict[str, str], inbox: Inbox, instance: Path
) -> None:
    environ = {**ENVIRON, **settings, "DATABASE_URL": app.config["DATABASE_URL"], "BACKGROUND_LOOP": "true"}
    with servers.served(environ, instance):
        got = inbox.arrivals.get(timeout=30)
    key = hmac.new(SECRET.encode(), b"loupe-webhook-1", hashlib.sha256).digest()
    told = Webhook(base64.b64encode(key).decode()).verify(got.body, dict(got.headers))
    assert told["type"] == "analysis.queued" and told["data"]["id"] == queued
