"""Which byte was changed, found by its checksum. The standard library only."""

import zlib
from collections.abc import Callable
from functools import cache

LONGEST_RUN = 3  # bytes; with four there would be something to try at every place
LARGEST = 16 * 1024 * 1024  # looking at each byte takes a while
MOST_TRIED = 1024 * 1024 * 1024  # bytes, of all tries together


def changed_run(data: bytes, crc: int, is_right: Callable[[bytes], bool]) -> int | None:
    """Where a run of at most three changed bytes begins, if changing such a run back makes the data right.

    `crc` is the CRC-32 that the data should have. It is linear: the difference of the two checksums is that of the
    changed bytes alone, shifted by what follows them. Shifting it back byte by byte gives for each place what would
    have to be changed from there on; where that is no more than three bytes it is tried.
    """
    if not 0 < len(data) <= LARGEST:
        return None
    table, by_top = _steps()
    change, candidates = zlib.crc32(data) ^ crc, []
    for index in range(len(data) - 1, -1, -1):
        number = by_top[change >> 24]
        change = ((change ^ table[number]) << 8 | number) & 0xFFFFFFFF
        length = -(-change.bit_length() // 8)
        if 0 < length <= LONGEST_RUN and change & 0xFF and index + length <= len(data):
            candidates.append((length, index, change))
    for length, index, change in sorted(candidates)[: MOST_TRIED // len(data)]:
        mended = bytearray(data)
        for place, bits in enumerate(change.to_bytes(length, "little"), index):
            mended[place] ^= bits
        if is_right(bytes(mended)):
            return index
    return None


@cache
def _steps() -> tuple[list[int], dict[int, int]]:
    """The table of CRC-32 as zlib and zip have it, and which of its entries has a top byte."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0xEDB88320 if value & 1 else 0)
        table.append(value)
    return table, {entry >> 24: number for number, entry in enumerate(table)}
