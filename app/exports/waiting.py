"""Bytes that are written now and read when it is their turn: in memory while they are few, then in a temporary file."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import repeat
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Self

from app.errors import StorageUnavailable
from app.storage.base import CHUNK

HELD = 256 * 1024  # in memory, of each

_log = logging.getLogger(__name__)


class Waiting:
    """`size` is how many there are; close it. Writing and reading may raise StorageUnavailable."""

    def __init__(self) -> None:
        self.size = 0
        self._file: IO[bytes] = SpooledTemporaryFile(HELD)  # noqa: SIM115  # see close

    def write(self, data: bytes) -> None:
        with _disk_errors():
            self._file.write(data)
        self.size += len(data)

    def chunks(self, sizes: Iterable[int] = repeat(CHUNK)) -> Iterator[bytes]:
        """From the beginning, each of these sizes, until nothing is left. Nothing is written any more."""
        with _disk_errors():
            self._file.seek(0)
        for size in sizes:
            with _disk_errors():
                chunk = self._file.read(size)
            if not chunk:
                return
            yield chunk

    def close(self) -> None:
        with suppress(OSError):  # what could not be written is not wanted any more
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _log.warning("the temporary folder cannot be used: %s", error)
        raise StorageUnavailable("The temporary folder of the server is full or cannot be used.") from error
