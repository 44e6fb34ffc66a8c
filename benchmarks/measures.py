"""The measures: each yields its figures, and checks every answer before it counts for anything."""

import statistics
from collections.abc import Callable, Iterator

from benchmarks import bodies, changes
from benchmarks.bench import Bench, Burst, bulk_requests, timed, together
from benchmarks.exports import export
from benchmarks.figures import MILLISECONDS, RATE, Figure
from benchmarks.journey import pipeline_run
from benchmarks.lists import lists
from benchmarks.memory import memory
from benchmarks.views import overlay, poll
from benchmarks.wire import Answer, Target, expect

FLAT = 0.9  # the last tenth of a growing analysis runs at least at this part of the first


def bulk(bench: Bench) -> Iterator[Figure]:
    for size in bench.sizes.bulk:
        for connections in bench.sizes.connections:
            yield _bulk(bench, size, connections)
    for size in bench.sizes.bulk_alone:
        yield _bulk(bench, size, 1)


def _bulk(bench: Bench, size: int, connections: int) -> Figure:
    """Annotations stored in a second, `size` a request, each connection into an analysis of its own."""
    figure = Figure(f"bulk {size:,} × {connections}", RATE)
    each = max(1, bench.sizes.sample // (size * connections)) * size
    shares, busy = [], dict.fromkeys((target.name for target in bench.targets), 0.0)
    for _ in range(bench.sizes.repeats):
        for target in bench.targets:
            analyses = bench.new_analyses(connections)
            queues = [list(bulk_requests(target, analysis, each, size)) for analysis in analyses]
            watch = bench.watches.get(target.name)
            before = watch.busy_seconds() if watch else 0.0
            burst = together(target.url, queues)
            busy[target.name] += watch.busy_seconds() - before if watch else 0.0
            _check_receipts(burst, size, target)
            for analysis in analyses:
                bench.check_total(analysis, each)
            figure.add(target.name, each * connections / burst.seconds)
            shares.append(burst.client_share)
    figure.more["client_share"] = round(max(shares), 3)
    if bench.watches:
        stored = each * connections * bench.sizes.repeats
        figure.more["server_microseconds_each"] = {
            name: round(spent * 1e6 / stored, 1) for name, spent in busy.items()
        }
    return figure


def _check_receipts(burst: Burst, size: int, target: Target) -> None:
    for answers in burst.answers:
        for number, answer in enumerate(answers):
            _check_receipt(answer, size, size * (number + 1), target)


def _check_receipt(answer: Answer, size: int, total: int, target: Target) -> None:
    receipt = answer.json()
    expect("inserted", receipt["inserted"], size)
    if target.name == "loupe":  # the baseline counts nothing
        expect("total", receipt.get("total"), total)


def growth(bench: Bench) -> Iterator[Figure]:
    """One analysis from nothing to its full size: does a request cost more, the more there is already?"""
    count, step = bench.sizes.growth, bench.sizes.growth_step
    figure = Figure(f"growth to {count:,}", RATE)
    rates: dict[str, list[list[float]]] = {}
    for _ in range(bench.sizes.long_repeats):
        for target in bench.targets:
            (analysis,) = bench.new_analyses(1)
            seconds = []
            for number, request in enumerate(bulk_requests(target, analysis, count, step)):
                taken, answer = timed(target, request)
                _check_receipt(answer, step, step * (number + 1), target)
                seconds.append(taken)
            bench.check_total(analysis, count)
            figure.add(target.name, count / sum(seconds))
            rates.setdefault(target.name, []).append([step / taken for taken in seconds])
    steps = [round(statistics.median(at), 1) for at in zip(*rates["loupe"], strict=True)]
    tenth = max(1, len(steps) // 10)
    first, last = statistics.median(steps[:tenth]), statistics.median(steps[-tenth:])
    figure.more |= {"steps": steps, "first_tenth": first, "last_tenth": last}
    figure.more |= {"last_to_first": round(last / first, 3), "flat": last / first >= FLAT}
    yield figure


def show(bench: Bench) -> Iterator[Figure]:
    """GET of an analysis with all its annotations."""
    count = bench.sizes.shown
    figure = Figure(f"GET analysis with {count:,}", MILLISECONDS)
    analysis, wanted = bench.filled_analysis(count), bodies.expected(count)
    for _ in range(bench.sizes.repeats):
        for target in bench.targets:
            taken, answer = timed(target, target.reading(f"/api/analyses/{analysis}"))
            expect("the analysis shown", bodies.summary(answer.json()["annotations"]), wanted)
            figure.add(target.name, taken * 1000)
    yield figure


def list_analyses(bench: Bench) -> Iterator[Figure]:
    """The list of an image with as many analyses as one may have."""
    count = bench.sizes.listed
    figure = Figure(f"list of {count} analyses", MILLISECONDS)
    made = bench.new_analyses(count)
    image = bench.loupe.read(f"/api/analyses/{made[0]}")["image_id"]
    for _ in range(bench.sizes.changes):
        taken, answer = timed(bench.loupe, bench.loupe.reading(f"/api/images/{image}/analyses"))
        page = answer.json()
        expect("total", page["total"], count)
        expect("the analyses listed", {one["id"] for one in page["analyses"]}, set(made))
        figure.add("loupe", taken * 1000)
    yield figure


MEASURES: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "bulk": bulk,
    "growth": growth,
    "show": show,
    "list": list_analyses,
    "lists": lists,
    "patch": changes.change_status,
    "export": export,
    "pipeline": pipeline_run,
    "heartbeat": changes.keep,
    "presign": changes.presign,
    "finalize": changes.finalize,
    "poll": poll,
    "overlay": overlay,
    "memory": memory,
}
