"""What a process keeps: at most so many bytes, each made once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread
from time import sleep

import pytest

from app.kept import Kept


def test_those_not_asked_for_the_longest_go_first() -> None:
    kept: Kept[bytes] = Kept(10, len)
    made: list[str] = []

    def get(name: str, size: int = 4) -> bytes:
        return kept.get(name, lambda: (made.append(name), b"x" * size)[1])

    get("a"), get("b"), get("a"), get("c")
    assert kept.size == 8
    get("a"), get("b")
    assert made == ["a", "b", "c", "b"]
    assert len(get("too large", 11)) == 11 and kept.size == 8
    kept.clear()
    assert kept.size == 0
    get("a")
    assert made[-1] == "a"


def test_many_that_ask_at_once_wait_for_one() -> None:
    kept: Kept[bytes] = Kept(10, len)
    begin, made = Barrier(4), []

    def ask(_: int) -> bytes:
        begin.wait(10)
        return kept.get("a", lambda: (made.append(1), b"x")[1])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == [b"x"] * 4
    assert made == [1]


def test_what_could_not_be_made_is_tried_again() -> None:
    kept: Kept[bytes] = Kept(10, len)

    def fail() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.get("a", fail)
    assert kept.get("a", lambda: b"x") == b"x"


def test_after_one_that_failed_there_is_still_one_at_a_time() -> None:
    kept: Kept[bytes] = Kept(100, len)
    begun, fails, running, most = Event(), Event(), [0], [0]

    def fail() -> bytes:
        begun.set()
        assert fails.wait(10)
        raise ValueError("no")

    def make() -> bytes:
        running[0] += 1
        most[0] = max(most[0], running[0])
        sleep(0.1)
        running[0] -= 1
        return b"x" * 10

    def first() -> None:
        with pytest.raises(ValueError, match="no"):
            kept.get("a", fail)

    threads = [Thread(target=first), Thread(target=kept.get, args=("a", make))]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    sleep(0.05)  # the second waits for the first
    fails.set()
    threads[0].join(10)
    threads.append(Thread(target=kept.get, args=("a", make)))
    threads[2].start()
    for thread in threads:
        thread.join(10)
    assert (most[0], kept.size) == (1, 10)
