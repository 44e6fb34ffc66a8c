"""Run-length masks, without ever decoding more of them than is asked for.

They follow the COCO API (github.com/cocodataset/cocoapi, `common/maskApi.c`): column-major, the first run is
background, as a list of runs or as the API's compressed text.
"""

import numpy as np

from app.geometry.shapes import Bits, Frame, Raster, Rect, Runs


def runs_from_text(text: str) -> Runs:
    """The runs of COCO's compressed text: 5 bits a character, low first, from index 3 as differences.

    Raises ValueError for characters outside `0`…`o`, an unfinished number or one beyond 35 bits.
    """
    try:
        codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError:
        raise ValueError("has a character outside '0' to 'o'") from None
    if not codes.size:
        return np.zeros(0, dtype=np.int64)
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError("has a character outside '0' to 'o'")
    ends = np.flatnonzero(codes & 0x20 == 0)
    if not ends.size or ends[-1] != codes.size - 1:
        raise ValueError("ends in the middle of a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 7:
        raise ValueError("has a number beyond 35 bits")
    shifts = 5 * (np.arange(codes.size) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 0x1F) << shifts, starts)
    values -= np.where(codes[ends] & 0x10, np.int64(1) << 5 * lengths, 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def text_from_runs(runs: Runs) -> str:
    """The inverse of `runs_from_text`."""
    out = bytearray()
    for i, run in enumerate(runs.tolist()):
        value = run - int(runs[i - 2]) if i > 2 else run
        more = True
        while more:
            code = value & 0x1F
            value >>= 5
            more = value != (-1 if code & 0x10 else 0)
            out.append((code | 0x20 if more else code) + 48)
    return out.decode("ascii")


def check_runs(runs: Runs, width: int, height: int) -> None:
    """ValueError unless the runs are not negative and add up to width · height."""
    if runs.size and runs.min() < 0:
        raise ValueError("has a negative run")
    if runs.size and runs.max() > width * height:  # before the sum, which could overflow into the right one
        raise ValueError("has a run longer than the size has pixels")
    total = int(runs.sum())
    if total != width * height:
        raise ValueError(f"adds up to {total}, but the size [{height}, {width}] has {width * height} pixels")


def spans(raster: Raster) -> tuple[Runs, Runs]:
    """First and end position, column-major, of every foreground run that is not empty."""
    if raster.runs is None:
        raise ValueError("this raster stands in the object store and has no runs")
    ends = np.cumsum(raster.runs)
    starts, ends = (ends - raster.runs)[1::2], ends[1::2]
    real = ends > starts
    return starts[real], ends[real]


def raster_area(raster: Raster) -> int:
    """Foreground pixels of a run-length mask, in its own size."""
    starts, ends = spans(raster)
    return int((ends - starts).sum())


def raster_box(raster: Raster) -> tuple[int, int, int, int] | None:
    """`(left, top, right, bottom)` of the foreground in the mask's own pixels, ends excluded."""
    starts, ends = spans(raster)
    if not starts.size:
        return None
    height, last = raster.height, ends - 1
    left, right = int(starts[0]) // height, int(last[-1]) // height + 1
    if np.any(starts // height != last // height):
        return left, 0, right, height
    return left, int((starts % height).min()), right, int((last % height).max()) + 1


def raster_bounds(raster: Raster, frame: Frame) -> Rect | None:
    """The bounds of the foreground over an image of this frame; a stored PNG covers all of it."""
    if raster.runs is None:
        return Rect(0.0, 0.0, float(frame.width), float(frame.height))
    box = raster_box(raster)
    if box is None:
        return None
    across, down = frame.width / raster.width, frame.height / raster.height
    return Rect(box[0] * across, box[1] * down, box[2] * across, box[3] * down)


def decode_crop(raster: Raster) -> tuple[tuple[int, int, int, int], Bits] | None:
    """The `raster_box` and the mask inside it as rows; never decodes more than the columns in use."""
    box = raster_box(raster)
    return None if box is None else (box, decode(raster, *box))


def decode(raster: Raster, left: int, top: int, right: int, bottom: int) -> Bits:
    """The mask between these edges as rows, ends excluded; decodes no more than its columns."""
    starts, ends = spans(raster)
    height, first, last = raster.height, left * raster.height, right * raster.height
    met = slice(int(np.searchsorted(ends, first, "right")), int(np.searchsorted(starts, last, "left")))
    steps = np.zeros(last - first + 1, dtype=np.int8)
    # a start and an end may meet where two spans touch, so these add up
    steps[np.maximum(starts[met] - first, 0)] += 1
    steps[np.minimum(ends[met], last) - first] -= 1
    columns = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_).reshape(right - left, height)
    return columns[:, top:bottom].T


def sample(raster: Raster, columns: Runs, rows: Runs) -> Bits:
    """The mask at each crossing of these rows and columns, looked up in the runs without decoding."""
    if raster.runs is None:
        raise ValueError("this raster stands in the object store and has no runs")
    positions = columns[None, :] * raster.height + rows[:, None]
    run = np.searchsorted(np.cumsum(raster.runs), positions, side="right")
    return np.asarray(run % 2 == 1)


def runs_of(bits: Bits) -> Runs:
    """The run lengths of a mask given as rows."""
    flat = np.asarray(bits, dtype=np.bool_).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    borders = np.concatenate(([0], changes, [flat.size]))
    runs = np.diff(borders)
    return np.concatenate(([0], runs)) if flat.size and flat[0] else runs
