"""A zip as it is written: no file of it is held in memory, and neither is the list of them.

Every entry is written in the form of ZIP64, with sizes and checksum behind its bytes, as they are not known before.
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3 and 4.5.3
"""

import struct
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime

from app.exports.waiting import Waiting

STORED, DEFLATED = 0, 8
VERSION = 45  # of ZIP64
FLAGS = 0x0808  # sizes come behind the bytes; names are UTF-8
MADE_BY = 3 << 8 | VERSION  # Unix
MODE = 0o100644 << 16
UNKNOWN, UNKNOWN_SHORT = 0xFFFFFFFF, 0xFFFF


class ZipStream:
    """`add` gives the bytes of each entry, and `end` those that make a zip of it; close it."""

    def __init__(self, moment: datetime) -> None:
        """All entries are dated `moment`."""
        self._list = Waiting()
        self._count = self._at = 0
        year = min(max(moment.year, 1980), 2107)
        self._time = moment.hour << 11 | moment.minute << 5 | moment.second // 2
        self._date = (year - 1980) << 9 | moment.month << 5 | moment.day

    def add(self, name: str, pieces: Iterable[bytes], *, deflate: bool) -> Iterator[bytes]:
        started, method, encoded = self._at, DEFLATED if deflate else STORED, name.encode()
        common = struct.pack("<HHHH", FLAGS, method, self._time, self._date)
        sizes = struct.pack("<HHQQ", 1, 16, 0, 0)
        yield self._passed(
            struct.pack("<4sH", b"PK\3\4", VERSION)
            + common
            + struct.pack("<IIIHH", 0, UNKNOWN, UNKNOWN, len(encoded), len(sizes))
            + encoded
            + sizes
        )
        packer = zlib.compressobj(6, zlib.DEFLATED, -15) if deflate else None
        size = packed = crc = 0
        for piece in pieces:
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            out = packer.compress(piece) if packer else piece
            packed += len(out)
            if out or not piece:  # an empty one says that something is being done
                yield self._passed(out)
        rest = packer.flush() if packer else b""
        packed += len(rest)
        yield self._passed(rest + struct.pack("<4sIQQ", b"PK\7\x08", crc, packed, size))
        places = struct.pack("<HHQQQ", 1, 24, size, packed, started)
        self._list.write(
            struct.pack("<4sHH", b"PK\1\2", MADE_BY, VERSION)
            + common
            + struct.pack(
                "<IIIHHHHHII", crc, UNKNOWN, UNKNOWN, len(encoded), len(places), 0, 0, 0, MODE, UNKNOWN
            )
            + encoded
            + places
        )
        self._count += 1

    def end(self) -> Iterator[bytes]:
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
