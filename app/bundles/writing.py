"""Writing a bundle while it is sent: nothing is read back, and no more than a block of it is in memory.

What grows with the number of files (directory, manifest, crate) waits in temporary files until its turn.
"""

import hashlib
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import orjson

from app.bundles.keys import SigningKey
from app.bundles.layout import (
    BLOCK,
    FORMAT,
    MANIFEST,
    MOST_MANIFEST,
    NAME,
    SIGNATURE,
    VERSION,
    descriptor,
    directory_entry,
    ending,
    local_header,
)
from app.errors import LimitReached
from app.exports.waiting import Waiting

FILES, ABSENT, LAST = b',\n"files":[', b'],\n"absent":[', b"]}\n"
NOTE, BLOCK_NOTE = 150, 80  # bytes in a manifest: at least of a file, and of each of its blocks


class WaitingList(Waiting):
    """The elements of a JSON array, a line each."""

    def append(self, value: Any) -> None:
        self.append_raw(orjson.dumps(value))

    def append_raw(self, first: bytes) -> None:
        """The beginning of an element, whose rest is written next."""
        self.write((b",\n" if self.size else b"\n") + first)


@dataclass(frozen=True)
class Written:
    name: str
    size: int
    sha256: str


class Writer:
    """A bundle: `file` for each file in turn, then `finish`. Both yield the bytes to be sent.

    Both raise LimitReached as soon as the manifest is longer than whoever verifies it would read.
    """

    last: Written

    def __init__(self) -> None:
        self._offset = self._count = 0
        self._directory = Waiting()
        self._files = WaitingList()
        self._absent = WaitingList()

    def file(
        self, name: str, chunks: Iterable[bytes], about: Callable[[Written], dict[str, Any]] | None = None
    ) -> Iterator[bytes]:
        """`about` makes what the manifest says of the file beside its size and hash. Then it is the `last`."""
        if not NAME.fullmatch(name):
            raise ValueError(f"no name for a file: {name!r}")
        check_manifest(self._files.size + self._absent.size)
        self._files.append_raw(b'{"name":' + orjson.dumps(name) + b',"blocks":[')
        first = True

        def noted() -> Iterator[bytes]:
            nonlocal first
            for block in blocks(chunks):
                check_manifest(self._files.size)
                said = [f"{zlib.crc32(block):08x}", hashlib.sha256(block).hexdigest()]
                self._files.write((b"" if first else b",") + orjson.dumps(said))
                first = False
                yield block

        yield from self._entry(name, noted())
        rest = {"size": self.last.size, "sha256": self.last.sha256, **(about(self.last) if about else {})}
        self._files.write(b"]," + orjson.dumps(rest)[1:])

    def absent(self, about: dict[str, Any]) -> None:
        """A file, by its `name`, that should be here, and its `state`."""
        self._absent.append(about)

    def finish(self, about: dict[str, Any], key: SigningKey) -> Iterator[bytes]:
        """The manifest, its signature, the directory."""
        head = {"format": FORMAT, "format_version": VERSION, "block_size": BLOCK, **about, "key_id": key.id}
        first = orjson.dumps(head)[:-1] + FILES
        check_manifest(sum(map(len, (first, ABSENT, LAST))) + self._files.size + self._absent.size)
        waiting = [self._files.chunks(), [ABSENT], self._absent.chunks(), [LAST]]
        yield from self._entry(MANIFEST, chain([first], *waiting))
        manifest = self.last
        yield from self._entry(SIGNATURE, [key.sign(manifest.sha256)])
        yield from self._directory.chunks()
        yield ending(self._count, self._directory.size, self._offset)

    def close(self) -> None:
        for waiting in (self._directory, self._files, self._absent):
            waiting.close()

    def _entry(self, name: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        begins, size, crc, whole = self._offset, 0, 0, hashlib.sha256()
        head = local_header(name)
        yield head
        for chunk in chunks:
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            whole.update(chunk)
            yield chunk
        behind = descriptor(crc, size)
        yield behind
        self._offset += len(head) + size + len(behind)
        self._directory.write(directory_entry(name, crc, size, begins))
        self._count += 1
        self.last = Written(name, size, whole.hexdigest())


def check_manifest(size: int) -> None:
    """Raises LimitReached where a manifest has so many bytes, and nobody would read it."""
    if size > MOST_MANIFEST:
        says = "The manifest of this bundle would be too long to be verified: take fewer analyses."
        raise LimitReached(says, limit=MOST_MANIFEST)


def least_manifest(files: int, size: int) -> int:
    """Bytes of a manifest, at least, where there are so many files of so many bytes together."""
    return files * NOTE + size // BLOCK * BLOCK_NOTE


def blocks(chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The same bytes, BLOCK at a time; the last ones may be fewer."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= BLOCK:
            yield bytes(held[:BLOCK])
            del held[:BLOCK]
    if held:
        yield bytes(held)
