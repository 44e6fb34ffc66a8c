"""What a process keeps in memory because it was dear to make.

Everything is kept under a name that changes with its content (the revision of an analysis is in it), so two processes
never disagree: what is not found is made again, and what is out of date is never asked for again.
"""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by name, at most so many bytes of them in all; those that were not asked for the longest go first."""

    def __init__(self, most_bytes: int, size_of: Callable[[T], int]) -> None:
        self.most_bytes, self.size_of = most_bytes, size_of
        self.size = 0
        self._values: OrderedDict[str, T] = OrderedDict()
        self._lock = Lock()
        self._making: dict[str, Lock] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The value of this name. Threads that ask for one that is not there wait for the first of them to make it.

        What `make` raises is raised here, and the next in line tries again.
        """
        while True:
            with self._lock:
                if name in self._values:
                    self._values.move_to_end(name)
                    return self._values[name]
                making = self._making.setdefault(name, Lock())
            with making:
                with self._lock:
                    if self._making.get(name) is not making:
                        continue  # its turn is over: what it made is kept, or the next line has begun
                try:
                    value = make()
                    self._put(name, value)
                finally:
                    with self._lock:
                        del self._making[name]
                return value

    def ready(self, name: str) -> T | None:
        """The value of this name if it is there; nothing is made, and nobody waited for."""
        with self._lock:
            if name not in self._values:
                return None
            self._values.move_to_end(name)
            return self._values[name]

    def _put(self, name: str, value: T) -> None:
        """A value larger than all there is room for is not kept."""
        size = self.size_of(value)
        if size > self.most_bytes:
            return
        with self._lock:
            self._values[name] = value
            self.size += size
            while self.size > self.most_bytes:
                _, oldest = self._values.popitem(last=False)
                self.size -= self.size_of(oldest)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
            self.size = 0
