"""Analyses as YOLO labels in a zip, for each model and version datasets as Ultralytics trains on
(docs.ultralytics.com/datasets): one of boxes, one of outlines, and one of keypoints for each number of them.

Pictures go into the folder `images` beside `labels`. An analysis that says nothing has no file: so Ultralytics writes
and reads an image without anything on it. `images.csv` has a line for it all the same.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

from app.exports.csv_file import cell
from app.exports.file_names import Folders, Names, stem
from app.exports.losses import Losses
from app.exports.many import Entry
from app.exports.parts import FIRST_DAY, manifest, readme
from app.exports.waiting import Waiting
from app.exports.yolo_lines import line_of
from app.exports.zips import ZipStream
from app.geometry import Frame

NO_CLASS = "unlabeled"
BLOCK = 64 * 1024
MOST_AT_ONCE = 20  # files that one analysis is written to
README = "Labels for Ultralytics: a dataset beside each `data.yaml`; its pictures go into `images` beside `labels`."
COLUMNS = ("file", "image_id", "analysis_id", "filename", "width", "height", "model_name", "model_version")


class Line(NamedTuple):
    dataset: str
    text: bytes


@dataclass
class Dataset:
    """The classes by number from 0, in the order in which they come; the keypoints' names are those of the first."""

    classes: dict[str | None, int] = field(default_factory=dict)
    keypoints: dict[int, list[str | None]] = field(default_factory=dict)

    def number_of(self, class_name: str | None) -> int:
        return self.classes.setdefault(class_name, len(self.classes))


def write_yolo(
    head: dict[str, Any], entries: Iterable[Entry], losses: Losses, *, scores: bool = False
) -> Iterator[bytes]:
    """`{model}-{version}/{detect, segment, pose17, …}/labels/{image}.txt`, and `data.yaml` beside `labels`."""
    with ExitStack() as stack:
        stream = stack.enter_context(closing(ZipStream(FIRST_DAY)))
        writer = _Writer(stream, losses, scores, stack.enter_context(Waiting()))
        yield from readme(stream, README)
        for entry in entries:
            yield from writer.entry(entry)
        yield from writer.datasets_and_index()
        yield from manifest(stream, head, losses)
        yield from stream.end()


write_yolo_with_scores = partial(write_yolo, scores=True)


class _Writer:
    def __init__(self, stream: ZipStream, losses: Losses, scores: bool, index: Waiting) -> None:
        self.stream, self.losses, self.scores, self.index = stream, losses, scores, index
        self.names, self.folders = Names(), Folders()
        self.datasets: dict[str, Dataset] = {}
        self._note(COLUMNS)

    def entry(self, entry: Entry) -> Iterator[bytes]:
        """The lines go to the file of their dataset: those of the first at once, those of others wait in files."""
        lines = self._lines(entry)
        first = None
        for first in lines:
            if first is not None:
                break
            yield self.stream.nothing()
        if first is None:
            self._note_file("", entry)
            yield self.stream.nothing()  # the download goes on, though of many nothing is written
            return
        with ExitStack() as stack:
            others: dict[str, Waiting] = {}
            here = _blocks(self._sorted(chain([first], lines), first.dataset, others, stack))
            yield from self.stream.add(self._path(first.dataset, entry), here, deflate=True)
            for dataset, file in others.items():
                yield from self.stream.add(self._path(dataset, entry), file.chunks(), deflate=True)

    def _sorted(
        self, lines: Iterable[Line | None], dataset: str, others: dict[str, Waiting], stack: ExitStack
    ) -> Iterator[bytes]:
        for line in lines:
            if line is None:
                yield b""
                continue
            if line.dataset == dataset:
                yield line.text
                continue
            if line.dataset not in others:
                others[line.dataset] = stack.enter_context(Waiting())
            others[line.dataset].write(line.text)

    def _lines(self, entry: Entry) -> Iterator[Line | None]:
        """None is the end of a page."""
        frame, folder, met = Frame(entry.row.width, entry.row.height), self.folders.of(entry), set[str]()
        for rows in entry.pages or ():
            for row in rows:
                found = line_of(row, frame, self.losses, scores=self.scores)
                if found is None:
                    continue
                if found[0] not in met and len(met) == MOST_AT_ONCE:
                    self.losses("keypoint_count")
                    continue
                met.add(found[0])
                dataset = f"{folder}/{found[0]}"
                number = self._class(dataset, row)
                yield Line(dataset, f"{number} {found[1]}\n".encode())
            yield None

    def _class(self, dataset: str, row: Any) -> int:
        known = self.datasets.setdefault(dataset, Dataset())
        if row.class_name is None:
            self.losses("no_class")
        number = known.number_of(row.class_name)
        if row.annotation_type == "keypoint":
            names = [point.get("name") for point in row.data["keypoints"]]
            if known.keypoints.setdefault(number, names) != names or None in names:
                self.losses("keypoint_names")
        return number

    def _path(self, dataset: str, entry: Entry) -> str:
        folder, mark = f"{dataset}/labels", entry.about["id"][-12:]
        path = self.names.unique(folder, stem(entry.row.filename), ".txt", mark)
        self._note_file(path, entry)
        return path

    def datasets_and_index(self) -> Iterator[bytes]:
        for path, dataset in self.datasets.items():
            text = _data_yaml(dataset, path.rpartition("/pose")[2])
            yield from self.stream.add(f"{path}/data.yaml", [text.encode()], deflate=True)
        yield from self.stream.add("images.csv", self.index.chunks(), deflate=True)

    def _note_file(self, path: str, entry: Entry) -> None:
        row, about = entry.row, entry.about
        size, model = (row.width, row.height), (about["model_name"], about["model_version"])
        self._note((path, about["image_id"], about["id"], row.filename, *size, *model))

    def _note(self, cells: Iterable[Any]) -> None:
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(map(cell, cells))
        self.index.write(line.getvalue().encode())


def _data_yaml(dataset: Dataset, keypoints: str) -> str:
    """As Ultralytics reads it; texts are double-quoted, which is YAML as well as JSON."""
    lines = ["train: images", "val: images", "names:"]
    lines += [f"  {number}: {_quoted(name or NO_CLASS)}" for name, number in dataset.classes.items()]
    if dataset.keypoints:
        lines += [f"kpt_shape: [{keypoints}, 3]", "kpt_names:"]
        for number, names in dataset.keypoints.items():
            texts = (_quoted(name or f"keypoint_{n}") for n, name in enumerate(names, 1))
            lines.append(f"  {number}: [{', '.join(texts)}]")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """What cannot be printed is written as its number."""
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(
        r"[^\x20-\x7e]", lambda one: one[0] if one[0].isprintable() else f"\\U{ord(one[0]):08X}", quoted
    )


def _blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    block = bytearray()
    for line in lines:
        if not line:
            yield b""
        block += line
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block)
