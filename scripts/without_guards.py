#!/usr/bin/env python3
"""Takes guards of the service away, one at a time, and reports whether a test notices.

    python scripts/without_guards.py

Each is removed in a copy of the project, and the tests named beside it are run there; they must fail, and must have
passed in the copy before. To add one: its line in GUARDS. Exit code 1 when a guard can go without a test that fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Guard:
    """`removals` are (file, what stands there, what stands there without the guard)."""

    name: str
    removals: tuple[tuple[str, str, str], ...]
    tests: tuple[str, ...]
    database: str = "sqlite"


GUARDS = (
    Guard(
        "the claim's state predicate",
        (("app/services/leases.py", "living(Analysis.status == Status.QUEUED, among)", "living(among)"),),
        ("tests/pipeline/test_claim.py",),
    ),
    Guard(
        "the epoch predicate of a lease",
        (
            (
                "app/services/leases.py",
                "analysis.id, analysis.lease_epoch, self.token",
                "analysis.id, 1, self.token",
            ),
        ),
        ("tests/pipeline/test_leases.py",),
    ),
    Guard(
        "the row lock of bulk",
        (
            (
                "app/services/annotations.py",
                "    lock(analysis)\n    leases.require",
                "    db.session.refresh(analysis)\n    leases.require",
            ),
        ),
        ("tests/pipeline/test_concurrency.py",),
        "postgresql",
    ),
    Guard(
        "the unique index on client ids",
        (
            ("app/models/annotations.py", '        UniqueConstraint("analysis_id", "client_id"),\n', ""),
            (
                "migrations/versions/0001_the_tables.py",
                '        sa.UniqueConstraint("analysis_id", "client_id", '
                'name=op.f("uq_ml_annotations_analysis_id_client_id")),\n',
                "",
            ),
        ),
        ("tests/pipeline/test_store_annotations.py",),
    ),
    Guard(
        "the version that a swap compares",
        (("app/dialect/swap.py", ', version_of(table) == bindparam("version"))', ",)"),),
        ("tests/pipeline/test_swapping.py",),
        "postgresql",
    ),
    Guard(
        "the nonce row",
        (("app/pipeline/__init__.py", "    nonces.spend(g.uses)\n", ""),),
        ("tests/pipeline/test_v2.py",),
    ),
)


def copy_to(place: Path) -> None:
    """Every file of the project, without what git leaves out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)


def fails(guard: Guard, place: Path) -> bool:
    """Whether a test of the guard fails in this copy; anything but passing and failing is an error of its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:xdist", "-p", "no:cacheprovider"]
    environment = {**os.environ, "TEST_DATABASE": guard.database}
    ended = subprocess.run(
        [*command, "-m", "not soak", *guard.tests], cwd=place, env=environment, capture_output=True, text=True
    )
    if ended.returncode not in (0, 1):
        raise SystemExit(f"{guard.name}: the tests did not run\n{ended.stdout[-3000:]}{ended.stderr[-3000:]}")
    return ended.returncode == 1


def is_noticed(guard: Guard) -> bool:
    with tempfile.TemporaryDirectory(prefix="loupe-without-") as folder:
        place = Path(folder)
        copy_to(place)
        if fails(guard, place):
            raise SystemExit(f"{guard.name}: its tests fail with the guard in its place")
        for name, there, without in guard.removals:
            text = (place / name).read_text()
            if text.count(there) != 1:
                raise SystemExit(
                    f"{guard.name}: {there.strip()!r} stands {text.count(there)} times in {name}"
                )
            (place / name).write_text(text.replace(there, without))
        return fails(guard, place)


def main() -> int:
    missed = 0
    for guard in GUARDS:
        noticed = is_noticed(guard)
        missed += not noticed
        print(
            f"{'noticed' if noticed else 'NOT NOTICED':12} without {guard.name} ({guard.database})",
            flush=True,
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
