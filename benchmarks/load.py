"""The load driver: speaks HTTP to a server that runs already, and prints what it saw as JSON.

    LOUPE_URL=… ML_CALLBACK_HMAC_SECRET=… API_KEY=… python -m benchmarks.load --project {id}

The key is that of somebody who may edit the project; images and analyses are made there, so take one made for it.
`--pid` names gunicorn's master on this machine, whose memory is then watched. Every answer is checked, and one
wrong answer ends the run without a figure. `make bench` starts servers of its own and does not need this command.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from benchmarks.bench import QUICK, Bench, Sizes
from benchmarks.figures import markdown, remarks, table
from benchmarks.floors import floors
from benchmarks.measures import MEASURES
from benchmarks.watch import Watch
from benchmarks.wire import Target, Wrong


def measure(bench: Bench, names: Iterable[str] = MEASURES) -> dict[str, dict[str, Any]]:
    """The figures by name. Raises Wrong at the first answer that is not right."""
    figures = {}
    for name in names:
        for figure in MEASURES[name](bench):
            print(f"  {figure.name} …", file=sys.stderr, flush=True)
            figures[figure.name] = figure.out()
    return figures


def add_common(parser: argparse.ArgumentParser) -> None:
    """The options this command shares with benchmarks.run."""
    parser.add_argument("--quick", action="store_true", help="a smoke run with small numbers")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES), metavar="MEASURE")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a floor is not met")
    parser.add_argument("--output", type=Path, help="also write the JSON to this file")
    parser.add_argument(
        "--markdown", type=Path, help="also write the tables of docs/performance.md to this file"
    )


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    return QUICK if arguments.quick else Sizes()


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
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    arguments = read_arguments(words)
    secret, key = os.environ.get("ML_CALLBACK_HMAC_SECRET", "").split(",")[0], os.environ.get("API_KEY", "")
    if not secret or not key:
        print("ML_CALLBACK_HMAC_SECRET and API_KEY must be set", file=sys.stderr)
        return 2
    target = Target("loupe", arguments.url.rstrip("/"), secret.strip(), key)
    watches = {"loupe": Watch(arguments.pid)} if arguments.pid else {}
    try:
        figures = measure(Bench([target], arguments.project, sizes_of(arguments), watches), arguments.only)
    except Wrong as reason:
        print(f"No figures: {reason}", file=sys.stderr)
        return 1
    finally:
        target.connection.close()
    return report([{"about": {"url": target.url}, "figures": figures, "floors": floors(figures)}], arguments)


if __name__ == "__main__":
    sys.exit(main())
