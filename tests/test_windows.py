"""Moving windows: in the memory of a process, and in a real Redis that goes away and comes back."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from app.windows import PATIENCE_SECONDS, PAUSE_SECONDS, OwnWindows, SharedWindows
from tests.fakes import FixedClock
from tests.support import redis as redis_server

LONGEST = 0.1  # seconds that a Redis in trouble may cost a request
HEALED = 5.0


@pytest.fixture(scope="module")
def redis() -> Iterator[redis_server.Restartable]:
    with redis_server.restartable() as running:
        yield running


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nobody takes a busy machine for a lost Redis, and counts by itself."""
    monkeypatch.setattr("app.windows.PATIENCE_SECONDS", 1.0)


@pytest.fixture
def shared(redis: redis_server.Restartable) -> Iterator[Callable[[], SharedWindows]]:
    """shared(): the windows as another process would have them."""
    made: list[SharedWindows] = []

    def make() -> SharedWindows:
        made.append(SharedWindows(f"shared+{redis.url}"))
        return made[-1]

    yield make
    made[0].reset()
    for windows in made:
        windows.is_lost = False  # ends its look for Redis
        windows.storage.close()


@pytest.fixture
def still() -> FixedClock:
    return FixedClock(datetime(2026, 3, 4, 12, tzinfo=UTC))


@pytest.fixture
def own(still: FixedClock) -> OwnWindows:
    return OwnWindows(clock=lambda: still().timestamp())


def let_in(windows: Any, key: str, limit: int, times: int, seconds: int = 60) -> int:
    return sum(windows.acquire_entry(key, limit, seconds) for _ in range(times))


def wait_until(true: Callable[[], bool], within: float = HEALED) -> None:
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.02)


# --- in memory ---------------------------------------------------------------------------------------------------


def test_the_window_moves(own: OwnWindows, still: FixedClock) -> None:
    """No edge of a minute lets twice as many through, as it would with windows that stand still."""
    assert let_in(own, "a", 3, 2) == 2
    still.advance(59)
    assert let_in(own, "a", 3, 5) == 1
    still.advance(2)
    assert let_in(own, "a", 3, 5) == 2, "two have left; the one of two seconds ago counts"
    still.advance(57)
    assert let_in(own, "a", 3, 5) == 0
    still.advance(1)
    assert let_in(own, "a", 3, 5) == 1


def test_what_is_refused_does_not_count(own: OwnWindows, still: FixedClock) -> None:
    let_in(own, "a", 2, 2)
    for _ in range(59):
        still.advance(1)
        assert not own.acquire_entry("a", 2, 60)
    still.advance(1)
    assert own.acquire_entry("a", 2, 60)


def test_keys_do_not_count_for_each_other(own: OwnWindows) -> None:
    assert (let_in(own, "a", 2, 3), let_in(own, "b", 2, 3)) == (2, 2)


def test_when_the_next_is_free(own: OwnWindows, still: FixedClock) -> None:
    let_in(own, "a", 2, 1)
    still.advance(20)
    let_in(own, "a", 2, 1)
    oldest, count = own.get_moving_window("a", 2, 60)
    assert count == 2
    assert oldest + 60 - time.time() == pytest.approx(40, abs=1)
    assert own.get_moving_window("nobody", 2, 60) == (pytest.approx(time.time(), abs=1), 0)


def test_who_came_once_is_forgotten(own: OwnWindows, still: FixedClock) -> None:
    """Or a flood from ever new addresses would fill the memory."""
    for number in range(1000):
        own.acquire_entry(f"address {number}", 10, 60)
    still.advance(61)
    own.acquire_entry("a", 10, 60)
    assert own.reset() == 1


def test_no_two_threads_get_the_last_place(own: OwnWindows, at_once: Callable[..., list[int]]) -> None:
    assert sum(at_once([lambda: let_in(own, "a", 500, 100)] * 16)) == 500


# --- in Redis ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_processes_count_together(shared: Callable[[], SharedWindows]) -> None:
    one, other = shared(), shared()
    assert let_in(one, "a", 10, 6) + let_in(other, "a", 10, 6) == 10
    assert let_in(one, "a", 10, 1) == 0
    assert one.get_moving_window("a", 10, 60) == other.get_moving_window("a", 10, 60)


@pytest.mark.usefixtures("patient")
def test_the_window_in_redis_moves(shared: Callable[[], SharedWindows]) -> None:
    one = shared()
    assert let_in(one, "a", 3, 5, seconds=1) == 3
    oldest, _ = one.get_moving_window("a", 3, 1)
    wait_until(lambda: one.acquire_entry("a", 3, 1))
    assert 0.9 < time.time() - oldest < 5, "not before its time; how long after is the machine's"


@pytest.mark.usefixtures("patient")
def test_no_two_processes_get_the_last_place(
    shared: Callable[[], SharedWindows], at_once: Callable[..., list[int]]
) -> None:
    every = [shared() for _ in range(4)]
    assert sum(at_once([lambda windows=windows: let_in(windows, "a", 100, 50) for windows in every])) == 100


@pytest.mark.parametrize("trouble", ["kill", "halt"])
def test_redis_goes_and_comes_back(
    redis: redis_server.Restartable,
    shared: Callable[[], SharedWindows],
    trouble: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one, other, *_ = every = [shared() for _ in range(4)]
    for windows in every:
        let_in(windows, "before", 10, 1)
    getattr(redis, trouble)()
    try:
        waits = []
        for windows in every:
            taken = [timed(lambda windows=windows: windows.acquire_entry("a", 10, 60)) for _ in range(20)]
            assert [passed for passed, _ in taken] == [True] * 10 + [False] * 10, (
                "counted and limited as before"
            )
            assert windows.get_moving_window("a", 10, 60)[1] == 10
            waits.append(sorted(seconds for _, seconds in taken))
        assert least(wait[-1] for wait in waits) < LONGEST
        assert least(wait[-2] for wait in waits) < PATIENCE_SECONDS / 2, "only the first one waits"
    finally:
        redis.start() if trouble == "kill" else redis.go_on()
    wait_until(lambda: not any(windows.is_lost for windows in every))
    let_in(one, "after", 10, 6)
    assert let_in(other, "after", 10, 6) == 4, "they count together again"
    said = [record.getMessage() for record in caplog.records if record.name == "app.windows"]
    assert len([line for line in said if line.startswith("Redis cannot be used")]) == len(every), "once each"


@pytest.mark.usefixtures("patient")
def test_nobody_begins_anew_when_redis_is_lost(
    redis: redis_server.Restartable, shared: Callable[[], SharedWindows]
) -> None:
    windows = shared()
    assert let_in(windows, "a", 10, 7) == 7
    redis.kill()
    try:
        assert let_in(windows, "a", 10, 7) == 3
    finally:
        redis.start()
    wait_until(lambda: not windows.is_lost)


def test_a_crowd_meets_a_halted_redis(
    redis: redis_server.Restartable, shared: Callable[[], SharedWindows], at_once: Callable[..., list[Any]]
) -> None:
    every = [shared() for _ in range(5)]
    for windows in every:
        let_in(windows, "before", 10, 1)
    looking, waits = lookers(), []
    redis.halt()
    try:
        for windows in every:
            crowd = [lambda windows=windows: timed(lambda: windows.acquire_entry("a", 5, 60))] * 16
            taken = at_once(crowd)
            assert sum(passed for passed, _ in taken) == 5
            waits.append(max(seconds for _, seconds in taken))
    finally:
        redis.go_on()
    assert least(waits) < LONGEST
    assert len(lookers() - looking) == len(every), "one of each process looks for it"
    wait_until(lambda: not any(windows.is_lost for windows in every))


def test_a_redis_that_was_never_there() -> None:
    port = redis_server.free_port()
    windows = SharedWindows(f"shared+redis://127.0.0.1:{port}/0")
    assert let_in(windows, "a", 3, 5) == 3
    windows.is_lost = False  # ends the look for it


def test_a_redis_to_which_no_packet_gets() -> None:
    waits = []
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # the queue is full then, and whoever comes after is not even refused
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        for _ in range(3):
            windows = SharedWindows(f"shared+redis://127.0.0.1:{full.getsockname()[1]}/0")
            taken = [timed(lambda windows=windows: windows.acquire_entry("a", 3, 60)) for _ in range(5)]
            windows.is_lost = False  # ends the look for it
            assert [passed for passed, _ in taken] == [True] * 3 + [False] * 2
            waits.append(max(seconds for _, seconds in taken))
    assert PATIENCE_SECONDS / 2 < least(waits) < LONGEST


def test_a_redis_that_answers_and_takes_nothing(
    redis: redis_server.Restartable, shared: Callable[[], SharedWindows], caplog: pytest.LogCaptureFixture
) -> None:
    """It is full. That it is alive is not enough to come back to it."""
    windows = shared()
    with Redis.from_url(redis.url) as client:
        client.config_set("maxmemory", "1")
        try:
            assert let_in(windows, "a", 3, 5) == 3
            time.sleep(PAUSE_SECONDS * 1.5)
            assert windows.is_lost
            assert client.ping()
        finally:
            client.config_set("maxmemory", "0")
    wait_until(lambda: not windows.is_lost)
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert [record.name for record in warnings] == ["app.windows"], "not every second anew"


def least(waits: Iterable[float]) -> float:
    """Of several processes: what else a machine has to do only adds, and what is our doing is in all of them."""
    return min(waits)


def lookers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "look for Redis"}


def timed(call: Callable[[], bool]) -> tuple[bool, float]:
    started = time.perf_counter()
    return call(), time.perf_counter() - started
