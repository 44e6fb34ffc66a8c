"""How much memory a server's processes take at most, and how much time of the processor. Linux only."""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

CORES = sorted(os.sched_getaffinity(0))  # those this process was given, before it chose among them
RESET_PEAK = "5"  # proc_pid_clear_refs(5): sets the high water mark (VmHWM) back to what is resident now


@dataclass(frozen=True)
class Watch:
    """Watches the workers of one gunicorn, whose master has the id `pid`; `also` are more that work for it, with all
    their children: the database's."""

    pid: int
    also: tuple[int, ...] = ()

    def workers(self) -> list[int]:
        return [child.pid for child in psutil.Process(self.pid).children()] or [self.pid]

    def reset_peak(self) -> int:
        """Bytes resident in the workers now; the peak counts from here."""
        for pid in self.workers():
            Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)
        return self._sum("VmRSS")

    def resident(self) -> int:
        """Bytes resident in the workers now."""
        return self._sum("VmRSS")

    def peak(self) -> int:
        """Bytes resident in the workers at most since `reset_peak`: exact, as the kernel keeps it."""
        return self._sum("VmHWM")

    def busy_seconds(self) -> float:
        """Seconds of the processor that the server and its database have taken so far."""
        pids = (self.pid, *self.also)
        while True:  # until none of their children ends meanwhile: autovacuum's come and go
            try:
                return sum(map(_busy_seconds, pids))
            except psutil.NoSuchProcess as gone:
                if gone.pid in pids:
                    raise

    def _sum(self, field: str) -> int:
        return sum(_status_bytes(pid, field) for pid in self.workers())


def _busy_seconds(pid: int) -> float:
    """Of the process and all its descendants. Raises NoSuchProcess when one has ended since they were listed."""
    parent, total = psutil.Process(pid), 0.0
    for process in (parent, *parent.children(recursive=True)):
        times = process.cpu_times()
        # what has ended is counted with its parent: the database has a process for each connection
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _status_bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ValueError(f"/proc/{pid}/status has no {field}")


def pin(core: int) -> None:
    """This process, and what it starts from now on, on one core; nothing happens where there is only one."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, {CORES[core % len(CORES)]})


def unpin() -> None:
    """This process on all the cores it was given."""
    os.sched_setaffinity(0, CORES)
