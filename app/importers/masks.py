"""Masks in other forms than COCO's run-lengths, as these."""

from typing import Any

import numpy as np

from app.annotations.segmentation import MAX_PIXELS, MAX_RUNS, MAX_SIDE
from app.geometry import Bits, Runs, text_from_runs
from app.importers.base import Json, Pixels
from app.importers.reading import Unfit, whole

NONE_LEFT = "has more pixels than are left for the masks of one file"
HALF = 0.5  # where a mask of probabilities is cut, as torchvision's and Detectron2's documentation does


def mask_data(
    bits: Bits, field: str, left: int = 0, top: int = 0, size: tuple[int, int] | None = None
) -> Json:
    """`data` of a segmentation: these rows, whose first pixel lies at (left, top) of a frame of `size` (height, width).

    Raises Unfit when it would have more runs than a segmentation may have.
    """
    height, width = size or (bits.shape[0], bits.shape[1])
    runs = _placed(bits, left, top, height, width, field)
    return {"format": "rle", "counts": text_from_runs(runs), "size": [height, width]}


def size_of(height: Any, width: Any, field: str) -> tuple[int, int]:
    height, width = (whole(side, field, 1, MAX_SIDE) for side in (height, width))
    if height * width > MAX_PIXELS:
        raise Unfit(field, f"must be at most {MAX_PIXELS} pixels")
    return height, width


def spend(pixels: Pixels, count: int, field: str) -> None:
    """Takes so many from what a file's masks may have. Raises Unfit when it has not so many left."""
    if count > MAX_PIXELS:
        raise Unfit(field, f"must be at most {MAX_PIXELS} pixels")
    enough, pixels.left = count <= pixels.left, max(pixels.left - count, 0)
    if not enough:
        raise Unfit(field, NONE_LEFT)


def rows_of(value: Any, field: str) -> Bits:
    """A mask as a list of rows, of true and false or of numbers; also with one axis of length 1 before it.

    Raises Unfit when it is ragged, empty or anything else.
    """
    if isinstance(value, list) and len(value) == 1 and _is_nested(value[0]):
        value = value[0]
    if not _is_nested(value):
        raise Unfit(field, "must be rows of numbers, or COCO run-lengths")
    width = len(value[0])
    size_of(len(value), width, field)
    out = np.zeros((len(value), width), dtype=np.bool_)
    for i, row in enumerate(value):
        if not isinstance(row, list) or len(row) != width or not {*map(type, row)} <= {bool, int, float}:
            raise Unfit(f"{field}.{i}", f"must be a row of {width} numbers")
        out[i] = [entry > HALF for entry in row]
    return out


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], list)


def _placed(bits: Bits, left: int, top: int, height: int, width: int, field: str) -> Runs:
    """Column-major runs of the whole frame, the first of them background."""
    rows, columns = (np.flatnonzero(bits.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return np.array([height * width], dtype=np.int64)
    inner = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].T
    edges = np.zeros((inner.shape[0], inner.shape[1] + 1), dtype=np.bool_)
    edges[:, 0], edges[:, -1] = inner[:, 0], inner[:, -1]
    np.not_equal(inner[:, 1:], inner[:, :-1], out=edges[:, 1:-1])
    if np.count_nonzero(edges) > MAX_RUNS:
        raise Unfit(field, f"must have at most {MAX_RUNS} runs")
    column, row = np.nonzero(edges)
    at = (
        (left + int(columns[0]) + column) * height + top + int(rows[0]) + row
    )  # of a start, its end, the next start
    open_ = np.ones(at.size, dtype=np.bool_)
    touching = at[1:-1:2] == at[2::2]  # a run from the foot of one column on to the head of the next
    open_[1:-1:2] = open_[2::2] = ~touching
    runs: Runs = np.diff(np.concatenate(([0], at[open_], [height * width])))
    return runs[:-1] if runs[-1] == 0 else runs
