"""Analyses as one COCO dataset, or as a list of COCO results (cocodataset.org/#format-data).

COCO wants numbers where Loupe has UUIDs: images and annotations are counted from 1 in the order in which they are
written, and the UUIDs stand beside these as `loupe_id`. A dataset and results of the same choice have the same numbers.
An image is there once, however many analyses it has: each annotation has its `analysis_id`.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import orjson

from app.exports.coco_items import Categories, Item, annotation_of, result_of
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.waiting import Waiting
from app.geometry import Frame

SPACE = b"\n"  # the download goes on, though nothing is written

OneItem = Callable[[Any, Frame, Categories, Losses], Item | None]


def write_coco(head: dict[str, Any], entries: Iterable[Entry], losses: Losses) -> Iterator[bytes]:
    """`{info, licenses, annotations, categories, images, analyses, dropped}`; what is known last stands last."""
    info = {"description": "Exported from Loupe", "version": head["schema_version"], **head}
    with ExitStack() as stack:
        images, analyses = (_List(stack) for _ in range(2))
        numbers, categories = _Numbers(images), Categories()
        yield b'{"info":' + orjson.dumps(info) + b',"licenses":[],"annotations":['
        noted = _noting(entries, analyses)
        yield from _items(noted, numbers, categories, losses, annotation_of)
        yield b'],\n"categories":' + orjson.dumps(categories.rows)
        yield b',\n"images":['
        yield from images.pieces()
        yield b'],\n"analyses":['
        yield from analyses.pieces()
        yield b'],\n"dropped":' + orjson.dumps(losses.as_json()) + b"}\n"


def write_coco_results(head: dict[str, Any], entries: Iterable[Entry], losses: Losses) -> Iterator[bytes]:
    """`[{image_id, category_id, bbox, score, …}, …]`, as COCO's evaluation reads it beside a dataset."""
    with ExitStack() as stack:
        yield b"["
        yield from _items(entries, _Numbers(_List(stack)), Categories(), losses, result_of)
        yield b"]\n"


def _items(
    entries: Iterable[Entry], numbers: "_Numbers", categories: Categories, losses: Losses, one: OneItem
) -> Iterator[bytes]:
    comma, count = b"", 0
    for entry in entries:
        image, frame = numbers.of(entry), Frame(entry.row.width, entry.row.height)
        before = count
        for rows in entry.pages or ():
            written = []
            for row in rows:
                item = one(row, frame, categories, losses)
                if item is not None:
                    count += 1
                    item |= {"id": count} if one is annotation_of else {}
                    written.append(orjson.dumps({"image_id": image, **item}))
            yield comma + b",\n".join(written) if written else SPACE
            comma = b",\n" if written else comma
        if count == before:
            yield SPACE


class _List:
    """A list of JSON objects that waits for its turn in a file."""

    def __init__(self, stack: ExitStack) -> None:
        self.file = stack.enter_context(Waiting())
        self.comma = b""

    def add(self, one: dict[str, Any]) -> None:
        self.file.write(self.comma + orjson.dumps(one))
        self.comma = b",\n"

    def pieces(self) -> Iterator[bytes]:
        return self.file.chunks()


class _Numbers:
    """Counts the images; one that is new is written down. Holds a number for each."""

    def __init__(self, images: _List) -> None:
        self.images = images
        self.known: dict[UUID, int] = {}

    def of(self, entry: Entry) -> int:
        row = entry.row
        if row.image_id not in self.known:
            number = self.known[row.image_id] = len(self.known) + 1
            size = {"width": row.width, "height": row.height}
            about = {"loupe_id": str(row.image_id), "project_id": str(row.project_id)}
            self.images.add({"id": number, "file_name": row.filename, **size, **about})
        return self.known[row.image_id]


def _noting(entries: Iterable[Entry], analyses: _List) -> Iterator[Entry]:
    for entry in entries:
        analyses.add(entry.about)
        yield entry
