"""Small signed requests, each beside a bare route that writes one row: status, heartbeat, presign, finalize.

One kept-alive connection to each server, by turns; every answer is checked, and what was asked for is there afterwards.
The bare route writes in a transaction, and once more in autocommit.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import orjson

from benchmarks import bodies
from benchmarks.baseline.bare import AUTOCOMMIT
from benchmarks.bench import Bench, timed
from benchmarks.figures import MILLISECONDS, Figure
from benchmarks.journey import put
from benchmarks.wire import Request, Skipped, Target, expect

WARM_UP = 20  # requests of each server that are not counted: statements are prepared, caches filled
HELD_SECONDS = 3600

Ask = Callable[[Target], Request]
Check = Callable[[Target, dict[str, Any]], None]


def change_status(bench: Bench) -> Iterator[Figure]:
    """PATCH from queued to processing, each of another analysis."""
    made = iter(_enough(bench))
    changed: list[str] = []

    def ask(target: Target) -> Request:
        changed.append(next(made))
        return target.signed("PATCH", f"/api/analyses/{changed[-1]}/status", b'{"status":"processing"}')

    figures = _by_turns(bench, "PATCH status", ask, _says("status", "processing"))
    _check_statuses(bench, changed, "processing")
    yield from figures


def finalize(bench: Bench) -> Iterator[Figure]:
    """POST …/finalize, each of another analysis without annotations."""
    made = iter(_enough(bench))
    ended: list[str] = []

    def ask(target: Target) -> Request:
        ended.append(next(made))
        return target.signed("POST", f"/api/analyses/{ended[-1]}/finalize", b'{"status":"completed"}')

    figures = _by_turns(bench, "finalize", ask, _says("status", "completed"))
    _check_statuses(bench, ended, "completed")
    yield from figures


def keep(bench: Bench) -> Iterator[Figure]:
    """POST …/heartbeat of one lease for each server."""
    leased = {target.name: _leased(bench) for target in bench.targets}

    def ask(target: Target) -> Request:
        analysis, token = leased[target.name]
        request = target.signed("POST", f"/api/analyses/{analysis}/heartbeat", b"{}")
        return replace(request, headers={**request.headers, "X-ML-Lease-Token": token})

    seen: dict[str, list[datetime]] = {target.name: [] for target in bench.targets}

    def check(target: Target, said: dict[str, Any]) -> None:
        seen[target.name].append(datetime.fromisoformat(said["lease_expires_at"]))
        if target is bench.loupe:
            expect("canceled", said["cancel_requested"], False)

    figures = _by_turns(bench, "heartbeat", ask, check)
    for name, ends in seen.items():
        expect(f"leases of {name} that ended later each time", ends, sorted(set(ends)))
        stored = _claimed(bench, leased[name][0])["lease_expires_at"]
        expect(f"the stored end of the lease of {name}", datetime.fromisoformat(stored), ends[-1])
    yield from figures


def presign(bench: Bench) -> Iterator[Figure]:
    """POST …/artifacts/presign, each of another file of one running analysis for each server."""
    running = {target.name: _running(bench) for target in bench.targets}
    before = {name: _touched_at(bench, analysis) for name, analysis in running.items()}
    asked: dict[str, list[str]] = {target.name: [] for target in bench.targets}
    answers: dict[str, dict[str, Any]] = {}

    def ask(target: Target) -> Request:
        analysis, paths = running[target.name], asked[target.name]
        name = f"heat-{len(paths)}.png"
        paths.append(f"ml_outputs/{analysis}/{name}")
        body = orjson.dumps({"artifact_type": "heatmap", "filename": name})
        return target.signed("POST", f"/api/analyses/{analysis}/artifacts/presign", body)

    def check(target: Target, said: dict[str, Any]) -> None:
        wanted = asked[target.name][-1]
        expect("path", said["storage_path"], wanted)
        expect("the address has the path", wanted in said["upload_url"], True)
        answers[target.name] = said

    figures = _by_turns(bench, "presign", ask, check)
    put(answers["loupe"], bodies.heatmap())
    _check_artifacts(bench, running["loupe"], asked["loupe"])
    for name in running.keys() - {"loupe"}:
        expect(f"{name} has changed its row", _touched_at(bench, running[name]) > before[name], True)
    yield from figures


def _check_artifacts(bench: Bench, analysis: str, paths: list[str]) -> None:
    """All are announced, and what was put at the last address lies there."""
    listed = bench.loupe.read(f"/api/analyses/{analysis}/export?format=json")["artifacts"]
    states = dict.fromkeys(paths, "pending") | {paths[-1]: "present"}
    expect("the artifacts", {one["path"]: one["state"] for one in listed}, states)


def _touched_at(bench: Bench, analysis: str) -> datetime:
    return datetime.fromisoformat(bench.loupe.read(f"/api/analyses/{analysis}")["updated_at"])


def _by_turns(bench: Bench, name: str, ask: Ask, check: Check) -> list[Figure]:
    """Beside a route with a transaction, and beside the same in autocommit, for which no floor is set."""
    figures = [Figure(name, MILLISECONDS), Figure(f"beside autocommit: {name}", MILLISECONDS)]
    if len(bench.targets) == 1:
        del figures[1]
    for number in range(WARM_UP + bench.sizes.small):
        for figure, more in zip(figures, ({}, {AUTOCOMMIT: "1"}), strict=False):
            for target in bench.targets:
                request = ask(target)
                taken, answer = timed(target, replace(request, headers={**request.headers, **more}))
                check(target, answer.json())
                if number >= WARM_UP:
                    figure.add(target.name, taken * 1000)
    return figures


def _enough(bench: Bench) -> list[str]:
    return bench.new_analyses((WARM_UP + bench.sizes.small) * 2 * len(bench.targets))


def _running(bench: Bench) -> str:
    (analysis,) = bench.new_analyses(1)
    bench.loupe.send("PATCH", f"/api/analyses/{analysis}/status", {"status": "processing"})
    return analysis


def _leased(bench: Bench) -> tuple[str, str]:
    """An analysis and the token of its lease."""
    (analysis,) = bench.new_analyses(1)
    return analysis, _claimed(bench, analysis)["lease_token"]


def _claimed(bench: Bench, analysis: str) -> dict[str, Any]:
    """The analysis with its lease; once more, the same lease as it is stored, whichever server has changed it. Raises
    Skipped where nothing can be claimed."""
    wanted = orjson.dumps({"worker_id": "benchmark", "lease_seconds": HELD_SECONDS})
    claim = bench.loupe.signed("POST", f"/api/analyses/{analysis}/claim", wanted)
    answer = bench.loupe.connection.send(claim)
    if answer.status == 404:
        raise Skipped("claiming is switched off on this server (ML_PIPELINE_PULL_ENABLED)")
    leased: dict[str, Any] = answer.json()
    return leased


def _says(name: str, value: str) -> Check:
    def check(_target: Target, said: dict[str, Any]) -> None:
        expect(f"{name} answered", said[name], value)

    return check


def _check_statuses(bench: Bench, analyses: list[str], status: str) -> None:
    for analysis in analyses:
        expect("status", bench.loupe.read(f"/api/analyses/{analysis}")["status"], status)
