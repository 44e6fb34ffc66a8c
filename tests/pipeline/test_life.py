"""The life of analyses against a small dictionary model: whatever happens in whatever order, both say the same.

Pipelines create, claim, beat, send annotations, send the last request again, finalize; people cancel, delete and
restore; the sweeper comes; time passes; a process dies before or after its commit.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import event

from app import background
from app.extensions import db
from app.models import Analysis, Annotation, AuditEvent, Image, Project, Status
from app.services.leases import EXPIRED
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.fakes import FixedClock

LEASE, RETRIES = 120, 1
ENDED = ("completed", "failed", "canceled")
# seconds; no sum of them comes near to where a lease ends
STEPS = (45, 100, 1000)
CLIENT_IDS, WORDS = ("a", "b", "c"), ("leaf", "twig")

which = st.integers(0, 30)  # one of those there are, by its number
token = st.sampled_from(["none", "last", "last", "last", "first", "other"])
some = st.dictionaries(st.sampled_from(CLIENT_IDS), st.sampled_from(WORDS), min_size=1)


class Crash(Exception):
    """The process is gone."""


@contextmanager
def crashing(moment: str | None) -> Iterator[None]:
    """The next commit does not come to its end: `before` it is kept, or `after`."""
    if moment is None:
        yield
        return

    def die(session: Any) -> None:
        if not session.in_nested_transaction():
            raise Crash

    event.listen(db.session, f"{moment}_commit", die)
    try:
        yield
    finally:
        event.remove(db.session, f"{moment}_commit", die)


def life(
    app: Flask, world: World, pipeline: Pipeline, editor: Person, image: Image
) -> type[RuleBasedStateMachine]:
    class Life(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            with app.app_context():
                for table in (Analysis, AuditEvent):
                    db.session.execute(db.delete(table))
                db.session.commit()
            self.model: dict[str, dict[str, Any]] = {}  # by id, in the order in which they were made
            self.jobs: dict[str, str] = {}
            self.claims: dict[tuple[str, str], str] = {}  # the analysis that a worker's key was given
            self.tokens: dict[str, list[str]] = {}  # of each analysis, by epoch
            self.crash: str | None = None
            self.last: Callable[[], None] | None = None

        # --- asking -----------------------------------------------------------------------------------------------

        def ask(self, send: Callable[[], Any], status: int, effect: Callable[[Any], None]) -> None:
            """Sends it and looks whether it is answered so; the effect is there where it was answered or kept."""
            moment, self.crash = self.crash, None
            with crashing(moment):
                answer = send()
            if status >= 400:
                assert answer.status_code == status, answer.text
            elif answer.status_code == 500 and moment is not None:
                if moment == "after":
                    effect(None)
            else:
                assert answer.status_code == status, (answer.status_code, answer.text)
                effect(answer.json)

        def one(self, number: int) -> str | None:
            names = list(self.model)
            return names[number % len(names)] if names else None

        def token_of(self, one: str, choice: str) -> str | None:
            own = self.tokens.get(one, [])
            if choice == "other":
                return next((every[-1] for name, every in self.tokens.items() if name != one), None)
            return own[{"last": -1, "first": 0}[choice]] if own and choice != "none" else None

        def headers(self, one: str, choice: str) -> dict[str, str]:
            sent = self.token_of(one, choice)
            return {"X-ML-Lease-Token": sent} if sent else {}

        def refused(self, one: str, choice: str) -> int | None:
            """With what a writer is refused who shows this token; None when not."""
            it, sent = self.model[one], self.token_of(one, choice)
            leased = it["until"] is not None and it["status"] not in ENDED
            current = self.current(one)
            if it["deleted"]:
                return 410
            if sent is None:
                return 409 if leased else None
            if sent != current:
                return 409
            return 409 if leased and it["until"] <= 0 else None

        def current(self, one: str) -> str | None:
            """The token of the present epoch, as far as somebody was told."""
            it, own = self.model[one], self.tokens.get(one, [])
            return own[it["epoch"] - 1] if 0 < it["epoch"] <= len(own) else None

        def made(self, one: str, **columns: Any) -> None:
            fresh = {"status": "queued", "held": {}, "epoch": 0, "until": None, "attempt": 1, "by": None}
            self.model[one] = fresh | {"deleted": False, "error": None} | columns

        # --- what may happen --------------------------------------------------------------------------------------

        @rule(job=st.sampled_from("123456"), priority=st.integers(0, 1))
        def create(self, job: str, priority: int) -> None:
            known = self.jobs.get(job)
            it = self.model[known] if known else None
            wanted = it["priority"] if it else priority
            body = {
                "model_name": "leaf-net",
                "model_version": "1",
                "external_job_id": job,
                "priority": wanted,
            }

            def effect(answer: Any) -> None:
                if known is None:
                    made = world.rows(Analysis, external_job_id=job)[0]
                    self.jobs[job] = str(made.id)
                    self.made(str(made.id), priority=wanted)
                if answer:
                    assert answer["id"] == self.jobs[job]

            status = 201 if it is None else 410 if it["deleted"] else 200
            path = f"/api/images/{image.id}/analyses"
            self.ask(lambda: pipeline.post(path, body), status, effect)
            self.last = lambda: self.create(job, priority)

        @rule(worker=st.sampled_from("vw"), key=st.sampled_from([None, "k", "l"]))
        def claim_next(self, worker: str, key: str | None) -> None:
            queued = [
                name for name, it in self.model.items() if it["status"] == "queued" and not it["deleted"]
            ]
            queued.sort(key=lambda name: -self.model[name]["priority"])
            given = self.claims.get((worker, key or ""))
            known = given is not None and not self.model[given]["deleted"]
            expected = ([given] if self.is_held(given) else []) if known else queued[:1]

            def effect(answer: Any) -> None:
                for name in expected:
                    if not known:
                        self.lease(name, (worker, key or None, "next"))
                        if key:
                            self.claims[worker, key] = name
                    if answer:
                        self.told(name, answer["analyses"][0]["lease_token"])
                if answer:
                    assert [it["id"] for it in answer["analyses"]] == expected

            headers = {"Idempotency-Key": key} if key else {}
            self.ask(
                lambda: pipeline.post("/api/analyses:claim", {"worker_id": worker}, headers=headers),
                200,
                effect,
            )
            self.last = lambda: self.claim_next(worker, key)

        def is_held(self, name: str | None) -> bool:
            it = self.model.get(name or "")
            return bool(it and it["status"] == "processing" and it["until"] and it["until"] > 0)

        def lease(self, name: str, by: tuple[str, str | None, str]) -> None:
            it = self.model[name]
            it |= {"status": "processing", "epoch": it["epoch"] + 1, "until": LEASE, "by": by}

        def told(self, name: str, sent: str) -> None:
            """The token of an epoch is one: whoever is told it twice is told the same."""
            own, epoch = self.tokens.setdefault(name, []), self.model[name]["epoch"]
            if len(own) < epoch:
                own += [sent]
            assert own[epoch - 1] == sent

        @rule(number=which, worker=st.sampled_from("vw"))
        def claim_one(self, number: int, worker: str) -> None:
            if (name := self.one(number)) is None:
                return
            it, by = self.model[name], (worker, None, "one")
            again = it["by"] == by and self.is_held(name)
            fresh = it["status"] == "queued"
            status = 410 if it["deleted"] else 200 if fresh or again else 409

            def effect(answer: Any) -> None:
                if fresh:
                    self.lease(name, by)
                if answer:
                    self.told(name, answer["lease_token"])

            path = f"/api/analyses/{name}/claim"
            self.ask(lambda: pipeline.post(path, {"worker_id": worker}), status, effect)
            self.last = lambda: self.claim_one(number, worker)

        @rule(number=which, choice=token)
        def beat(self, number: int, choice: str) -> None:
            if (name := self.one(number)) is None:
                return
            it, sent = self.model[name], self.token_of(name, choice)
            right = sent is not None and sent == self.current(name)
            canceled = it["status"] == "canceled"
            status = 410 if it["deleted"] else 200 if right and (canceled or self.is_held(name)) else 409

            def effect(answer: Any) -> None:
                if not canceled:
                    it["until"] = LEASE
                if answer:
                    assert answer["cancel_requested"] is canceled

            headers = self.headers(name, choice)
            path = f"/api/analyses/{name}/heartbeat"
            self.ask(lambda: pipeline.post(path, {}, headers=headers), status, effect)
            self.last = lambda: self.beat(number, choice)

        @rule(number=which, choice=token, items=some, mode=st.sampled_from(["append", "upsert", "replace"]))
        def bulk(self, number: int, choice: str, items: dict[str, str], mode: str) -> None:
            if (name := self.one(number)) is None:
                return
            it, held = self.model[name], self.model[name]["held"]
            after = items if mode == "replace" else held | items
            differs = mode == "append" and any(held.get(key, word) != word for key, word in items.items())
            ended = it["status"] in ENDED
            changes = list(after.items()) != list(held.items())  # what is replaced may come in another order
            status = self.refused(name, choice) or (409 if differs or (ended and changes) else 200)

            def effect(_answer: Any) -> None:
                it["held"] = dict(after)

            sent = [
                {"annotation_type": "custom", "client_id": key, "class_name": word, "data": {"n": 1}}
                for key, word in items.items()
            ]
            path, headers = f"/api/analyses/{name}/annotations:bulk", self.headers(name, choice)
            body = {"annotations": sent, "mode": mode}
            self.ask(lambda: pipeline.post(path, body, headers=headers), status, effect)
            self.last = lambda: self.bulk(number, choice, items, mode)

        @rule(number=which, choice=token, status=st.sampled_from(["completed", "failed"]))
        def finalize(self, number: int, choice: str, status: str) -> None:
            if (name := self.one(number)) is None:
                return
            it = self.model[name]
            over = it["status"] in ENDED and it["status"] != status
            expected = self.refused(name, choice) or (409 if over else 200)
            path, headers = f"/api/analyses/{name}/finalize", self.headers(name, choice)
            self.ask(
                lambda: pipeline.post(path, {"status": status}, headers=headers),
                expected,
                lambda _: it.update(status=status),
            )
            self.last = lambda: self.finalize(number, choice, status)

        @rule(number=which, choice=token)
        def start(self, number: int, choice: str) -> None:
            if (name := self.one(number)) is None:
                return
            it = self.model[name]
            expected = self.refused(name, choice) or (409 if it["status"] in ENDED else 200)
            path, headers = f"/api/analyses/{name}/status", self.headers(name, choice)
            self.ask(
                lambda: pipeline.patch(path, {"status": "processing"}, headers=headers),
                expected,
                lambda _: it.update(status="processing"),
            )
            self.last = lambda: self.start(number, choice)

        @rule(number=which)
        def cancel(self, number: int) -> None:
            if (name := self.one(number)) is None:
                return
            it = self.model[name]
            expected = 410 if it["deleted"] else 409 if it["status"] in ("completed", "failed") else 200
            self.ask(
                lambda: editor.api("PATCH", f"/api/analyses/{name}/status", json={"status": "canceled"}),
                expected,
                lambda _: it.update(status="canceled"),
            )
            self.last = lambda: self.cancel(number)

        @rule(number=which)
        def delete(self, number: int) -> None:
            if name := self.one(number):
                it = self.model[name]
                path = f"/api/analyses/{name}"
                self.ask(lambda: editor.api("DELETE", path), 200, lambda _: it.update(deleted=True))

        @rule(number=which)
        def restore(self, number: int) -> None:
            if name := self.one(number):
                it = self.model[name]
                path = f"/api/analyses/{name}/restore"
                self.ask(lambda: editor.api("POST", path), 200, lambda _: it.update(deleted=False))

        @rule()
        def send_the_last_again(self) -> None:
            if self.last is not None:
                self.last()

        @rule(moment=st.sampled_from(["before", "after"]))
        def crash_at_the_next_commit(self, moment: str) -> None:
            self.crash = moment

        @rule(seconds=st.sampled_from(STEPS))
        def let_time_pass(self, seconds: int) -> None:
            """By the database's clock, which no test can move: so what it is compared with moves the other way."""
            with app.app_context():
                for row in db.session.scalars(
                    db.select(Analysis).where(Analysis.lease_expires_at.is_not(None))
                ):
                    row.lease_expires_at -= timedelta(seconds=seconds)
                db.session.commit()
            for it in self.model.values():
                if it["until"] is not None:
                    it["until"] -= seconds

        @rule()
        def sweep(self) -> None:
            due = [
                name
                for name, it in self.model.items()
                if it["status"] == "processing" and it["until"] is not None and it["until"] <= 0
            ]
            due = [name for name in due if not self.model[name]["deleted"]]
            with app.app_context():
                said = list(background.steps(background.TASKS["overdue"]))
            assert len(said) == len(due), said
            for name in due:
                it = self.model[name]
                it |= {"status": "failed", "epoch": it["epoch"] + 1, "error": EXPIRED}
            for again in world.rows(Analysis, attempt=2):
                if str(again.id) not in self.model:
                    before = self.model[str(again.retry_of_id)]
                    assert before["attempt"] <= RETRIES and before["error"] == EXPIRED
                    self.made(str(again.id), priority=before["priority"], attempt=2)

        # --- what must always hold --------------------------------------------------------------------------------

        @invariant()
        def both_say_the_same(self) -> None:
            with app.app_context():
                rows = {str(row.id): row for row in db.session.scalars(db.select(Analysis))}
                held: dict[str, dict[str, str]] = {name: {} for name in rows}
                for one in db.session.scalars(db.select(Annotation)):
                    held[str(one.analysis_id)][one.client_id] = str(one.class_name)
                assert rows.keys() == self.model.keys()
                for name, it in self.model.items():
                    row = rows[name]
                    found = (row.status, held[name], row.lease_epoch, row.attempt, row.deleted_at is not None)
                    said = (it["status"], it["held"], it["epoch"], it["attempt"], it["deleted"])
                    assert found == said
                    assert (row.annotation_count, row.error_message) == (len(it["held"]), it["error"])

        def teardown(self) -> None:
            """The audit trail leads step by step to the state that is there, and every expiry to another attempt."""
            states = {f"analysis.{status}" for status in Status} | {"analysis.created"}
            for name, it in self.model.items():
                trail = [one for one in world.rows(AuditEvent, subject_id=name) if one.action in states]
                assert trail[0].action == "analysis.created"
                for before, after in pairwise(trail):
                    assert after.before == {"status": before.after["status"]}
                assert trail[-1].after["status"] == it["status"]
                followed = [other for other in world.rows(Analysis) if str(other.retry_of_id) == name]
                assert len(followed) == (it["error"] == EXPIRED and it["attempt"] <= RETRIES)

    return Life


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    app = make_app(ML_LEASE_RETRY_ATTEMPTS=str(RETRIES), ML_LEASE_SECONDS=str(LEASE))
    app.extensions["clock"] = FixedClock()
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app


@pytest.mark.parametrize(
    ("runs", "steps"), [(20, 30), pytest.param(500, 50, marks=pytest.mark.soak)], ids=["few", "many"]
)
def test_the_model_says_what_happens(
    app: Flask,
    world: World,
    pipeline: Pipeline,
    editor: Person,
    project: Project,
    image: Image,
    runs: int,
    steps: int,
) -> None:
    machine = life(app, world, pipeline, editor, image)
    how = settings(
        max_examples=runs,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=runs < 100,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=how)
