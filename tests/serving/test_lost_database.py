"""PostgreSQL goes away under load and comes back: every answer is success or 503, and nothing acknowledged is lost."""

import contextlib
import http.client
import itertools
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from flask import g
from sqlalchemy import text

from app import create_app
from app.errors import NotFound
from app.extensions import db
from app.models import Analysis, Annotation, Principal, User
from tests.cast import Person, encode, plain_signature
from tests.conftest import ENVIRON, LiveServer, dispose
from tests.factories import World
from tests.serving.load import CUT, Answer, Ask, Load, slow_get, under_load
from tests.steps import box
from tests.support import database as databases
from tests.support import server as servers

KINDS = {"page", "read", "bulk", "export", "exports"}
EXPORTS = ("export", "exports")  # of one analysis, of many
LONGEST = 15.0  # seconds any answer may take
HEALED = 60.0  # seconds after its start in which everything works again, also on a machine that has much else to do
EXPORTED = 3000


@dataclass(frozen=True)
class Serving:
    database: databases.Restartable
    live: LiveServer


@pytest.fixture(scope="module")
def serving(database_server: databases.Server) -> Iterator[Serving]:
    """A server over a PostgreSQL of its own. That of the other tests is asked for, so that this runs where it does."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loupe-outage-")))
        postgresql = stack.enter_context(databases.restartable())
        database = stack.enter_context(databases.migrated(postgresql, "outage", ENVIRON, folder))
        environ = {**ENVIRON, "DATABASE_URL": database.url}
        app = create_app(environ, instance_path=str(folder))
        stack.callback(dispose, app)
        gunicorn = stack.enter_context(servers.served(environ, folder))
        yield Serving(postgresql, LiveServer(gunicorn, World(app), environ, folder))


class Callers:
    """What the clients ask, and the annotations whose storing was acknowledged."""

    def __init__(self, live: LiveServer) -> None:
        self.url = live.url
        world = live.world
        self.person: Person = world.person(f"editor-{time.time()}@example.org")
        self.project = world.project("Leaves", editor=self.person)
        image = world.image(self.project)
        self.image_id = image.id
        self.written: Analysis = world.analysis(image, "processing")
        self.exported: Analysis = world.analysis(image, "processing")
        rows = [box() for _ in range(EXPORTED)]
        stored = live.pipeline.post(self._bulk(self.exported), {"annotations": rows})
        assert stored.status_code == 200, stored.text
        cookie = self.person.client.get_cookie("loupe")
        assert cookie is not None
        self.cookie = cookie.value
        admin = world.person(f"admin-{time.time()}@example.org", role="admin")
        self.token = admin.client.get("/").text.split('name="csrf_token" value="')[1].split('"')[0]
        cookie = admin.client.get_cookie("loupe")
        assert cookie is not None
        self.admin_cookie = cookie.value
        self.acknowledged: set[str] = set()
        self._numbers = itertools.count()

    @staticmethod
    def _bulk(analysis: Analysis) -> str:
        return f"/api/analyses/{analysis.id}/annotations:bulk"

    def page(self, session: requests.Session) -> requests.Response:
        return session.get(self.url + "/", cookies={"loupe": self.cookie}, timeout=30)

    def read(self, session: requests.Session) -> requests.Response:
        path = f"/api/images/{self.image_id}/analyses"
        return session.get(self.url + path, headers={"X-API-Key": self.person.key}, timeout=30)

    def export(self, session: requests.Session) -> requests.Response:
        path = f"/api/analyses/{self.exported.id}/export?format=csv"
        answer = session.get(self.url + path, headers={"X-API-Key": self.person.key}, timeout=30)
        assert answer.status_code != 200 or answer.text.count("\n") == EXPORTED + 1, (
            "ended as if it were whole"
        )
        return answer

    def exports(self, session: requests.Session) -> requests.Response:
        """By the form of the admin pages."""
        sent = {"csrf_token": self.token, "project": str(self.project.id)}
        cookies, url = {"loupe": self.admin_cookie}, f"{self.url}/admin/exports/download"
        answer = session.post(url, data=sent, cookies=cookies, timeout=30)
        assert answer.status_code != 200 or answer.json()["annotation_count"] >= EXPORTED
        return answer

    def bulk(self, session: requests.Session) -> requests.Response:
        batch = next(self._numbers)
        ids = [f"{batch}-{index}" for index in range(20)]
        body = encode({"annotations": [box(client_id=name) for name in ids]})
        moment = str(int(time.time()))
        headers = {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment)}
        answer = session.post(self.url + self._bulk(self.written), data=body, headers=headers, timeout=30)
        if answer.status_code == 200:
            self.acknowledged.update(ids)
        return answer

    def clients(self) -> list[tuple[str, Ask]]:
        return [(kind, getattr(self, kind)) for kind in sorted(KINDS)] * 2


@pytest.fixture
def callers(serving: Serving) -> Callers:
    return Callers(serving.live)


def check_answers(load: Load) -> None:
    """Success or a 503 that says when to come back; only an export that had begun may be cut off."""
    for answer in load.answers:
        assert answer.seconds < LONGEST, answer
        assert answer.status in (200, 503) or (answer.kind in EXPORTS and answer.status == CUT), answer
        if answer.status == 503:
            check_refusal(answer)


def check_refusal(answer: Answer) -> None:
    assert answer.retry_after is not None and int(answer.retry_after) > 0
    if answer.kind in ("page", "exports"):
        assert answer.content_type.startswith("text/html")
        assert "The database cannot be reached" in answer.text or "too busy" in answer.text
    else:
        assert answer.content_type == "application/problem+json"
        assert json.loads(answer.text)["code"] == "database-unavailable"


def check_nothing_is_lost(serving: Serving, callers: Callers) -> None:
    rows = serving.live.world.rows(Annotation, analysis_id=callers.written.id)
    stored = [row.client_id for row in rows]
    assert len(stored) == len(set(stored))
    assert callers.acknowledged and callers.acknowledged <= set(stored)
    assert serving.live.world.reload(callers.written).annotation_count == len(stored)


def workers_that_succeeded(serving: Serving, since: str) -> set[int]:
    lines = map(json.loads, serving.live.gunicorn.log.read_text().splitlines())
    asked = [line for line in lines if line["time"] > since and line.get("route", "").startswith("/api/")]
    return {line["process"] for line in asked if line["status"] == 200}


def wait_for_each_worker(serving: Serving, callers: Callers, workers: set[int], since: str) -> None:
    """Every process heals by itself. A client stays with the worker that took its connection: each ask is a new one."""
    deadline = time.monotonic() + HEALED
    while workers_that_succeeded(serving, since) != workers:
        assert time.monotonic() < deadline, "a process does not heal by itself"
        with requests.Session() as session:
            callers.read(session)


@pytest.mark.parametrize("end", ["kill", pytest.param("stop", marks=pytest.mark.soak)])
def test_the_database_goes_and_comes_back(serving: Serving, callers: Callers, end: str) -> None:
    workers = {worker.pid for worker in serving.live.gunicorn.workers()}
    with under_load(callers.clients()) as load:
        load.wait_for_success(KINDS, time.monotonic(), HEALED)
        getattr(serving.database, end)()
        gone = time.monotonic()
        time.sleep(2)  # the length of the outage
        back, moment = time.monotonic(), datetime.now(UTC).isoformat(timespec="milliseconds")[:23]
        serving.database.start()
        load.wait_for_success(KINDS, time.monotonic(), HEALED)
        wait_for_each_worker(serving, callers, workers, moment)
    check_answers(load)
    meanwhile = [answer for answer in load.answers if gone < answer.started < back]
    during = [answer for answer in meanwhile if answer.started + answer.seconds < back]
    assert {answer.kind for answer in during if answer.status == 503} == KINDS
    assert not [answer for answer in during if answer.status == 200]
    check_nothing_is_lost(serving, callers)
    assert {worker.pid for worker in serving.live.gunicorn.workers()} == workers


def test_connections_cut_in_the_middle_of_requests(serving: Serving, callers: Callers) -> None:
    with under_load(callers.clients()) as load:
        for _ in range(10):
            load.wait_for_success(KINDS, time.monotonic(), HEALED)
            serving.database.cut_everybody_off()
        load.wait_for_success(KINDS, time.monotonic(), HEALED)
    assert {answer.status for answer in load.answers} & {503, CUT}, "nobody was in the middle of anything"
    check_answers(load)
    check_nothing_is_lost(serving, callers)


def test_an_export_whose_database_ends_in_the_middle_is_cut_off(serving: Serving, callers: Callers) -> None:
    """Half an analysis must not look like a whole one."""
    rows = {"annotations": [box() for _ in range(9000)]}
    assert serving.live.pipeline.post(callers._bulk(callers.exported), rows).status_code == 200
    # one that has ended is read while it is sent
    ended = f"/api/analyses/{callers.exported.id}/finalize"
    assert serving.live.pipeline.post(ended, {"status": "completed"}).status_code == 200
    path = f"/api/analyses/{callers.exported.id}/export?format=csv"
    headers = {"X-API-Key": callers.person.key, "X-Request-ID": "cut-off-1"}
    with slow_get(serving.live.gunicorn.port, path, headers) as export:
        assert export.status == 200
        serving.database.stop()
        try:
            with pytest.raises(http.client.IncompleteRead):
                export.read()
        finally:
            serving.database.start()
    deadline = time.monotonic() + 60
    while '"cut_off":true' not in serving.live.gunicorn.log.read_text():
        assert time.monotonic() < deadline, "the log does not say so"
        time.sleep(0.05)


@pytest.mark.parametrize(("raised", "status"), [(None, 200), (NotFound(), 404)])
def test_a_connection_lost_after_the_work_changes_nothing(
    serving: Serving, callers: Callers, raised: Exception | None, status: int, tmp_path: Path
) -> None:
    """The answer is there already; that the transaction cannot be ended any more is no error of the request."""
    app = create_app(serving.live.environ, instance_path=str(tmp_path))

    @app.get("/api/work")
    def work() -> str:
        db.session.execute(text("SELECT 1"))
        serving.database.cut_everybody_off()
        if raised:
            raise raised
        return "done"

    client = app.test_client(use_cookies=False)
    assert client.get("/api/work").status_code == status
    assert client.get("/api/projects", headers={"X-API-Key": callers.person.key}).status_code == 200
    dispose(app)


@pytest.mark.parametrize(("in_transaction", "status"), [(True, 404), (False, 503)])
def test_the_page_of_an_error_that_cannot_say_whose_it_is(
    serving: Serving, callers: Callers, in_transaction: bool, status: int, tmp_path: Path
) -> None:
    """It would show who is signed in, but the database that knows is gone by then."""
    app = create_app(serving.live.environ, instance_path=str(tmp_path))

    @app.get("/work")
    def work() -> str:
        g.principal = Principal("user", db.session.get_one(User, callers.person.id))
        if not in_transaction:
            db.session.rollback()  # as after a body was read: the person is read anew at the next use
        serving.database.stop()
        raise NotFound

    try:
        answer = app.test_client(use_cookies=False).get("/work")
    finally:
        serving.database.start()
    assert (answer.status_code, answer.mimetype) == (status, "text/html")
    assert ("Retry-After" in answer.headers) == (status == 503)
    dispose(app)


def test_readiness_follows_and_health_stays(serving: Serving) -> None:
    def status(path: str) -> int:
        return requests.get(serving.live.url + path, timeout=10).status_code

    assert (status("/healthz"), status("/readyz")) == (200, 200)
    serving.database.stop()
    try:
        assert (status("/healthz"), status("/readyz")) == (200, 503)
    finally:
        serving.database.start()
    assert (status("/healthz"), status("/readyz")) == (200, 200)
