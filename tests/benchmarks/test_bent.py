"""One answer of each measure, bent on its way to the driver: it must end the run, with no figure of that measure."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

import orjson
import pytest

from benchmarks import lists, load
from benchmarks.bench import Bench
from benchmarks.crowd import Crowd
from benchmarks.lists import make
from benchmarks.measures import MEASURES
from benchmarks.serve import OWNER, served
from benchmarks.views import sign_in
from benchmarks.watch import unpin
from benchmarks.wire import Answer, Connection, Request, Wrong
from tests.benchmarks.test_load import SMALL

pytestmark = pytest.mark.one_database
ANALYSES = 2000
NUMBERS = count()
Bend = Callable[[Answer], Answer]


def said(change: Callable[[dict[str, Any]], object]) -> Bend:
    def bend(answer: Answer) -> Answer:
        body = orjson.loads(answer.body)
        change(body)
        return Answer(answer.status, orjson.dumps(body))

    return bend


def status(number: int) -> Bend:
    """An error that shows the right page all the same."""
    return lambda answer: Answer(number, answer.body)


def body(change: Callable[[bytes], bytes]) -> Bend:
    return lambda answer: Answer(answer.status, change(answer.body))


def lost(whole: dict[str, Any]) -> None:
    """The last annotation, and the count says so."""
    whole["annotations"].pop()
    whole["annotation_count"] -= 1


def of_baseline(answers: dict[str, Any]) -> None:
    if "cancel_requested" not in answers:
        answers["lease_expires_at"] = "2026-01-01T00:00:00+00:00"


def later(*, baseline: bool) -> Bend:
    """Leases that end a second later than is stored, each later than the one before, of one of the servers."""

    def change(answers: dict[str, Any]) -> None:
        if ("cancel_requested" not in answers) is baseline:
            ends = datetime.fromisoformat(answers["lease_expires_at"]) + timedelta(seconds=1)
            answers["lease_expires_at"] = ends.isoformat()

    return said(change)


class Bent(NamedTuple):
    """Answers to requests of a measure, by their method and address, and why the measure then gives no figure."""

    measure: str
    asked: str
    bend: Bend
    reason: str


BULK, PATCHED = "POST .*/annotations:bulk", "PATCH .*/status"
BENT = [
    Bent("bulk", BULK, said(lambda one: one.update(inserted=19)), "inserted is 19"),
    Bent("bulk", BULK, said(lambda one: one.pop("total", None)), "total is None"),
    Bent(
        "bulk", "limit=1&", said(lambda page: page.update(total=99)), "the number of annotations stored is 99"
    ),
    Bent("growth", BULK, said(lambda one: one.update(total=21)), "total is 21"),
    Bent(
        "show", "GET /api/analyses/[^/?]+$", said(lambda one: one["annotations"].pop()), "the analysis shown"
    ),
    Bent("list", "GET /api/images/.*/analyses", said(lambda page: page.update(total=6)), "total is 6"),
    Bent(
        "list",
        "GET /api/images/.*/analyses",
        said(lambda page: page["analyses"].pop()),
        "the analyses listed",
    ),
    Bent(
        *("lists", "GET /api/projects/.*status=rare|status=processing"),
        said(lambda page: page["analyses"].pop()),
        "list among 2,000, rare status, first is",
    ),
    Bent("lists", "GET /api/projects/", said(lambda page: page.update(next_cursor=None)), "more is False"),
    Bent(
        "lists",
        "GET /projects/.*state=queued",
        status(500),
        "status of none, newest, first: the status is 500",
    ),
    Bent(
        *("lists", "GET /projects/.*state=queued", body(lambda _: b"<h1>Welcome</h1>")),
        "status of none, newest, first: it is a gallery is False",
    ),
    Bent(
        *("lists", "GET /projects/.*sort=name", body(lambda page: page.replace(b'<li id="image-', b"", 1))),
        "gallery among 2,000, all, name, first is",
    ),
    Bent("lists", "GET /projects/.*q=nowhere", status(303), "text of none, newest, first: the status is 303"),
    Bent("patch", PATCHED, said(lambda one: one.update(status="queued")), "status answered is 'queued'"),
    Bent("patch", "GET /api/analyses/", said(lambda one: one.update(status="queued")), "status is 'queued'"),
    Bent("export", "format=json", said(lost), "what was exported"),
    Bent("export", "format=csv", body(lambda text: text[: text[:-2].rindex(b"\n") + 1]), "what was exported"),
    Bent("pipeline", PATCHED, said(lambda one: one.update(status="queued")), "status is 'queued'"),
    Bent("pipeline", BULK, said(lambda one: one.update(inserted=4)), "inserted is 4"),
    Bent("pipeline", "PUT ", status(403), "status of the PUT is 403"),
    Bent("heartbeat", "/heartbeat", said(lambda one: one.update(cancel_requested=True)), "canceled is True"),
    Bent("heartbeat", "/heartbeat", said(of_baseline), "leases of baseline that ended later each time"),
    Bent("heartbeat", "/heartbeat", later(baseline=False), "the stored end of the lease of loupe"),
    Bent("heartbeat", "/heartbeat", later(baseline=True), "the stored end of the lease of baseline"),
    Bent("presign", "/presign", said(lambda one: one.update(storage_path="x")), "path is 'x'"),
    Bent("presign", "PUT ", status(403), "status of the PUT is 403"),
    Bent("presign", "format=json", said(lambda one: one["artifacts"].pop()), "the artifacts"),
    Bent(
        "finalize", "/finalize", said(lambda one: one.update(status="failed")), "status answered is 'failed'"
    ),
    Bent(
        "finalize", "GET /api/analyses/", said(lambda one: one.update(status="failed")), "status is 'failed'"
    ),
    Bent("poll", "/panel", lambda _: Answer(200, b"new"), "the answers to polls"),
    Bent("poll", "/panel", lambda _: Answer(204, b""), "the status of a poll after a change is 204"),
    Bent(
        "overlay",
        "/overlay",
        body(lambda page: page.replace(b'<rect class="shape"', b"<rect", 1)),
        "boxes drawn is 29",
    ),
    Bent("overlay", "/overlay", body(lambda page: page + b" " * next(NUMBERS)), "the overlay from the cache"),
    Bent("memory", r"/hit\?", status(500), "the status of GET"),
]


@pytest.fixture(scope="module")
def prepared() -> Iterator[tuple[Bench, tuple[Crowd, Crowd]]]:
    """Loupe and the baseline over a SQLite of their own, in which a crowd is."""
    try:
        with served("sqlite", core=None) as servers:
            watches = {name: servers.start(name) for name in ("loupe", "baseline")}
            targets = [servers.target(name) for name in watches]
            sign_in(targets[0], OWNER, servers.password)
            bench = Bench(targets, servers.project, replace(SMALL, asked=1), watches, None, servers)
            yield bench, make(servers, ANALYSES)
            for target in targets:
                target.connection.close()
    finally:
        unpin()


@pytest.mark.parametrize("bent", BENT, ids=lambda bent: f"{bent.measure}: {bent.reason}")
def test_a_wrong_answer_ends_the_run(
    prepared: tuple[Bench, tuple[Crowd, Crowd]], monkeypatch: pytest.MonkeyPatch, bent: Bent
) -> None:
    bench, crowds = prepared
    if bent.measure == "memory" and bench.servers:  # the only one here that gets a new process
        bench = replace(bench, renew=bench.servers.renew)
    send = Connection.send

    def bending(self: Connection, request: Request) -> Answer:
        answer = send(self, request)
        return bent.bend(answer) if re.search(bent.asked, f"{request.method} {request.path}") else answer

    monkeypatch.setattr(Connection, "send", bending)
    monkeypatch.setattr(lists, "make", lambda *_: crowds)
    with pytest.raises(Wrong, match=re.escape(bent.reason)):
        load.measure(bench, [bent.measure])


def test_each_measure_has_an_answer_that_is_bent() -> None:
    assert {bent.measure for bent in BENT} == set(MEASURES)
