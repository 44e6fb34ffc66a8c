"""What `make bench-large` does: the measures of `make bench` on PostgreSQL, by turns over an empty database and over a
large one, and how many times as long each takes in the large one.

    python -m benchmarks.large [--annotations N] [--analyses N] [--growth N] [--quick] [--only bulk …] [--output FILE]
                               [--check]

Ten million annotations and a million analyses take some 10 GB in the folder of temporary files, and three to five
minutes to be written; all of it takes seven to twelve. JSON goes to standard output, progress and a table to standard
error. What --check asks about: nothing takes a fifth longer in the large one; there the lists of the large project,
what a worker keeps and how far an export makes it grow are held by the floors of floors.py, and an analysis that grows
to a million stays flat.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import create_engine, text

from benchmarks.bench import Bench, Sizes
from benchmarks.crowd import Crowd
from benchmarks.figures import MILLISECONDS, RATE, number
from benchmarks.floors import floors, floors_of_growth
from benchmarks.lists import make, read, settle
from benchmarks.load import add_common, measure, names_of, sizes_of
from benchmarks.run import database, machine
from benchmarks.serve import CLIENT_CORE, OWNER, Servers, served
from benchmarks.viewer.boxes import fill
from benchmarks.views import sign_in
from benchmarks.watch import pin, unpin
from benchmarks.wire import Wrong, expect

EACH = 10_000  # annotations of one analysis, as many as `show` reads
BYTES = (
    1000,
    2500,
)  # of an annotation and of an analysis at the most, with indexes and the log of what is written
GROWTH_STEP = 5000  # annotations of a request for the analysis that grows to a million
SLOWER = 1.2  # times as long as in an empty database
PLACE = (1920, 1080)  # the frame of the boxes, in pixels


def grow(servers: Servers, annotations: int, analyses: int) -> tuple[Crowd, Crowd]:
    """Fills the database with every index as it is, and settles it as autovacuum would have."""
    began = time.monotonic()
    crowds = make(servers, analyses, salt=2)
    say(f"{analyses:,} analyses written in {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    engine = create_engine(servers.environ["DATABASE_URL"])
    for one, first in zip(crowds[0].analyses, range(0, annotations, EACH), strict=False):
        with engine.begin() as connection:
            fill(connection, UUID(one.id), min(EACH, annotations - first), *PLACE)
    settle(engine)
    wanted = {"ml_annotations": annotations, "ml_analyses": sum(len(crowd.analyses) for crowd in crowds)}
    for table, many in wanted.items():
        with engine.connect() as connection:
            found = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
        expect(f"the number of rows of {table}", found, many)
    engine.dispose()
    say(f"{annotations:,} annotations written in {time.monotonic() - began:.0f} s")
    return crowds


def compare(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of both databases by name, and those that only the large one has."""
    sizes = sizes_of(arguments)
    with ExitStack() as stack:
        empty, large = (stack.enter_context(served("postgresql")) for _ in range(2))
        crowds = grow(large, arguments.annotations, arguments.analyses)
        benches = {name: _bench(servers, sizes) for name, servers in (("empty", empty), ("large", large))}
        figures: dict[str, dict[str, Any]] = {name: {} for name in benches}
        for name in names_of(arguments):
            for where, bench in benches.items():
                say(f"{name}, {where}:")
                figures[where] |= measure(bench, [name])
        only_large = {
            figure.name: figure.out() for figure in read(benches["large"], large, arguments.analyses, crowds)
        }
        if "growth" in names_of(arguments):
            say("growth, one analysis:")
            only_large |= measure(grown(benches["large"], arguments.growth), ["growth"])
        for bench in benches.values():
            bench.loupe.connection.close()
        about = machine() | {"database": database("postgresql", large)}
    return {"about": about, **figures, "only in the large one": only_large, **held(figures, only_large)}


def _bench(servers: Servers, sizes: Sizes) -> Bench:
    watch, target = servers.start("loupe"), servers.target("loupe")
    sign_in(target, OWNER, servers.password)
    return Bench([target], servers.project, sizes, {"loupe": watch}, servers.renew, servers)


def grown(bench: Bench, count: int) -> Bench:
    """The same for one analysis that grows once to so many annotations, in ten steps or more."""
    step = min(GROWTH_STEP, max(1, count // 10))
    sizes = replace(bench.sizes, growth=count // step * step, growth_step=step, long_repeats=1)
    return replace(bench, sizes=sizes)


def held(figures: dict[str, dict[str, Any]], only_large: dict[str, Any]) -> dict[str, Any]:
    """`ratios` by the name of what takes time, and `floors` of all else, and of the memory that exports take."""
    ratios = {
        name: ratio(figure, figures["large"][name])
        for name, figure in figures["empty"].items()
        if figure["unit"] in (RATE, MILLISECONDS)
    }
    timed = {name: figure for name, figure in figures["large"].items() if name in ratios}
    without = {name: figure for name, figure in figures["large"].items() if name not in ratios}
    return {"ratios": ratios, "floors": [*floors_of_growth(timed), *floors(without | only_large)]}


def ratio(empty: dict[str, Any], large: dict[str, Any]) -> float:
    """How many times as long it takes in the large one."""
    one, other = empty["loupe"]["median"], large["loupe"]["median"]
    return float(round(one / other if empty["unit"] == RATE else other / one, 2))


def show(found: dict[str, Any]) -> None:
    for name, times in found["ratios"].items():
        medians = [number(found[where][name]["loupe"]["median"]) for where in ("empty", "large")]
        unit = found["empty"][name]["unit"]
        say(f"{name.ljust(52)} {unit.rjust(13)} {medians[0].rjust(9)} {medians[1].rjust(9)}  × {times:.2f}")
    without = {name: figure for name, figure in found["large"].items() if name not in found["ratios"]}
    for name, figure in (without | found["only in the large one"]).items():
        spread = figure["loupe"]
        median = number(spread["median"]).rjust(19)
        say(f"{name.ljust(52)} {figure['unit'].rjust(13)} {median}  to {number(spread['max'])}")
    for floor in found["floors"]:
        say(f"Floor: {floor['what']}, {floor['wanted']}. {'Met' if floor['met'] else 'NOT MET'}.")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def has_room(annotations: int, analyses: int) -> bool:
    wanted = annotations * BYTES[0] + analyses * BYTES[1]
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < wanted:
        say(
            f"{tempfile.gettempdir()} has {free / 1e9:.1f} GB free, and {wanted / 1e9:.1f} may be needed: set TMPDIR."
        )
    return free >= wanted


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure Loupe over a large database beside an empty one.")
    parser.add_argument("--annotations", type=int, default=10_000_000)
    parser.add_argument("--analyses", type=int, default=1_000_000)
    parser.add_argument(
        "--growth", type=int, default=1_000_000, help="annotations of one analysis that grows"
    )
    add_common(parser)
    arguments = parser.parse_args(words)
    if not has_room(arguments.annotations + arguments.growth, arguments.analyses):
        return 2
    pin(CLIENT_CORE)
    try:
        found = compare(arguments)
    except Wrong as reason:
        say(f"No figures: {reason}")
        return 1
    finally:
        unpin()
    text = orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
    print(text)
    show(found)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    slower = [name for name, times in found["ratios"].items() if times > SLOWER]
    if slower:
        say(f"Slower by more than a fifth: {', '.join(slower)}.")
    below = [floor["what"] for floor in found["floors"] if not floor["met"]]
    if below:
        say(f"Below the floor: {', '.join(below)}.")
    return 1 if arguments.check and (slower or below) else 0


if __name__ == "__main__":
    sys.exit(main())
