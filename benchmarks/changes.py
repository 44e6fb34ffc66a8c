"""Small signed requests, each beside a bare route that writes one row: status, heartbeat, presign, finalize.

One kept-alive connection to each server, by turns; every answer is checked, and what was asked for is there afterwards.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson

from benchmarks.bench import Bench, timed
from benchmarks.figures import MILLISECONDS, Figure
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

    yield _by_turns(bench, "PATCH status", ask, _says("status", "processing"))
    _check_statuses(bench, changed, "processing")


def finalize(bench: Bench) -> Iterator[Figure]:
    """POST …/finalize, each of another analysis without annotations."""
    made = iter(_enough(bench))
    ended: list[str] = []

    def ask(target: Target) -> Request:
        ended.append(next(made))
        return target.signed("POST", f"/api/analyses/{ended[-1]}/finalize", b'{"status":"completed"}')

    yield _by_turns(bench, "finalize", ask, _says("status", "completed"))
    _check_statuses(bench, ended, "completed")


def keep(bench: Bench) -> Iterator[Figure]:
    """POST …/heartbeat of one lease for each server."""
    leased = {target.name: _leased(bench) for target in bench.targets}

    def ask(target: Target) -> Request:
        analysis, token = leased[target.name]
        request = target.signed("POST", f"/api/analyses/{analysis}/heartbeat", b"{}")
        return replace(request, headers={**request.headers, "X-ML-Lease-Token": token})

    seen: list[str] = []

    def check(target: Target, said: dict[str, Any]) -> None:
        if target is bench.loupe:
            expect("canceled", said["cancel_requested"], False)
            seen.append(said["lease_expires_at"])

    yield _by_turns(bench, "heartbeat", ask, check)
    expect("leases that ended later each time", seen, sorted(set(seen)))


def presign(bench: Bench) -> Iterator[Figure]:
    """POST …/artifacts/presign, each of another file of one running analysis for each server."""
    running = {target.name: _running(bench) for target in bench.targets}
    numbers = iter(range(10**9))
    wanted = ""

    def ask(target: Target) -> Request:
        nonlocal wanted
        analysis = running[target.name]
        name = f"heat-{next(numbers)}.png"
        wanted = f"ml_outputs/{analysis}/{name}"
        body = orjson.dumps({"artifact_type": "heatmap", "filename": name})
        return target.signed("POST", f"/api/analyses/{analysis}/artifacts/presign", body)

    def check(_target: Target, said: dict[str, Any]) -> None:
        expect("path", said["storage_path"], wanted)
        expect("the address has the path", wanted in said["upload_url"], True)

    yield _by_turns(bench, "presign", ask, check)


def _by_turns(bench: Bench, name: str, ask: Ask, check: Check) -> Figure:
    figure = Figure(name, MILLISECONDS)
    for number in range(WARM_UP + bench.sizes.small):
        for target in bench.targets:
            taken, answer = timed(target, ask(target))
            check(target, answer.json())
            if number >= WARM_UP:
                figure.add(target.name, taken * 1000)
    return figure


def _enough(bench: Bench) -> list[str]:
    return bench.new_analyses((WARM_UP + bench.sizes.small) * len(bench.targets))


def _running(bench: Bench) -> str:
    (analysis,) = bench.new_analyses(1)
    bench.loupe.send("PATCH", f"/api/analyses/{analysis}/status", {"status": "processing"})
    return analysis


def _leased(bench: Bench) -> tuple[str, str]:
    """An analysis and the token of its lease. Raises Skipped where nothing can be claimed."""
    (analysis,) = bench.new_analyses(1)
    wanted = orjson.dumps({"worker_id": "benchmark", "lease_seconds": HELD_SECONDS})
    claim = bench.loupe.signed("POST", f"/api/analyses/{analysis}/claim", wanted)
    answer = bench.loupe.connection.send(claim)
    if answer.status == 404:
        raise Skipped("claiming is switched off on this server (ML_PIPELINE_PULL_ENABLED)")
    return analysis, answer.json()["lease_token"]


def _says(name: str, value: str) -> Check:
    def check(_target: Target, said: dict[str, Any]) -> None:
        expect(f"{name} answered", said[name], value)

    return check


def _check_statuses(bench: Bench, analyses: list[str], status: str) -> None:
    for analysis in analyses:
        expect("status", bench.loupe.read(f"/api/analyses/{analysis}")["status"], status)
