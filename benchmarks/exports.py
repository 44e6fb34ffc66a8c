"""The export of a large analysis: how long, and how much memory the serving process takes for it at most."""

import csv
import io
from collections.abc import Iterator
from typing import Any

import orjson

from benchmarks import bodies
from benchmarks.bench import Bench, timed
from benchmarks.figures import MILLISECONDS, Figure
from benchmarks.wire import Answer, Target, expect

SMALL = 1000
MB = 1_000_000


def export(bench: Bench) -> Iterator[Figure]:
    count = bench.sizes.exported
    few = min(SMALL, count)
    small, large = (bench.filled_analysis(number) for number in (few, count))
    wanted = bodies.expected(few), bodies.expected(count)
    for form in ("json", "csv"):
        figure = Figure(f"export of {count:,} as {form.upper()}", MILLISECONDS)
        # per target rather than by turns: its peak is that of all its samples
        for target in bench.targets:
            _export(bench, figure, target, form, small, large, wanted)
        yield figure


def _export(
    bench: Bench,
    figure: Figure,
    target: Target,
    form: str,
    small: str,
    large: str,
    wanted: tuple[bodies.Summary, bodies.Summary],
) -> None:
    """A new process that has exported a small analysis once is what growth is counted from.

    An old one has room left over from bulk requests, in which an export could grow unseen.
    """
    if bench.renew:
        target.connection.close()
        bench.watches[target.name] = bench.renew(target.name)
    watch = bench.watches.get(target.name)
    before = target.connection.send(_request(target, small, form))
    expect("what was exported first", bodies.summary(exported(before, form)), wanted[0])
    resident = watch.reset_peak() if watch else 0
    answers = []
    for _ in range(bench.sizes.long_repeats):
        taken, answer = timed(target, _request(target, large, form))
        figure.add(target.name, taken * 1000)
        answers.append(answer)
    if watch:
        peak = watch.peak()
        figure.more.setdefault("peak_growth_mb", {})[target.name] = round((peak - resident) / MB, 1)
        figure.more.setdefault("peak_mb", {})[target.name] = round(peak / MB, 1)
    for answer in answers:
        expect("what was exported", bodies.summary(exported(answer, form)), wanted[1])
    figure.more.setdefault("bytes", {})[target.name] = len(answers[0].body)


def _request(target: Target, analysis: str, form: str) -> Any:
    return target.reading(f"/api/analyses/{analysis}/export?format={form}")


def exported(answer: Answer, form: str) -> list[dict[str, Any]]:
    """The annotations of an export. Raises Wrong when the answer is none."""
    if form == "json":
        whole = answer.json()
        expect("annotation_count", whole["annotation_count"], len(whole["annotations"]))
        return list(whole["annotations"])
    expect("status of the export", answer.status, 200)
    lines = csv.DictReader(io.StringIO(answer.body.decode(), newline=""))
    return [line | {"data": orjson.loads(line["data_json"])} for line in lines]
