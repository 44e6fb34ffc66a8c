"""Arrays as FiftyOne serialises them: NumPy's .npy format, compressed by zlib, in base64.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html. The header is read here: NumPy's own reader
makes room for whatever a header claims.
"""

import binascii
import re
import zlib
from base64 import b64decode
from typing import Any

import numpy as np

from app.annotations.segmentation import MAX_PIXELS
from app.importers.base import Pixels
from app.importers.masks import NONE_LEFT, size_of, spend
from app.importers.reading import Unfit

MAX_HEADER = 4096
_HEADER = re.compile(
    rb"\{'descr': '([|<>=]?(?:b1|[iu][1248]|f[248]))', 'fortran_order': (True|False), "
    rb"'shape': \((\d{1,9}), (\d{1,9})(?:, 1)?\), \} *\n"
)


def array_of(value: Any, field: str, pixels: Pixels) -> Any:
    """The array of two axes, of numbers or truths, in `{"$binary": {"base64": …}}` or the base64 alone.

    Raises Unfit for anything else, for more than a mask may have, and for more bytes than `pixels` has left.
    """
    if isinstance(value, dict) and isinstance(value.get("$binary"), dict):
        value = value["$binary"].get("base64")
    if not isinstance(value, str):
        raise Unfit(field, "must be an array in base64")
    content = _inflated(value, field, pixels)
    if content[:6] != b"\x93NUMPY" or content[6:7] not in (b"\1", b"\2"):
        raise Unfit(field, "holds no NumPy array")
    size = 2 if content[6] == 1 else 4
    start = 8 + size + int.from_bytes(content[8 : 8 + size], "little")
    found = _HEADER.fullmatch(content, 8 + size, min(start, MAX_HEADER))
    if found is None:
        raise Unfit(field, "must be an array of two axes, of numbers")
    kind, order, down, across = found.groups()
    height, width = size_of(int(down), int(across), field)
    dtype = np.dtype(kind.decode())
    if len(content) - start != height * width * dtype.itemsize:
        raise Unfit(field, f"does not hold {height} × {width} values")
    array = np.frombuffer(content, dtype=dtype, offset=start)
    return array.reshape((height, width), order="F" if order == b"True" else "C")


def _inflated(text: str, field: str, pixels: Pixels) -> bytes:
    inflate, most = zlib.decompressobj(), min(MAX_PIXELS, pixels.left) + MAX_HEADER
    try:
        content = inflate.decompress(b64decode(text, validate=True), most)
    except (binascii.Error, zlib.error, ValueError):
        raise Unfit(field, "must be an array in base64, compressed by zlib") from None
    spend(pixels, max(len(content) - MAX_HEADER, 1), field)
    if inflate.unconsumed_tail:
        raise Unfit(field, f"has more than {most} bytes" if most > MAX_PIXELS else NONE_LEFT)
    return content
