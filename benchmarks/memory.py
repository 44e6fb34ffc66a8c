"""What a worker keeps: how far its memory has grown after many requests of 24 kinds, good and bad."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import orjson

from benchmarks import bodies
from benchmarks.bench import Bench
from benchmarks.exports import MB
from benchmarks.figures import MEGABYTES, Figure
from benchmarks.views import panel_address
from benchmarks.wire import Answer, Connection, Request, Skipped, expect, raise_first

AT_ONCE = 4
FOUND = 25  # boxes of each of two bulk requests
POLLS = 65  # of each life: most of what a server is asked is whether anything changed
REQUESTS = 90  # of each life
LIVES_ON_AN_IMAGE = 25


def memory(bench: Bench) -> Iterator[Figure]:
    """Analyses live and die, are looked at and exported, and some of what is asked is refused.

    On PostgreSQL; what a worker keeps does not come from its database, so a tenth has to do for SQLite.
    """
    if not bench.loupe.cookie or not bench.renew or not bench.servers:
        raise Skipped("it needs a person's session and a new worker")
    bench.loupe.connection.close()
    watch = bench.watches["loupe"] = bench.renew("loupe")
    wanted = bench.sizes.mixed // (1 if bench.servers.database_pids else 10)
    lives = max(1, wanted // (AT_ONCE * REQUESTS))
    _live(bench, 1)  # each of them once: what is loaded and made once is there
    start = watch.reset_peak()
    _live(bench, lives)
    grown, peak = watch.resident() - start, watch.peak() - start
    figure = Figure(f"memory grown by {lives * AT_ONCE * REQUESTS:,} mixed requests", MEGABYTES)
    figure.add("loupe", grown / MB)
    figure.more |= {"start_mb": round(start / MB, 1), "peak_grown_mb": round(peak / MB, 1)}
    yield figure


def _live(bench: Bench, lives: int) -> None:
    """Each thread has a connection of its own, and leads so many lives one after the other."""
    failures: list[Exception] = []
    asked: list[int] = []
    images = [[bench.new_image() for _ in range(0, lives, LIVES_ON_AN_IMAGE)] for _ in range(AT_ONCE)]

    def work(images: list[str]) -> None:
        life = Life(bench)
        try:
            for number in range(lives):
                life.lead(images[number // LIVES_ON_AN_IMAGE])
                asked.append(life.asked)
        except Exception as failure:
            failures.append(failure)
        finally:
            life.connection.close()

    threads = [threading.Thread(target=work, args=(own,)) for own in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    raise_first(failures)
    expect("the requests of all lives", sum(asked), lives * AT_ONCE * REQUESTS)


class Life:
    """One analysis after the other, from its making to its export; every answer is checked."""

    def __init__(self, bench: Bench) -> None:
        self.loupe, self.project = bench.loupe, bench.project
        self.connection = Connection(self.loupe.url)
        self.asked = 0

    def lead(self, image: str) -> None:
        self.asked = 0
        wanted = {"model_name": "benchmark", "model_version": "1.0.0"}
        analysis = self.signed("POST", f"/api/images/{image}/analyses", wanted, 201).json(201)["id"]
        self.signed("PATCH", f"/api/analyses/{analysis}/status", {"status": "processing"})
        self.watch(image)
        self.write(f"/api/analyses/{analysis}")
        self.read(image, analysis)
        self.be_refused(analysis)
        expect("the requests of a life", self.asked, REQUESTS)

    def write(self, path: str) -> None:
        for first in (0, FOUND, FOUND):  # the last one again
            found = {"annotations": [bodies.box(rank) for rank in range(first, first + FOUND)]}
            self.signed("POST", f"{path}/annotations:bulk", found)
        self.signed("POST", f"{path}/artifacts/presign", {"artifact_type": "heatmap"})
        ending = {"status": "completed", "expected_annotations": 2 * FOUND}
        self.signed("POST", f"{path}/finalize", ending)

    def read(self, image: str, analysis: str) -> None:
        whole = self.ask(self.loupe.reading(f"/api/analyses/{analysis}")).json()
        expect("the annotations", len(whole["annotations"]), 2 * FOUND)
        for path in (
            *(f"/api/analyses/{analysis}/annotations?sort=-confidence", f"/api/images/{image}/analyses"),
            *(f"/api/analyses/{analysis}/export?format={form}" for form in ("json", "csv")),
            f"/api/projects/{self.project}/analyses",
        ):
            self.ask(self.loupe.reading(path))
        self.ask(self.loupe.page(f"/images/{image}/overlay"))
        self.ask(self.loupe.page(f"/images/{image}/hit?x=100&y=100"))

    def watch(self, image: str) -> None:
        """Somebody has the page open while it runs."""
        self.ask(self.loupe.page(f"/projects/{self.project}"))
        address = panel_address(self.ask(self.loupe.page(f"/images/{image}")))
        for _ in range(POLLS):
            self.ask(self.loupe.page(address), 204)

    def be_refused(self, analysis: str) -> None:
        path = f"/api/analyses/{analysis}"
        self.signed("POST", f"{path}/annotations:bulk", {"annotations": [{"annotation_type": "none"}]}, 422)
        self.signed("PATCH", f"{path}/status", {"status": "processing"}, 409)
        self.signed("PATCH", f"/api/analyses/{uuid4()}/status", {"status": "processing"}, 404)
        self.ask(self.loupe.signed("POST", f"{path}/finalize", b'{"status":'), 400)
        forged = replace(self.loupe, secret="none of the secrets of this server").signed("PATCH", path, b"{}")
        self.ask(replace(forged, path=f"{path}/status"), 401)
        self.ask(Request("GET", path), 401)
        self.ask(Request("GET", "/healthz"))
        self.ask(Request("GET", "/"), 303)

    def signed(self, method: str, path: str, value: Any, status: int = 200) -> Answer:
        return self.ask(self.loupe.signed(method, path, orjson.dumps(value)), status)

    def ask(self, request: Request, status: int = 200) -> Answer:
        answer = self.connection.send(request)
        self.asked += 1
        expect(f"the status of {request.method} {request.path}", answer.status, status)
        return answer
