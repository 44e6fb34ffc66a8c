"""What an export in any format must hold, read from its file piece by piece: a million annotations fit in no list."""

import csv
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import orjson

from benchmarks import bodies
from benchmarks.wire import Wrong, expect

PIECE = 1 << 20
BETWEEN = b'},{"id":"'  # two annotations of a JSON document
Told = tuple[str, float, float]  # the name, the confidence and the left edge of an annotation


@dataclass(frozen=True)
class Held:
    """How many, two sums, and the ends. The sums are whole, in the last places that boxes have: they are exact."""

    count: int
    confidences: int
    left_edges: int
    first: str
    last: str


def held(told: Iterable[Told]) -> Held:
    count = confidences = left_edges = 0
    first = last = ""
    for last, confidence, left in told:
        first = first or last
        count += 1
        confidences += round(confidence * 10_000)
        left_edges += round(left * 100)
    return Held(count, confidences, left_edges, first, last)


def expected(filled: int, copies: int) -> Held:
    """Of the boxes 0 to `filled - 1`, and of copies of them whose names end with `-1`, `-2`, …"""
    boxes = (bodies.box(rank) for rank in range(filled))
    one = held((box["client_id"], box["confidence"], box["data"]["x_min"]) for box in boxes)
    last = f"{one.last}-{copies - 1}" if copies > 1 else one.last
    return Held(one.count * copies, one.confidences * copies, one.left_edges * copies, one.first, last)


def check(form: str, file: IO[bytes], wanted: Held) -> None:
    """Raises Wrong where the file of this format does not hold it: what cannot be read is wrong too."""
    file.seek(0)
    try:
        if form in TOLD:
            expect(f"what was exported as {form}", held(TOLD[form](file)), wanted)
        else:
            expect(f"the number exported as {form}", COUNTED[form](file), wanted.count)
    except (ValueError, LookupError, TypeError, csv.Error, zlib.error, BadZipFile) as reason:
        raise Wrong(f"what was exported as {form} cannot be read: {reason!r}") from reason


def _json(file: IO[bytes]) -> Iterator[Told]:
    """One document of one line. An annotation begins with its id, and nothing in a box looks like the next one."""
    head, _, rest = file.read(PIECE).partition(b',"annotations":[')
    count = 0
    for text in _between(rest, file):
        for one in orjson.loads(b"[" + text + b"]"):
            count += 1
            yield _told(one)
    expect("annotation_count", orjson.loads(head + b"}")["annotation_count"], count)


def _between(rest: bytes, file: IO[bytes]) -> Iterator[bytes]:
    """Whole annotations, with the commas between them."""
    while piece := file.read(PIECE):
        rest += piece
        end = rest.rfind(BETWEEN) + 1
        if end:
            yield rest[:end]
            rest = rest[end + 1 :]
    expect("the end of the document", rest[-3:], b"]}\n")
    yield rest[:-3]


def _ndjson(file: IO[bytes]) -> Iterator[Told]:
    count, line = 0, orjson.loads(file.readline())
    expect("the kind of the first line", line["kind"], "analysis")
    for text in file:
        line = orjson.loads(text)
        if line["kind"] != "annotation":
            break
        count += 1
        yield _told(line)
    expect("the last line", line, {"kind": "end", "analysis_count": 1, "annotation_count": count})
    expect("what follows it", file.read(), b"")


def _csv(file: IO[bytes]) -> Iterator[Told]:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    lines = csv.reader(text)
    names = next(lines)
    name, confidence, left = (names.index(column) for column in ("client_id", "confidence", "x_min"))
    for line in lines:
        yield line[name], float(line[confidence]), float(line[left])
    text.detach()  # or the file would be closed with it


def _coco(file: IO[bytes]) -> Iterator[Told]:
    """A line for each annotation, counted from 1; the first also has what stands before them."""
    text = file.readline().partition(b'"annotations":[')[2]
    for number, one in enumerate(_items(text, file), 1):
        expect("id", one["id"], number)
        yield one["client_id"], one["score"], one["bbox"][0]
    rest = orjson.loads(b"{" + file.read())
    expect("images and analyses", (len(rest["images"]), len(rest["analyses"])), (1, 1))
    expect("annotation_count", rest["analyses"][0]["annotation_count"], number)


def _coco_results(file: IO[bytes]) -> Iterator[Told]:
    for one in _items(file.readline().removeprefix(b"["), file):
        yield one["client_id"], one["score"], one["bbox"][0]
    expect("the end of the list", file.read(), b"")


def _items(text: bytes, file: IO[bytes]) -> Iterator[Any]:
    """The objects of a list, one on each line, up to its end."""
    while text.endswith(b"},\n"):
        yield orjson.loads(text[:-2])
        text = file.readline()
    last = text.rstrip(b",\n")
    expect("the end of the list", last[-2:], b"}]")
    yield orjson.loads(last[:-1])


def _told(one: dict[str, Any]) -> Told:
    return one["client_id"], one["confidence"], one["data"]["x_min"]


def _yolo(file: IO[bytes]) -> int:
    """Lines of the only file of labels."""
    return _marks_in(file, "/labels/", b"\n")


def _voc(file: IO[bytes]) -> int:
    return _marks_in(file, "/Annotations/", b"</object>")


def _bundle(file: IO[bytes]) -> int:
    """Lines of the only file of annotations that say they are one."""
    return _marks_in(file, "annotations.ndjson", b'{"kind":"annotation",')


def _marks_in(file: IO[bytes], part: str, mark: bytes) -> int:
    """How often the mark is in the one entry with `part` in its name. The checksums of all are held."""
    with ZipFile(file) as whole:
        (entry,) = (name for name in whole.namelist() if part in name)
        expect("the entry that is broken", whole.testzip(), None)
        with whole.open(entry) as lines:
            return _occurrences(lines, mark)


def _occurrences(file: IO[bytes], mark: bytes) -> int:
    count, rest = 0, b""
    while piece := file.read(PIECE):
        piece = rest + piece
        count += piece.count(mark)
        rest = piece[len(piece) - len(mark) + 1 :] if len(mark) > 1 else b""
    return count


TOLD: dict[str, Callable[[IO[bytes]], Iterator[Told]]] = {
    "json": _json,
    "ndjson": _ndjson,
    "csv": _csv,
    "coco": _coco,
    "coco-results": _coco_results,
}
"""Of these the sums and ends are held too, and not only the number."""

COUNTED: dict[str, Callable[[IO[bytes]], int]] = {
    "yolo": _yolo,
    "yolo-scores": _yolo,
    "voc": _voc,
    "bundle": _bundle,
}
