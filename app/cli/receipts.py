"""What an import says: a receipt for each image and one for all of them, as lines to read or as lines of JSON."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import click
from flask import current_app

from app.cli.outcome import told_of
from app.cli.taking import Taken
from app.errors import LoupeError
from app.importers.base import Json
from app.schemas.receipts import said_of

COUNTS = ("inserted", "unchanged", "updated", "removed", "total")
SUMMED = (*COUNTS[:-1], "normalised_count", "skipped_count")


def receipt_of(taken: Taken) -> Json:
    """As the answer over HTTP has it, but for the list of all annotations."""
    analysis = taken.analysis
    address = f"{current_app.config['PUBLIC_URL']}/images/{analysis.image_id}?analysis={analysis.id}"
    about = {"filename": analysis.image.filename, "image_id": str(analysis.image_id)}
    ids = {**about, "analysis_id": str(analysis.id), "shown_at": address}
    return {**ids, **taken.counts, **said_of(taken.bulk)}


class Report:
    """Says what became of each image as soon as it is known, and counts; nothing of it is kept."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.kinds: Counter[str] = Counter()
        self.sums = dict.fromkeys(SUMMED, 0)
        self.left_annotations: Counter[str] = Counter()
        self.faults = 0  # entries of files that are of no image

    def image(self, receipt: Json, **place: str) -> None:
        for name in SUMMED:
            self.sums[name] += receipt.get(name, 0)
        self.add("image", **place, **receipt)

    def file(self, source: str, said: Json) -> None:
        """What there is to say of a file as a whole."""
        self.faults += (faults := said.get("skipped_count", 0))
        self.sums["skipped_count"] += faults
        self.say("file", {"source": source, **said})

    def left(self, kind: str, *, place: Json, annotations: int | None, **said: Any) -> None:
        """What is of no image, or of none for certain; None where nobody knows how many annotations it has."""
        self.left_annotations[kind] += annotations or 0
        self.add(kind, **place, **said, annotations=annotations)

    def refused(self, error: LoupeError, **place: str) -> None:
        self.add("refused", **place, reason=error.detail, errors=error.errors or [])

    def add(self, kind: str, **said: Any) -> None:
        self.kinds[kind] += 1
        self.say(kind, said)

    def total(self, **said: Any) -> None:
        counted = {name: self.kinds[kind] for kind, name in IN_TOTAL.items()}
        left = {f"annotations_{kind}": self.left_annotations[kind] for kind in LEFT}
        self.say("total", {**said, **counted, **left, **self.sums})

    def say(self, kind: str, said: Json) -> None:
        lines = [json.dumps({"kind": kind, **said})] if self.as_json else map(printable, LINES[kind](said))
        for line in lines:
            click.echo(line)


LEFT = ("unmatched", "ambiguous")
IN_TOTAL = {
    "image": "images",
    "refused": "images_refused",
    "unmatched": "images_unmatched",
    "ambiguous": "images_ambiguous",
    "other": "files_left_out",
}


def printable(line: str) -> str:
    """A name in a file may hold anything, also what a terminal obeys."""
    return "".join(c if c.isprintable() else "\ufffd" for c in line)


def _image(said: Json) -> Iterator[str]:
    yield f"{_where(said)}: analysis {said['analysis_id']} of {said['filename']}"
    yield from (f"  {line}" for line in lines_of(said))


def _refused(said: Json) -> Iterator[str]:
    yield f"{_where(said)}: refused: {said['reason']}"
    yield from (f"  {told_of(entry)}" for entry in said["errors"])


def _ambiguous(said: Json) -> Iterator[str]:
    yield f"{_where(said)}: ambiguous: {said['reason']}{_annotations(said['annotations'])}"


def _unmatched(said: Json) -> Iterator[str]:
    yield f"{_where(said)}: the project has no image of this name{_annotations(said['annotations'])}"


def _annotations(number: int | None) -> str:
    return f" ({number} annotation{'' if number == 1 else 's'})" if number else ""


def _other(said: Json) -> Iterator[str]:
    what = "it is hidden, an artifact, a bundle's trail, or ends like no file of this format"
    yield f"{said['source']}: left out: {what}"


def _file(said: Json) -> Iterator[str]:
    lines = [*_of_faults(said), *_of_file(said)]
    if lines:
        yield f"{said['source']}:"
        yield from (f"  {line}" for line in lines)


def _total(said: Json) -> Iterator[str]:
    yield ", ".join(
        [
            f"{said['images']} image{'' if said['images'] == 1 else 's'} taken",
            f"{said['images_refused']} refused",
            *(f"{said[f'images_{kind}']} {kind}{_annotations(said[f'annotations_{kind}'])}" for kind in LEFT),
        ]
    )
    yield ", ".join(f"{said[name]} {name.removesuffix('_count')}" for name in SUMMED)
    if said["dry_run"]:
        yield "Nothing is stored, as this is a dry run."
    elif said["images"]:
        yield f"Group {said['group_id']}: {said['shown_at']}"


LINES: dict[str, Callable[[Json], Iterator[str]]] = {
    "image": _image,
    "refused": _refused,
    "ambiguous": _ambiguous,
    "unmatched": _unmatched,
    "other": _other,
    "file": _file,
    "total": _total,
}


def _where(said: Json) -> str:
    return f"{said['source']}: {said['called']}" if said.get("called") else str(said["source"])


def lines_of(said: Json) -> Iterator[str]:
    """The receipt of one image."""
    yield ", ".join(f"{said[name]} {name}" for name in COUNTS)
    yield from _of_faults(said)
    if "normalised" in said:
        kinds = Counter(note["what"] for one in said["normalised"] for note in one["notes"])
        listed = ", ".join(f"{kind} {number}" for kind, number in kinds.items())
        yield f"normalised: {said['normalised_count']} ({listed} in the first {len(said['normalised'])})"
    for name in said.get("ignored", ()):
        yield f"ignored: {name}"
    yield from _of_file(said["file"])


def _of_faults(said: Json) -> Iterator[str]:
    for one in said.get("skipped", ()):
        for fault in one["errors"]:
            yield f"refused: {one['place']}: {fault['field']} {fault['reason']}"
    if (more := said.get("skipped_count", 0) - len(said.get("skipped", ()))) > 0:
        yield f"refused: {more} more that are not listed"


def _of_file(said: Json) -> Iterator[str]:
    for kind in ("left_out", "told"):
        for entry in said.get(kind, ()):
            yield f"{kind.replace('_', ' ')}: {entry['count']} × {entry['what']} ({', '.join(entry['places'])})"
    for entry in said.get("extra", ()):
        yield f"kept in data.extra: {entry['count']} × {entry['key']}"
    for kind in ("left_out", "told", "extra"):
        if (more := said.get(f"{kind}_count", 0) - len(said.get(kind, ()))) > 0:
            yield f"{kind.replace('_', ' ')}: {more} more that are not listed"
