"""What `make bench-exports` does: a large analysis in every format and as a bundle, on both databases.

    python -m benchmarks.formats [--database postgresql sqlite] [--count 1000000] [--only json csv …]

For each format: seconds to the first byte and to the last, bytes, and how far the serving process grew at its peak.
Beside it the seconds that JSON and CSV of 100,000 take in one process, ours and row by row through the ORM. Tables in
Markdown go to standard output.
"""

import argparse
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson
from sqlalchemy import create_engine, text

from app.exports import FORMATS
from benchmarks.bench import QUICK, Bench
from benchmarks.run import database, machine
from benchmarks.serve import CLIENT_CORE, ROOT, SERVER_CORE, Servers, on_core, served
from benchmarks.watch import Watch, pin, unpin
from benchmarks.wire import Target, expect

BUNDLE = "bundle"
FORMS = (*FORMATS, BUNDLE)
NAIVE = {"json", "csv"}  # what is also written row by row
FILLED = 100_000
MB = 1_000_000
PLACE = "x_min, y_min, x_max, y_max"
COLUMNS = f"annotation_type, class_name, confidence, data, ordering, created_at, content_hash, {PLACE}"
NEW_ID = {"postgresql": "gen_random_uuid()", "sqlite": "lower(hex(randomblob(16)))"}


@dataclass(frozen=True)
class Taken:
    first: float
    seconds: float
    size: int
    growth: int


def run(kind: str, count: int, only: list[str]) -> Iterator[str]:
    """The lines of a database's tables."""
    with served(kind) as servers:
        watch, target = servers.start("loupe"), servers.target("loupe")
        bench = Bench([target], servers.project, QUICK, {"loupe": watch}, servers.renew)
        small, large = bench.filled_analysis(1000), bench.filled_analysis(FILLED)
        copies = max(1, count // FILLED)
        yield f"### {database(kind, servers)}, {copies * FILLED:,} annotations\n"
        if NAIVE & set(only or FORMS):
            yield from _ratios(servers, large)
        _multiply(kind, servers, large, copies)
        yield "| format | first byte, s | all of it, s | annotations a second | MB | grew at its peak, MB |"
        yield "|---|--:|--:|--:|--:|--:|"
        for form in only or FORMS:
            watch = servers.renew("loupe")
            taken = _take(servers.target("loupe"), watch, form, small, large)
            rate = copies * FILLED / taken.seconds
            sizes = f"{taken.size / MB:,.0f} | {taken.growth / MB:.1f}"
            yield f"| {form} | {taken.first:.2f} | {taken.seconds:.1f} | {rate:,.0f} | {sizes} |"
        yield ""


def _ratios(servers: Servers, analysis: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.naive", analysis]
    with on_core(SERVER_CORE):
        done = subprocess.run(command, cwd=ROOT, env=servers.environ, capture_output=True, check=True)
    yield "| 100,000 in one process | row by row through the ORM, s | as exported, s | share |"
    yield "|---|--:|--:|--:|"
    for form, (naive, ours) in orjson.loads(done.stdout).items():
        yield f"| {form} | {naive:.2f} | {ours:.2f} | {ours / naive:.2f} |"
    yield ""


def _multiply(kind: str, servers: Servers, analysis: str, copies: int) -> None:
    """The same annotations again, under names of their own, past the server: sending a million takes minutes."""
    engine = create_engine(servers.environ["DATABASE_URL"])
    analysis_id = analysis if kind == "postgresql" else analysis.replace("-", "")
    with engine.begin() as connection:
        for copy in range(1, copies):
            statement = (
                f"INSERT INTO ml_annotations (id, analysis_id, client_id, position, {COLUMNS}) "
                f"SELECT {NEW_ID[kind]}, analysis_id, client_id || '-{copy}', position + {copy * FILLED}, {COLUMNS} "
                f"FROM ml_annotations WHERE analysis_id = '{analysis_id}' AND position < {FILLED}"
            )
            connection.execute(text(statement))
        number = copies * FILLED
        changes = f"annotation_count = {number}, next_position = {number}, status = 'completed'"
        connection.execute(text(f"UPDATE ml_analyses SET {changes} WHERE id = '{analysis_id}'"))
    if kind == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE ml_annotations"))
    engine.dispose()


def _take(target: Target, watch: Watch, form: str, small: str, large: str) -> Taken:
    """A new process that has exported a small analysis once is what growth is counted from."""
    _read(target, small, form)
    resident = watch.reset_peak()
    first, seconds, size = _read(target, large, form)
    return Taken(first, seconds, size, watch.peak() - resident)


def _read(target: Target, analysis: str, form: str) -> tuple[float, float, int]:
    """Seconds to the first byte and to the last, and how many there were."""
    what = BUNDLE if form == BUNDLE else f"export?format={form}"
    asked = target.reading(f"/api/analyses/{analysis}/{what}")
    parts = urlsplit(target.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
    began = time.perf_counter()
    connection.request("GET", asked.path, headers=asked.headers)
    answer = connection.getresponse()
    expect("status of the export", answer.status, 200)
    size = len(answer.read(1))
    first = time.perf_counter() - began
    while piece := answer.read(256 * 1024):
        size += len(piece)
    connection.close()
    return first, time.perf_counter() - began, size


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the export of a large analysis in every format.")
    kinds = ("postgresql", "sqlite")
    parser.add_argument("--database", nargs="+", choices=kinds, default=list(kinds))
    parser.add_argument("--count", type=int, default=1_000_000, help="in steps of 100,000")
    parser.add_argument("--only", nargs="+", choices=FORMS, default=[])
    arguments = parser.parse_args(words)
    pin(CLIENT_CORE)
    try:
        print(f"Taken on: {orjson.dumps(machine()).decode()}\n", flush=True)
        for kind in arguments.database:
            for line in run(kind, arguments.count, arguments.only):
                print(line, flush=True)
    finally:
        unpin()
    return 0


if __name__ == "__main__":
    sys.exit(main())
