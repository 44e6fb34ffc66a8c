"""The time of processes that come and go, as those of a database do."""

import subprocess

import psutil
import pytest

from benchmarks.watch import Watch

ASKED = 500


def test_a_process_that_ends_while_it_is_looked_at_is_counted_with_its_parent() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "while :; do /bin/true; done"]) as busy:
        try:
            seen = [Watch(busy.pid).busy_seconds() for _ in range(ASKED)]
        finally:
            busy.kill()
    assert seen[-1] > seen[0]
    with pytest.raises(psutil.NoSuchProcess):
        Watch(busy.pid).busy_seconds()
