"""Label Studio's run-lengths of a brush: bits in bytes, after `@thi.ng/rle-pack`.

32 bits say how many words there are, 5 how long a word is (less one), four times 4 how long a count is (less one).
Then, until all words are there: a bit that says whether one word is repeated or several follow, two bits that pick the
length of the count, the count (less one), and that word or these words. The words are the red, green, blue and alpha of
each pixel, row by row; alpha is the mask.
"""

from typing import Any

import numpy as np

from app.annotations.segmentation import MAX_RUNS
from app.geometry import Bits
from app.importers.base import Pixels
from app.importers.masks import spend
from app.importers.reading import Unfit

CHANNELS = 4


class _BitReader:
    def __init__(self, content: bytes, field: str) -> None:
        self.bits = np.unpackbits(np.frombuffer(content, dtype=np.uint8))
        self.content = content
        self.at = 0
        self.field = field

    def read(self, size: int) -> int:
        first, self.at = self.at, self.at + size
        if self.at > self.bits.size:
            raise Unfit(self.field, "ends before all pixels are there")
        end = (self.at + 7) // 8
        found = int.from_bytes(self.content[first // 8 : end], "big") >> (8 * end - self.at)
        return found & ((1 << size) - 1)

    def words(self, count: int, size: int) -> Bits:
        """Which of so many words are not 0."""
        first, self.at = self.at, self.at + count * size
        if self.at > self.bits.size:
            raise Unfit(self.field, "ends before all pixels are there")
        return np.asarray(self.bits[first : self.at].reshape(count, size).any(axis=1))


def decode_brush(rle: Any, height: int, width: int, field: str, pixels: Pixels) -> Bits:
    """The mask as rows. Raises Unfit for what is none of that size, and when `pixels` has not so many left."""
    if not isinstance(rle, list) or not {*map(type, rle)} <= {int} or not all(0 <= one < 256 for one in rle):
        raise Unfit(field, "must be a list of whole numbers from 0 to 255")
    source = _BitReader(bytes(rle), field)
    total, size = source.read(32), source.read(5) + 1
    counts = [source.read(4) + 1 for _ in range(4)]
    if total != height * width * CHANNELS:
        raise Unfit(
            field, f"is of {total} values, but {width} × {height} pixels have {height * width * CHANNELS}"
        )
    spend(pixels, height * width, field)
    out = np.zeros(height * width, dtype=np.bool_)
    at = steps = 0
    while at < total:
        repeated = source.read(1)
        end = at + 1 + source.read(counts[source.read(2)])
        steps += 1
        if end > total or steps > MAX_RUNS:
            raise Unfit(
                field, "has more values than it says" if end > total else f"has over {MAX_RUNS} steps"
            )
        first, last = (
            at // CHANNELS,
            end // CHANNELS,
        )  # pixels whose alpha, their last word, lies in this step
        if repeated:
            if source.read(size):
                out[first:last] = True
        else:
            alpha = source.words(end - at, size)[CHANNELS - 1 - at % CHANNELS :: CHANNELS]
            out[first : first + alpha.size] = alpha
        at = end
    return out.reshape(height, width)
