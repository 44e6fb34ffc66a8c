"""What `make bench` does: for each database, Loupe and the bare baseline side by side on one core, then the driver.

    python -m benchmarks.run [--quick] [--database postgresql sqlite] [--only bulk export …] [--markdown FILE]
                             [--check]

JSON goes to standard output, progress and tables to standard error. One wrong answer ends the run without a figure.
The floors that --check asks about are those of PostgreSQL; --quick holds nothing against them.
"""

import argparse
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.floors import floors
from benchmarks.load import add_common, add_markdown, measure, names_of, report, sizes_of
from benchmarks.serve import CLIENT_CORE, OWNER, ROOT, Servers, served
from benchmarks.views import sign_in
from benchmarks.watch import CORES, pin, unpin
from benchmarks.wire import Wrong

PACKAGES = ("Flask", "SQLAlchemy", "marshmallow", "orjson", "psycopg", "gunicorn")


def run(kind: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of one database."""
    print(f"{kind}:", file=sys.stderr, flush=True)
    with served(kind) as servers:
        watches = {name: servers.start(name) for name in ("loupe", "baseline")}
        targets = [servers.target(name) for name in ("loupe", "baseline")]
        sign_in(targets[0], OWNER, servers.password)
        bench = Bench(targets, servers.project, sizes_of(arguments), watches, servers.renew, servers)
        try:
            figures = measure(bench, names_of(arguments))
        finally:
            for target in targets:
                target.connection.close()
        about = machine() | {"database": database(kind, servers)}
    held = floors(figures) if kind == "postgresql" and not arguments.quick else []
    return {"about": about, "figures": figures, "floors": held}


def database(kind: str, servers: Servers) -> str:
    if kind == "sqlite":
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"
    import psycopg

    with psycopg.connect(servers.environ["DATABASE_URL"].replace("+psycopg", "")) as connection:
        found = connection.info.server_version
    return f"PostgreSQL {found // 10000}.{found % 10000}"


def machine() -> dict[str, Any]:
    """What the figures were taken on; nothing that names the machine."""
    return {
        "taken_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "commit": git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else ""),
        "processor": processor(),
        "cores": len(CORES),
        "pinned": "server and database on one core, driver on another"
        if len(CORES) > 1
        else "one core for all",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def git(*words: str) -> str:
    """What git prints; nothing where there is no git or no repository."""
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure Loupe beside a bare baseline, on both databases.")
    kinds = ("postgresql", "sqlite")
    parser.add_argument("--database", nargs="+", choices=kinds, default=list(kinds))
    add_common(parser)
    add_markdown(parser)
    arguments = parser.parse_args(words)
    pin(CLIENT_CORE)
    try:
        runs = [run(kind, arguments) for kind in arguments.database]
    except Wrong as reason:
        print(f"No figures: {reason}", file=sys.stderr)
        return 1
    finally:
        unpin()
    return report(runs, arguments)


if __name__ == "__main__":
    sys.exit(main())
