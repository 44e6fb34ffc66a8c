"""Where requests are counted for rate limits: moving windows in Redis for all processes together, or in this one alone.

Storages of `limits`, which Flask-Limiter finds by the scheme of an address: `own://`, or `shared+` and the address of
a Redis.
"""

import logging
import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from limits.storage import MemoryStorage, RedisStorage
from redis.backoff import NoBackoff
from redis.retry import Retry

# for a connection, and for an answer: Redis takes well under a millisecond, and a request waits for it only once
PATIENCE_SECONDS = 0.04
PAUSE_SECONDS = 1.0  # between two looks at a Redis that does not answer
PROBE = "probe"
SWEEP_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Window:
    """The requests of one key that went through and still count: their times, oldest first."""

    expiry: float
    times: "array[float]" = field(default_factory=lambda: array("d"))

    def at(self, now: float) -> "array[float]":
        past = 0
        while past < len(self.times) and self.times[past] <= now - self.expiry:
            past += 1
        del self.times[:past]
        return self.times


class OwnWindows(MemoryStorage):
    """In the memory of this process.

    The windows of the class above keep every key they ever saw, and go through all of them at each request: too much
    for a server that whole networks may ask.
    """

    STORAGE_SCHEME = ["own"]  # noqa: RUF012  # as the class above declares it

    def __init__(
        self,
        uri: str | None = None,
        wrap_exceptions: bool = False,
        clock: Callable[[], float] = time.monotonic,
        **_: Any,
    ) -> None:
        super().__init__(uri, wrap_exceptions)
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[str, _Window] = {}
        self._swept_at = clock()

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Counts `amount` requests, or none and False where that would be more than `limit` in `expiry` seconds."""
        with self._lock:
            now = self._clock()
            self._sweep(now)
            times = self._windows.setdefault(key, _Window(expiry)).at(now)
            if len(times) + amount > limit:
                return False
            times.extend([now] * amount)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the oldest request that still counts was made (Unix seconds), and how many count."""
        with self._lock:
            now = self._clock()
            times = self._windows.get(key, _Window(expiry)).at(now)
            return time.time() - (now - times[0] if times else 0), len(times)

    def clear(self, key: str) -> None:
        with self._lock:
            self._windows.pop(key, None)

    def reset(self) -> int | None:
        with self._lock:
            count = len(self._windows)
            self._windows.clear()
            return count

    def _sweep(self, now: float) -> None:
        if now - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = now
        self._windows = {key: window for key, window in self._windows.items() if window.at(now)}


class SharedWindows(RedisStorage):
    """In Redis; while that does not answer, in the memory of this process.

    Only the requests that find it gone wait for it, once and briefly, or as long as a name server takes that does not
    answer either. From then on a thread looks whether it is back, and nobody waits.
    """

    STORAGE_SCHEME = ["shared+redis", "shared+rediss"]  # noqa: RUF012

    def __init__(self, uri: str, wrap_exceptions: bool = False, **_: Any) -> None:
        options: dict[str, Any] = {
            "socket_connect_timeout": PATIENCE_SECONDS,
            "socket_timeout": PATIENCE_SECONDS,
            "retry": Retry(NoBackoff(), 0),  # once is enough
        }
        super().__init__(uri.removeprefix("shared+"), wrap_exceptions=wrap_exceptions, **options)
        self._own = OwnWindows()
        self._lock = threading.Lock()
        self.is_lost = False

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        if not self.is_lost:
            try:
                passes = super().acquire_entry(key, limit, expiry, amount)
            except Exception as error:  # whatever it is, no request fails for it, and none goes uncounted
                self._lose(error)
            else:
                if passes:  # noted here too, so that nobody begins anew when Redis is lost
                    self._own.acquire_entry(key, limit, expiry, amount)
                return passes
        return self._own.acquire_entry(key, limit, expiry, amount)

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        if not self.is_lost:
            try:
                return super().get_moving_window(key, limit, expiry)
            except Exception as error:
                self._lose(error)
        return self._own.get_moving_window(key, limit, expiry)

    def _lose(self, error: Exception) -> None:
        with self._lock:
            if self.is_lost:
                return
            self.is_lost = True
        logger.warning(
            "Redis cannot be used, so rate limits are counted in each process by itself: %s", error
        )
        threading.Thread(target=self._look_for_it, name="look for Redis", daemon=True).start()

    def _look_for_it(self) -> None:
        while self.is_lost:
            time.sleep(PAUSE_SECONDS)
            try:  # what a request would ask: a Redis that answers and takes no writes is no use
                super().acquire_entry(PROBE, 1, 1)
            except Exception as error:
                logger.debug("Redis still cannot be used: %s", error)
            else:
                self.is_lost = False
        logger.info("Redis can be used again; rate limits are counted in it")
