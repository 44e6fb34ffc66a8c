"""The load driver: speaks HTTP to a server that runs already, and prints what it saw as JSON.

    LOUPE_URL=… ML_CALLBACK_HMAC_SECRET=… API_KEY=… python -m benchmarks.load --project {id}

The key is that of somebody who may edit the project; images and analyses are made there, so take one made for it.
`--pid` names gunicorn's master on this machine, whose memory is then watched. Every answer is checked, and one
wrong answer ends the run without a figure. What needs more than the server gives is skipped, and standard error says
why: with --check it is a failure where --only names it. `make bench` starts servers of its own and does not need this
command.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from benchmarks.bench import QUICK, Bench, Sizes
from benchmarks.figures import markdown, remarks, table
from benchmarks.floors import floors, missing
from benchmarks.measures import MEASURES
from benchmarks.watch import Watch
from benchmarks.wire import Skipped, Target, Wrong


def measure(
    bench: Bench, names: Iterable[str] = MEASURES, skipped: dict[str, str] | None = None
) -> dict[str, dict[str, Any]]:
    """The figures by name. Raises Wrong at the first answer that is not right, and where a measure gives no figure.

    Measures that this server cannot give go to `skipped` with the reason, where there is one.
    """
    figures: dict[str, dict[str, Any]] = {}
    for name in names:
        try:
            figures |= _figures(name, bench)
        except Skipped as reason:
            if skipped is None:
                raise Wrong(f"{name} gives no figure: {reason}") from reason
            print(f"  {name} skipped: {reason}", file=sys.stderr, flush=True)
            skipped[name] = str(reason)
    return figures


def _figures(name: str, bench: Bench) -> dict[str, dict[str, Any]]:
    found = {}
    for figure in MEASURES[name](bench):
        print(f"  {figure.name} …", file=sys.stderr, flush=True)
        found[figure.name] = figure.out()
    if not found:
        raise Wrong(f"{name} gives no figure")
    return found


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options this command shares with benchmarks.run and benchmarks.large."""
    parser.add_argument("--quick", action="store_true", help="a smoke run with small numbers")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=[], metavar="MEASURE")
    parser.add_argument("--requests", type=int, help="so many for the measure `memory`, not 12,000")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a floor is not met")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")


def add_markdown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--markdown", type=Path, help="also write the tables of docs/performance.md to this file"
    )


def names_of(arguments: argparse.Namespace) -> list[str]:
    """The measures asked for: those of --only, else all."""
    return arguments.only or list(MEASURES)


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    sizes = QUICK if arguments.quick else Sizes()
    return replace(sizes, mixed=arguments.requests) if arguments.requests else sizes


def report(runs: list[dict[str, Any]], arguments: argparse.Namespace) -> int:
    """JSON to standard output, a table for each run to standard error, and the files that were asked for.

    The status to exit with: 1 when a floor is not met and --check asks about it.
    """
    text = orjson.dumps({"runs": runs}, option=orjson.OPT_INDENT_2).decode()
    print(text)
    for run in runs:
        print(f"\n{run['about'].get('database', run['about'].get('url'))}", file=sys.stderr)
        print(table(run["figures"]), *remarks(run), sep="\n", file=sys.stderr)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    if arguments.markdown:
        arguments.markdown.write_text("\n".join(markdown(run) for run in runs))
    below = [floor["what"] for run in runs for floor in run["floors"] if not floor["met"]]
    if arguments.check and below:
        print("Below the floor: " + ", ".join(below) + ".", file=sys.stderr)
        return 1
    return 0


def read_arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure a server that runs already.")
    parser.add_argument("--url", default=os.environ.get("LOUPE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--project", required=True, help="the id of the project to work in")
    parser.add_argument("--pid", type=int, help="gunicorn's master, to watch its memory")
    add_common(parser)
    add_markdown(parser)
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    arguments = read_arguments(words)
    secret, key = os.environ.get("ML_CALLBACK_HMAC_SECRET", "").split(",")[0], os.environ.get("API_KEY", "")
    if not secret or not key:
        print("ML_CALLBACK_HMAC_SECRET and API_KEY must be set", file=sys.stderr)
        return 2
    target = Target("loupe", arguments.url.rstrip("/"), secret.strip(), key)
    watches = {"loupe": Watch(arguments.pid)} if arguments.pid else {}
    bench, skipped = Bench([target], arguments.project, sizes_of(arguments), watches), dict[str, str]()
    try:
        figures = measure(bench, names_of(arguments), skipped)
    except Wrong as reason:
        print(f"No figures: {reason}", file=sys.stderr)
        return 1
    finally:
        target.connection.close()
    held = floors(figures) + [missing(name) for name in arguments.only if name in skipped]
    return report([{"about": {"url": target.url}, "figures": figures, "floors": held}], arguments)


if __name__ == "__main__":
    sys.exit(main())
