"""A zip as it is written: no file of it is held in memory, and neither is the list of them.

Every entry is written in the form of ZIP64, with sizes and checksum behind its bytes, as they are not known before.
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3 and 4.5.3
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from app.exports.waiting import Waiting

STORED, DEFLATED = 0, 8
VERSION = 45  # of ZIP64
FLAGS = 0x0808  # sizes come behind the bytes; names are UTF-8
MADE_BY = 3 << 8 | VERSION  # Unix
MODE = 0o100644 << 16
UNKNOWN, UNKNOWN_SHORT = 0xFFFFFFFF, 0xFFFF
EMPTY_BLOCK = b"\0\0\0\xff\xff"  # of deflate (RFC 1951, 3.2.4), where the block before ended on a whole byte


@dataclass
class _Entry:
    """What has been written of one, which ends where the next begins."""

    name: bytes
    common: bytes
    started: int
    packer: "zlib._Compress | None"
    size: int = 0
    packed: int = 0
    crc: int = 0

    def take(self, piece: bytes) -> bytes:
        self.size, self.crc = self.size + len(piece), zlib.crc32(piece, self.crc)
        return self._put(self.packer.compress(piece) if self.packer else piece)

    def nothing(self) -> bytes:
        return self._put(self.packer.flush(zlib.Z_SYNC_FLUSH) or EMPTY_BLOCK) if self.packer else b""

    def rest(self) -> bytes:
        return self._put(self.packer.flush()) if self.packer else b""

    def _put(self, out: bytes) -> bytes:
        self.packed += len(out)
        return out


class ZipStream:
    """`add` gives the bytes of each entry, and `end` those that make a zip of it; close it."""

    def __init__(self, moment: datetime) -> None:
        """All entries are dated `moment`."""
        self._list = Waiting()
        self._count = self._at = 0
        self._last: _Entry | None = None
        year = min(max(moment.year, 1980), 2107)
        self._time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
        self._date = (year - 1980) << 9 | moment.month << 5 | moment.day

    def add(self, name: str, pieces: Iterable[bytes], *, deflate: bool) -> Iterator[bytes]:
        """For an empty piece it gives what `nothing` gives."""
        before = self._ended()
        packer = zlib.compressobj(6, zlib.DEFLATED, -15) if deflate else None
        common = struct.pack("<HHHH", FLAGS, DEFLATED if deflate else STORED, self._time, self._date)
        self._last = entry = _Entry(name.encode(), common, self._at, packer)
        sizes = struct.pack("<HHQQ", 1, 16, 0, 0)
        yield before + self._passed(
            struct.pack("<4sH", b"PK\3\4", VERSION)
            + common
            + struct.pack("<IIIHH", 0, UNKNOWN, UNKNOWN, len(entry.name), len(sizes))
            + entry.name
            + sizes
        )
        for piece in pieces:
            if not piece:
                yield self.nothing()
            elif out := entry.take(piece):
                yield self._passed(out)

    def nothing(self) -> bytes:
        """Bytes that no reader sees, at the end of the last entry, so that a long silence does not look like a
        broken connection. Empty where that entry is not deflated."""
        return self._passed(self._last.nothing()) if self._last else b""

    def _ended(self) -> bytes:
        """What stands behind the last entry."""
        if self._last is None:
            return b""
        entry, self._last = self._last, None
        rest = entry.rest()
        places = struct.pack("<HHQQQ", 1, 24, entry.size, entry.packed, entry.started)
        self._list.write(
            struct.pack("<4sHH", b"PK\1\2", MADE_BY, VERSION)
            + entry.common
            + struct.pack("<III", entry.crc, UNKNOWN, UNKNOWN)
            + struct.pack("<HHHHHII", len(entry.name), len(places), 0, 0, 0, MODE, UNKNOWN)
            + entry.name
            + places
        )
        self._count += 1
        return self._passed(rest + struct.pack("<4sIQQ", b"PK\7\x08", entry.crc, entry.packed, entry.size))

    def end(self) -> Iterator[bytes]:
        yield self._ended()
        started, length = self._at, self._list.size
        for piece in self._list.chunks():
            yield self._passed(piece)
        whole = self._at
        yield struct.pack(
            "<4sQHHIIQQQQ", b"PK\6\6", 44, MADE_BY, VERSION, 0, 0, self._count, self._count, length, started
        )
        yield struct.pack("<4sIQI", b"PK\6\7", 0, whole, 1)
        short = UNKNOWN_SHORT
        yield struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, short, short, UNKNOWN, UNKNOWN, 0)

    def close(self) -> None:
        self._list.close()

    def _passed(self, piece: bytes) -> bytes:
        self._at += len(piece)
        return piece
