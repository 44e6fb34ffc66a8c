"""What `make bench-viewer` does: Loupe on both cores, and a real Chromium without a GPU that looks at its image page.

    python -m benchmarks.viewer [--quick] [--database postgresql sqlite] [--boxes 10000 …] [--no-demo] [--repeats N]
                                [--check] [--output FILE] [--markdown FILE]

JSON goes to standard output, progress and tables to standard error. What is counted is in looking.py. A page that does
not draw what it was asked for, or does not move, ends the run without a figure. Needs requirements-dev.txt, Chromium,
and the environment of the example pipeline.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from playwright.sync_api import Browser

from benchmarks.bench import Bench
from benchmarks.run import database, machine
from benchmarks.serve import OWNER, served
from benchmarks.viewer.looking import Looker
from benchmarks.viewer.measuring import Measuring
from benchmarks.viewer.subjects import DEMO, subjects
from benchmarks.viewer.tables import floors, markdown, remarks, table
from benchmarks.wire import Wrong
from tests.support.browser import WITH_WINDOWS, executable, launched

COUNTS, QUICK_COUNTS = [10_000, 100_000, 1_000_000], [10_000]
REPEATS, QUICK_REPEATS = 5, 2
WORKERS = 2


def run(kind: str, browser: Browser, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures over one database."""
    say(f"{kind}:")
    with served(kind, workers=WORKERS, core=None) as servers:
        servers.start("loupe")
        bench = Bench([servers.target("loupe")], servers.project)
        looker = Looker(browser, bench.loupe.url, OWNER, servers.password)
        measuring = Measuring(servers, looker, arguments.repeats)
        figures = {}
        with contextlib.closing(bench.loupe.connection):
            for subject in subjects(bench, servers, arguments.demo, arguments.boxes):
                say(f"  {subject.name} …")
                figures[subject.name] = measuring.figures(subject)
                bench.loupe.connection.close()  # it was to a process that is gone
        about = machine() | {"database": database(kind, servers), "chromium": browser.version}
    about["pinned"] = "nothing: servers, database and browser on all cores"
    return {"about": about, "figures": figures, "floors": floors(figures)}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    path = executable(WITH_WINDOWS) or executable()  # people's browsers have windows
    if path is None:
        raise Wrong("there is no Chromium on the path")
    with launched(path) as browser:
        yield browser


def read_arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.viewer", description="Measure the image page in Chromium."
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: the 3,600 boxes of the demo, and 10,000"
    )
    parser.add_argument("--database", nargs="+", choices=("postgresql", "sqlite"), default=["postgresql"])
    parser.add_argument(
        "--boxes", nargs="*", type=int, metavar="COUNT", help="how many boxes, instead of the usual"
    )
    parser.add_argument("--no-demo", action="store_true", help="without the pictures of the demo")
    parser.add_argument("--repeats", type=int, help="how often each page is opened and each analysis chosen")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a floor is not met")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    parser.add_argument(
        "--markdown", type=Path, help="also write the tables of docs/performance.md to this file"
    )
    arguments = parser.parse_args(words)
    names, counts, repeats = list(DEMO), COUNTS, REPEATS
    if arguments.quick:
        names, counts, repeats = names[:1], QUICK_COUNTS, QUICK_REPEATS
    arguments.demo = [] if arguments.no_demo else names
    arguments.boxes = counts if arguments.boxes is None else arguments.boxes
    arguments.repeats = arguments.repeats or repeats
    return arguments


def report(runs: list[dict[str, Any]], arguments: argparse.Namespace) -> int:
    """The status to exit with: 1 when a floor is not met and --check asks about it."""
    text = orjson.dumps({"runs": runs}, option=orjson.OPT_INDENT_2).decode()
    print(text)
    for one in runs:
        say("\n".join([f"\n{one['about']['database']}", table(one["figures"]), *remarks(one)]))
    if arguments.output:
        arguments.output.write_text(text + "\n")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(map(markdown, runs)))
    missed = [floor["what"] for one in runs for floor in one["floors"] if not floor["met"]]
    if arguments.check and missed:
        say("Not within the floor: " + ", ".join(missed) + ".")
        return 1
    return 0


def main(words: list[str] | None = None) -> int:
    arguments = read_arguments(words)
    try:
        with chromium() as browser:
            runs = [run(kind, browser, arguments) for kind in arguments.database]
    except Wrong as reason:
        say(f"No figures: {reason}")
        return 1
    return report(runs, arguments)


if __name__ == "__main__":
    sys.exit(main())
