"""A million annotations take no more memory than a thousand, and the first bytes come with the first page."""

import tracemalloc
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from app.exports.coco_file import write_coco, write_coco_results
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.voc_file import write_voc
from app.exports.yolo_file import write_yolo, write_yolo_with_scores
from app.geometry import Frame
from tests.support.said import said

Writer = Callable[..., Iterator[bytes]]
WRITERS = [write_coco, write_coco_results, write_yolo, write_yolo_with_scores, write_voc]
FRAME = Frame(4000, 3000)
PAGE = 40
ID = UUID(int=1)


@cache
def page() -> list[Any]:
    """Boxes, and every eighth an outline, so that YOLO has two files at once; made once."""
    rows = []
    for at in range(PAGE):
        x, y = at * 30 + 0.5, at * 10 + 0.25
        box = {"x_min": x, "y_min": y, "x_max": x + 500, "y_max": y + 400}
        ring = {"points": [[x, y], [x + 100, y], [x + 50, y + 80]]}
        kind, data = ("polygon", ring) if at % 8 == 1 else ("bounding_box", box)
        rows.append(said(kind, data, FRAME, at))
    return rows


def entry(pages: int, taken: list[int]) -> Iterator[Entry]:
    def read() -> Iterator[Any]:
        for number in range(pages):
            taken.append(number)
            yield page()

    row = SimpleNamespace(filename="a.png", width=4000, height=3000, image_id=ID, project_id=ID)
    about = {
        "id": str(ID),
        "image_id": str(ID),
        "status": "completed",
        "model_name": "n",
        "model_version": "1",
    }
    yield Entry(about, row, read())  # type: ignore[arg-type]


def peak(write: Writer, pages: int) -> int:
    tracemalloc.start()
    try:
        for _ in write({"schema_version": "1.0"}, entry(pages, []), Losses()):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: getattr(write, "__name__", "yolo with scores"))
def test_memory_does_not_grow(write: Writer) -> None:
    peak(write, 1)  # what is made once
    few, many = peak(write, 15), peak(write, 45)
    assert many < few * 1.4 + 100_000


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: getattr(write, "__name__", "yolo with scores"))
def test_the_first_bytes_come_before_the_second_page(write: Writer) -> None:
    taken: list[int] = []
    pieces = write({"schema_version": "1.0"}, entry(5, taken), Losses())
    assert next(pieces) and len(taken) <= 1
    assert sum(1 for _ in pieces) and len(taken) == 5
