"""A zip file written from front to back, without knowing how large anything becomes (PKWARE's APPNOTE 6.3.10).

Sizes and checksums follow each entry in a data descriptor, and what the directory at the end says of each entry waits
in a temporary file, so that a million entries take no more memory than one.
"""

import struct
import zlib
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

LEVEL = 6
SPOOL = 256 * 1024  # of what waits, this much is in memory; the rest is on disk
NEVER = 0x21  # the first day a zip can name, 1980-01-01: the same rows make the same file
UTF_8_AND_DESCRIPTOR = 0x0808
DEFLATED = 8
CLASSIC, ZIP64 = 20, 45  # the version that is needed to read it
FULL, FULL_SHORT = 0xFFFFFFFF, 0xFFFF  # stand where a number is elsewhere, in eight bytes
MOST = 0xFFFFFFFE
REGULAR_FILE = 0o100644 << 16


def waiting() -> IO[bytes]:
    """A file for what has to wait: in memory while it is small."""
    return SpooledTemporaryFile(max_size=SPOOL)


class ZipStream:
    """`begin`, `write` and `end` for each entry in turn, then `finish`; all give the bytes to send."""

    def __init__(self, directory: IO[bytes]) -> None:
        """`directory` is an empty file, best one of `waiting()`; the caller closes it."""
        self.sent = self.entries = 0
        self.directory = directory

    def begin(self, name: str, *, large: bool = False) -> bytes:
        """`large` is for an entry that may become 4 GiB or more, which old programs do not read."""
        self.name, self.at, self.large = name.encode(), self.sent, large
        self.size = self.packed = self.checksum = 0
        self.packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        # no sizes yet; where they will take eight bytes each, this says so
        sizes, extra = (FULL, struct.pack("<HHQQ", 1, 16, 0, 0)) if large else (0, b"")
        head = (self._version, UTF_8_AND_DESCRIPTOR, DEFLATED, 0, NEVER, 0, sizes, sizes)
        lengths = (len(self.name), len(extra))
        return self._counted(struct.pack("<4sHHHHHLLLHH", b"PK\3\4", *head, *lengths) + self.name + extra)

    def write(self, data: bytes) -> bytes:
        self.size += len(data)
        self.checksum = zlib.crc32(data, self.checksum)
        return self._packed(self.packer.compress(data))

    def end(self) -> bytes:
        """ValueError when an entry that was not said to be large is."""
        rest = self._packed(self.packer.flush())
        if not self.large and max(self.size, self.packed) > MOST:
            raise ValueError(f"{self.name.decode()} is larger than it was said to be")
        layout = "<4sLQQ" if self.large else "<4sLLL"
        sizes = (self.checksum, self.packed, self.size)
        self._note()
        return rest + self._counted(struct.pack(layout, b"PK\7\10", *sizes))

    def finish(self) -> Iterator[bytes]:
        start, length = self.sent, self.directory.tell()
        self.directory.seek(0)
        while block := self.directory.read(SPOOL):
            yield block
        if self.entries >= FULL_SHORT or max(start, length) > MOST:
            versions = (ZIP64, ZIP64, 0, 0)
            numbers = (self.entries, self.entries, length, start)
            yield struct.pack("<4sQHHLLQQQQ", b"PK\6\6", 44, *versions, *numbers)
            yield struct.pack("<4sLQL", b"PK\6\7", 0, start + length, 1)
        entries = min(self.entries, FULL_SHORT)
        numbers = (entries, entries, _short(length), _short(start))
        yield struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, *numbers, 0)

    @property
    def _version(self) -> int:
        return ZIP64 if self.large else CLASSIC

    def _note(self) -> None:
        """The entry's lines in the directory."""
        values = (self.size, self.packed, self.at)
        long = [value for value in values if value > MOST]
        extra = struct.pack(f"<HH{len(long)}Q", 1, 8 * len(long), *long) if long else b""
        size, packed, at = map(_short, values)
        made_by = 3 << 8 | ZIP64  # on Unix
        version = ZIP64 if extra else self._version
        head = (made_by, version, UTF_8_AND_DESCRIPTOR, DEFLATED, 0, NEVER, self.checksum, packed, size)
        lengths = (len(self.name), len(extra), 0, 0, 0, REGULAR_FILE, at)
        self.directory.write(struct.pack("<4sHHHHHHLLLHHHHHLL", b"PK\1\2", *head, *lengths))
        self.directory.write(self.name + extra)
        self.entries += 1

    def _packed(self, data: bytes) -> bytes:
        self.packed += len(data)
        return self._counted(data)

    def _counted(self, data: bytes) -> bytes:
        self.sent += len(data)
        return data


def _short(value: int) -> int:
    return value if value <= MOST else FULL
