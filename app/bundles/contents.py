"""What is in a bundle: of each analysis what is known of it, its annotations, its audit trail and its files."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Any
from uuid import UUID

import orjson
from flask import current_app
from sqlalchemy.engine import Row

from app import exports, storage
from app.bundles.crate import METADATA, Crate
from app.bundles.keys import SigningKey, from_config
from app.bundles.layout import local_header
from app.bundles.writing import Writer, Written, blocks, check_manifest, least_manifest
from app.config import VERSION
from app.errors import Deleted, NotFound
from app.exports import bundled
from app.exports.json_file import write_ndjson
from app.exports.losses import Losses
from app.exports.many import (
    SCHEMA_VERSION,
    Entry,
    Progress,
    Selection,
    alone,
    analyses_of,
    entries,
    takes_a_while,
)
from app.exports.parts import begun
from app.exports.reading import Pages, as_found
from app.exports.stored import Stored, of_artifact, of_image
from app.extensions import db
from app.models import Analysis, Group, Status
from app.schemas.base import moment
from app.schemas.projects import image_out
from app.storage import Storage

ENDING = "bundle.zip"
DESCRIPTION = (
    "What a model said of an image, with which parameters and from which code, and who did what with it when."
)
ABOUT = "analysis.json"
TOLD = 3  # files that every analysis has: what is known of it, its annotations, its audit trail


@dataclass(frozen=True)
class Download:
    filename: str
    content_type: str
    chunks: Generator[bytes, None, None]


@dataclass(frozen=True)
class Making:
    """Where a bundle comes from. `images` says whether the pictures come along."""

    storage: Storage
    key: SigningKey
    now: datetime
    images: bool


def making(images: bool) -> Making:
    """As the running app has it."""
    now: datetime = current_app.extensions["clock"]()
    return Making(storage.current(), from_config(current_app.config)[0], now.astimezone(UTC), images)


def of_analysis(analysis: Analysis, making: Making) -> Download:
    """All of it is read while it is sent. Ends the open transaction, so that none is held meanwhile.

    One that runs is set aside whole, as it is at one moment, which takes a while: how its bundle begins is sent before.
    A storage or database that fails then raises from `chunks`: the download breaks off, and what arrived has no
    manifest.
    """
    name, analysis_id, status = exports.filename(analysis, ENDING), analysis.id, Status(analysis.status)
    db.session.rollback()
    found = alone(analysis_id, making.storage)
    made = _download(name, {"analysis_id": str(analysis_id)}, found, making)
    return made if status.is_terminal else _begun(made, analysis_id, making)


def of_group(group: Group, making: Making) -> Download:
    """The same for a group, with the analyses that are there now.

    Raises NotFound when nothing is left of it, and LimitReached where that is too much for one bundle. What only shows
    while it is sent breaks the download off. Where one of the first is set aside whole, and that takes a while, how
    the bundle begins is sent before.
    """
    scope = {"project_id": str(group.project_id), "group_id": group.group_id}
    selection = Selection(project_id=group.project_id, group_id=group.group_id)
    db.session.rollback()
    _check_size(selection, making)
    oldest = next(analyses_of(selection, making.now), ())
    found: Iterator[Entry] = entries(selection, making.now, making.storage)
    late = any(map(takes_a_while, oldest))
    first = list(islice(found, 0 if late else 1))
    if not late and not first:
        raise NotFound("Nothing is left of this group.")
    name = f"group_{scope['group_id'][:100]}_{making.now:%Y%m%d_%H%M%S}.{ENDING}"
    made = _download(name, scope, chain(first, found), making)
    return _begun(made, oldest[0].id, making) if late else made


def of_selection(selection: Selection, making: Making, progress: Progress) -> Generator[bytes]:
    """The bytes of one that is written in the background, of what was there at the moment of `making`.

    Raises LimitReached where that is too much, before anything else is read where it is known beforehand.
    """
    _check_size(selection, making)
    told = selection.as_json().items()
    scope = {name: value for name, value in told if value is not None and name != "annotations"}
    found = progress.over(entries(selection, making.now, making.storage))
    yield from blocks(_Bundle(making).chunks(scope, found))


def _check_size(selection: Selection, making: Making) -> None:
    """Raises LimitReached where what is recorded of it is too much for one bundle."""
    analyses, files, size = bundled.known_of(selection, making.now, making.images)
    check_manifest(least_manifest(TOLD * analyses + files, size))


def _begun(made: Download, first: UUID, making: Making) -> Download:
    """With the header of the first analysis sent before that is read. A storage that is away is told before it."""
    as_found(bundled.artifacts_of(first), making.storage)
    return replace(made, chunks=begun(local_header(f"analyses/{first}/{ABOUT}"), made.chunks))


def _download(name: str, scope: dict[str, str], found: Iterator[Entry], making: Making) -> Download:
    return Download(name, "application/zip", blocks(_Bundle(making).chunks(scope, found)))


class _Bundle:
    _writer: Writer
    _crate: Crate

    def __init__(self, making: Making) -> None:
        self._making, self._storage = making, making.storage
        self._images: dict[UUID, str | None] = {}  # their names in the bundle, None where they are not in it
        self._counts = {"analyses": 0, "annotations": 0}

    def chunks(self, scope: dict[str, str], found: Iterator[Entry]) -> Iterator[bytes]:
        with closing(Writer()) as self._writer, closing(Crate()) as self._crate:
            for entry in found:
                yield from self._analysis(entry)
            title = "Bundle of " + (", ".join(" ".join(pair) for pair in scope.items()) or "all analyses")
            yield from self._writer.file(METADATA, self._crate.chunks(title, DESCRIPTION, self._making.now))
            about = {
                "made_at": moment(self._making.now),
                "made_by": f"Loupe {VERSION}",
                "schema_version": SCHEMA_VERSION,
                "scope": scope,
                "images": self._making.images,
                "counts": self._counts,
            }
            yield from self._writer.finish(about, self._making.key)

    def _analysis(self, entry: Entry) -> Iterator[bytes]:
        image, kept = bundled.image_of(entry.row.image_id), bundled.artifacts_of(entry.row.id)
        if image is None:
            raise Deleted("The image of this analysis has been purged.")
        place = f"analyses/{entry.row.id}"
        about = _line({**entry.about, "image": image_out(image)})
        self._counts["analyses"] += 1
        yield from self._told(f"{place}/{ABOUT}", iter([about]), "The analysis and its image")
        results = [f"{place}/annotations.ndjson"]
        counted = replace(entry, pages=self._counted(entry.pages or iter(())))
        yield from self._told(results[0], write_ndjson(counted, Losses()), "What the model said, a line each")
        trail = _trail(entry.row.id, kept)
        yield from self._told(f"{place}/audit.ndjson", trail, "Who did what with it and when, a line each")
        for row in kept:
            stored = of_artifact(row, f"{place}/artifacts")
            if (yield from self._file(stored, f"Artifact: {row.artifact_type}")):
                results.append(stored.name)
        self._crate.action(entry.row, image, (yield from self._image(image)), results)

    def _counted(self, pages: Pages) -> Pages:
        for rows in pages:
            self._counts["annotations"] += len(rows)
            yield rows

    def _image(self, image: Row[Any]) -> Generator[bytes, None, str | None]:
        """Its name in the bundle, if it is in it. An image of several analyses is in it once."""
        if self._making.images and image.id not in self._images:
            stored = of_image(image)
            self._images[image.id] = stored.name if (yield from self._file(stored, "The image")) else None
        return self._images.get(image.id)

    def _told(self, name: str, chunks: Iterator[bytes], description: str) -> Iterator[bytes]:
        yield from self._writer.file(name, chunks)
        self._crate.file(self._writer.last, description)

    def _file(self, stored: Stored, description: str) -> Generator[bytes, None, bool]:
        """Whether the storage has it; else the manifest says that it is absent."""
        try:
            source = self._storage.open(stored.key)
        except NotFound:
            self._writer.absent({"name": stored.name, "state": stored.absence, "recorded": stored.recorded})
            return False

        def about(written: Written) -> dict[str, Any]:
            state = stored.state(source.info, written.size, written.sha256)
            return {"state": state, "recorded": stored.recorded}

        with closing(source):
            yield from self._writer.file(stored.name, source, about)
        self._crate.file(self._writer.last, description)
        return True


def _trail(analysis_id: UUID, kept: Sequence[Row[Any]]) -> Iterator[bytes]:
    for rows in bundled.trail_of(analysis_id, kept):
        yield b"".join(_line(_event_out(row)) for row in rows)


def _event_out(row: Row[Any]) -> dict[str, Any]:
    """A person and a key are named by id alone: whoever may read an analysis is told no addresses and names of keys."""
    is_person = row.actor_kind == "user" or row.actor_id is not None
    return {
        "id": str(row.id),
        "created_at": moment(row.created_at),
        "actor_kind": row.actor_kind,
        "actor_id": str(row.actor_id) if row.actor_id else None,
        "actor_label": None if is_person else _without_name(row.actor_label),
        "action": row.action,
        "subject_type": row.subject_type,
        "subject_id": row.subject_id,
        "before": row.before,
        "after": row.after,
        "request_id": row.request_id,
    }


def _without_name(label: str) -> str:
    """`pipeline {name} ({id})`, as a pipeline key is called in the audit trail, is `pipeline ({id})`."""
    name, mark, key_id = label.rpartition(" (")
    return f"pipeline{mark}{key_id}" if mark and name.startswith("pipeline ") else label


def _line(value: dict[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
