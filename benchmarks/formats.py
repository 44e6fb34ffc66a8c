"""What `make bench-exports` does: a large analysis in every format and as a bundle, on both databases.

    python -m benchmarks.formats [--database postgresql sqlite] [--count 1000000] [--only json csv …] [--check]

For each format: seconds to the first byte and to the last, bytes, and how far the serving process grew at its peak; and
how far while a client reads 10 kB a second, with the longest transaction that was open meanwhile. Beside it the seconds
that JSON and CSV of 100,000 take in one process, ours and row by row through the ORM. Tables in
Markdown go to standard output, once all is read and right: what was timed is kept in a file and looked at afterwards,
see exported.py. What --check asks about are the floors of JSON and CSV, on both databases.
"""

import argparse
import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import urlsplit

import orjson
from sqlalchemy import create_engine, text

from app.exports import FORMATS
from benchmarks import exported
from benchmarks.bench import QUICK, Bench
from benchmarks.floors import floors_of_export
from benchmarks.run import database, machine
from benchmarks.serve import CLIENT_CORE, ROOT, SERVER_CORE, Servers, on_core, served
from benchmarks.watch import Watch, pin, unpin
from benchmarks.wire import Target, Wrong, expect

BUNDLE = "bundle"
FORMS = (*FORMATS, BUNDLE)
NAIVE = {"json", "csv"}  # what is also written row by row
FILLED = 100_000  # stored by the server, the rest are copies
FEW = 1000
MB = 1_000_000
SLOW = 10  # seconds for which a slow client reads
OPEN_FOR = (
    "SELECT extract(epoch FROM max(clock_timestamp() - xact_start)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
PLACE = "x_min, y_min, x_max, y_max"
COLUMNS = f"annotation_type, class_name, confidence, data, ordering, created_at, content_hash, {PLACE}"
NEW_ID = {"postgresql": "gen_random_uuid()", "sqlite": "lower(hex(randomblob(16)))"}


@dataclass(frozen=True)
class Taken:
    first: float
    seconds: float
    size: int
    growth: int


def run(kind: str, count: int, only: list[str], floors: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of a database's tables. Raises Wrong where an export is not right; the floors are added to `floors`."""
    with served(kind) as servers:
        watch, target = servers.start("loupe"), servers.target("loupe")
        bench = Bench([target], servers.project, QUICK, {"loupe": watch}, servers.renew)
        filled = min(FILLED, count)
        with closing(target.connection):
            small, large = (bench.filled_analysis(number) for number in (min(FEW, count), filled))
        copies = count // filled
        name = f"{database(kind, servers)}, {copies * filled:,} annotations"
        yield f"### {name}\n"
        if NAIVE & set(only or FORMS):
            yield from _ratios(servers, large, filled)
        _multiply(kind, servers, large, filled, copies)
        wanted = exported.expected(filled, copies)
        yield "| format | first byte, s | all of it, s | annotations a second | MB | grew at its peak, MB |"
        yield "|---|--:|--:|--:|--:|--:|"
        for form in only or FORMS:
            watch = servers.renew("loupe")
            taken = _take(servers.target("loupe"), watch, form, small, large, wanted)
            rate = wanted.count / taken.seconds
            floors += floors_of_export(f"{form}, {name}", form, rate, taken.growth / MB)
            sizes = f"{taken.size / MB:,.0f} | {taken.growth / MB:.1f}"
            yield f"| {form} | {taken.first:.2f} | {taken.seconds:.1f} | {rate:,.0f} | {sizes} |"
        yield ""
        yield from _slowly(kind, servers, set(only or FORMS) & NAIVE, small, large)


def _ratios(servers: Servers, analysis: str, filled: int) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.naive", analysis]
    with on_core(SERVER_CORE):
        done = subprocess.run(
            command, cwd=ROOT, env=servers.environ, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise Wrong(f"row by row beside Loupe: {done.stderr.strip()}")
    yield f"| {filled:,} in one process | row by row through the ORM, s | as exported, s | share |"
    yield "|---|--:|--:|--:|"
    for form, (naive, ours) in orjson.loads(done.stdout).items():
        yield f"| {form} | {naive:.2f} | {ours:.2f} | {ours / naive:.2f} |"
    yield ""


def _multiply(kind: str, servers: Servers, analysis: str, filled: int, copies: int) -> None:
    """The same annotations again, under names of their own, past the server: sending a million takes minutes."""
    engine = create_engine(servers.environ["DATABASE_URL"])
    analysis_id = analysis if kind == "postgresql" else analysis.replace("-", "")
    with engine.begin() as connection:
        for copy in range(1, copies):
            statement = (
                f"INSERT INTO ml_annotations (id, analysis_id, client_id, position, {COLUMNS}) "
                f"SELECT {NEW_ID[kind]}, analysis_id, client_id || '-{copy}', position + {copy * filled}, {COLUMNS} "
                f"FROM ml_annotations WHERE analysis_id = '{analysis_id}' AND position < {filled}"
            )
            connection.execute(text(statement))
        number = copies * filled
        changes = f"annotation_count = {number}, next_position = {number}, status = 'completed'"
        connection.execute(text(f"UPDATE ml_analyses SET {changes} WHERE id = '{analysis_id}'"))
    if kind == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE ml_annotations"))
    engine.dispose()


def _take(target: Target, watch: Watch, form: str, small: str, large: str, wanted: exported.Held) -> Taken:
    """A new process that has exported a small analysis once is what growth is counted from."""
    with tempfile.TemporaryFile() as file:
        _read(target, small, form, file)
        file.seek(0)
        file.truncate()
        resident = watch.reset_peak()
        first, seconds, size = _read(target, large, form, file)
        taken = Taken(first, seconds, size, watch.peak() - resident)
        exported.check(form, file, wanted)
    print(f"  {form} …", file=sys.stderr, flush=True)
    return taken


def _slowly(kind: str, servers: Servers, forms: set[str], small: str, large: str) -> Iterator[str]:
    """What a client costs that reads 10 kB a second and goes away after SLOW seconds."""
    engine = create_engine(servers.environ["DATABASE_URL"])
    yield f"| read at 10 kB/s for {SLOW} s | grew at its peak, MB | longest open transaction, s |"
    yield "|---|--:|--:|"
    for form in sorted(forms):
        watch = servers.renew("loupe")
        with tempfile.TemporaryFile() as file:
            _read(servers.target("loupe"), small, form, file)
        resident, longest = watch.reset_peak(), 0.0
        with _asked(servers.target("loupe"), large, form) as answer:
            for _ in range(SLOW):
                expect("bytes of a slow reader", len(answer.read(10_000)), 10_000)
                time.sleep(1)
                if kind == "postgresql":
                    with engine.connect() as connection:
                        longest = max(longest, float(connection.execute(text(OPEN_FOR)).scalar() or 0))
        told = f"{longest:.1f}" if kind == "postgresql" else "not asked"
        yield f"| {form} | {(watch.peak() - resident) / MB:.1f} | {told} |"
    yield ""
    engine.dispose()


def _read(target: Target, analysis: str, form: str, file: IO[bytes]) -> tuple[float, float, int]:
    """Seconds to the first byte and to the last, and how many there were. All of them go into the file."""
    began = time.perf_counter()
    with _asked(target, analysis, form) as answer:
        size = file.write(answer.read(1))
        first = time.perf_counter() - began
        while piece := answer.read(256 * 1024):
            size += file.write(piece)
    return first, time.perf_counter() - began, size


@contextmanager
def _asked(target: Target, analysis: str, form: str) -> Iterator[http.client.HTTPResponse]:
    """The answer to an export, of which nothing has been read."""
    what = BUNDLE if form == BUNDLE else f"export?format={form}"
    asked = target.reading(f"/api/analyses/{analysis}/{what}")
    parts = urlsplit(target.url)
    with closing(http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)) as connection:
        connection.request("GET", asked.path, headers=asked.headers)
        answer = connection.getresponse()
        with closing(answer):  # a slow reader goes away before the end
            expect("status of the export", answer.status, 200)
            yield answer


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure the export of a large analysis in every format.")
    kinds = ("postgresql", "sqlite")
    parser.add_argument("--database", nargs="+", choices=kinds, default=list(kinds))
    parser.add_argument("--count", type=int, default=1_000_000, help="in steps of 100,000, or fewer")
    parser.add_argument("--only", nargs="+", choices=FORMS, default=[])
    parser.add_argument("--check", action="store_true", help="exit with 1 when a floor is not met")
    arguments = parser.parse_args(words)
    if arguments.count < 1:
        parser.error("--count is 1 or more")
    if arguments.check and not NAIVE & set(arguments.only or FORMS):
        parser.error("--check is about JSON and CSV")
    lines, floors = [f"Taken on: {orjson.dumps(machine()).decode()}\n"], list[dict[str, Any]]()
    pin(CLIENT_CORE)
    try:
        for kind in arguments.database:
            print(f"{kind}:", file=sys.stderr, flush=True)
            lines += run(kind, arguments.count, arguments.only, floors)
    except Wrong as reason:
        print(f"No figures: {reason}", file=sys.stderr)
        return 1
    finally:
        unpin()
    said = (
        f"- Floor: {floor['what']}: {floor['wanted']}. {'Met' if floor['met'] else 'NOT MET'}."
        for floor in floors
    )
    print(*lines, *said, sep="\n")
    return 1 if arguments.check and not all(floor["met"] for floor in floors) else 0


if __name__ == "__main__":
    sys.exit(main())
