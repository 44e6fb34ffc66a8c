"""Analyses as a file to download, one or many: all formats are written a page at a time, in bounded memory.

A module for each format, `formats.FORMATS` has them all. What a file holds is exact: a terminal analysis as it is for
ever, one that still runs as it was at one moment, when the export came to it (with one analysis: when it began).
"""

import math
import re
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from app.exports import manifests
from app.exports.bundled import artifacts_of
from app.exports.csv_file import columns_of_many
from app.exports.everything import files_of_project, write_everything
from app.exports.formats import FORMATS, FORMATS_OF_MANY, KEPT_ONLY, Format, KeptFormat, Write
from app.exports.losses import Losses
from app.exports.many import (
    SCHEMA_VERSION,
    Counts,
    Entry,
    Progress,
    Selection,
    alone,
    analyses_of,
    count,
    entries,
    takes_a_while,
)
from app.exports.parts import begun
from app.exports.reading import PAGE, as_found
from app.exports.stored import size_of_artifacts, size_of_images
from app.extensions import db
from app.models import Analysis, Export
from app.schemas.base import moment
from app.storage import Storage

BLOCK = 64 * 1024
WAIT = 0.5  # seconds after which what is gathered is sent, however little it is
TASTED = 4 * BLOCK  # what an estimate is made from
READ = 20_000  # annotations that are read for one at most, about
DEFLATED = 6  # times smaller, as JSON usually is
ALONE = manifests.Scope(alone=True)

__all__ = [
    "FORMATS",
    "FORMATS_OF_MANY",
    "KEPT_ONLY",
    "PAGE",
    "Counts",
    "Download",
    "Format",
    "Progress",
    "Selection",
    "columns_of_many",
    "count",
    "estimate",
    "losses_of_kept",
    "manifest_of_analysis",
    "manifest_of_selection",
    "name_of_selection",
    "of_analysis",
    "of_selection",
    "pieces_of_selection",
]


@dataclass(frozen=True)
class Download:
    """`headers` say what the file could not carry."""

    filename: str
    content_type: str
    chunks: Iterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


def of_analysis(analysis: Analysis, form: str, storage: Storage) -> Download:
    """What it says of the analysis is read now, the annotations while they are sent.

    One that still runs is set aside whole, as it is at one moment. Where that is more than a page it takes a while: how
    the file begins is sent before, and what fails then raises from `chunks`. Ends the open transaction, so that none is
    held while the storage is asked or a slow client reads.
    """
    format = FORMATS[form]
    name, of_it, number = filename(analysis, format.extension), analysis.id, analysis.annotation_count
    late = takes_a_while(analysis)
    db.session.rollback()
    files = storage if format.shows_artifacts else None
    found = alone(of_it, files)
    if not late:
        found = iter([next(found)])
    elif files:  # a storage that is away is told before the first byte
        as_found(artifacts_of(of_it), files)
    headers = {}
    if not format.is_lossless:
        headers = manifests.header(format, _dropped(of_it, format, number), ALONE)
    pieces = _blocks(_chunks_of_one(form, of_it, found), at_once=late)
    return Download(name, format.content_type, _sent(pieces), headers)


def _chunks_of_one(form: str, analysis_id: UUID, found: Iterator[Entry]) -> Iterator[bytes]:
    """It is taken after the first of these."""
    format = FORMATS[form]
    if format.write_one is None:
        return format.write(_head_of_one(form, analysis_id), found, Losses())
    write_one = format.write_one
    return begun(format.begins, (chunk for entry in found for chunk in write_one(entry, Losses())))


def manifest_of_analysis(analysis: Analysis, form: str) -> dict[str, Any]:
    """What a file in this format cannot carry of it, counted; that takes as long as the export where it drops some."""
    of_it = analysis.id
    db.session.rollback()
    entry, head = next(alone(of_it, None)), _head_of_one(form, of_it)
    if not FORMATS[form].drops:
        counts = Counts(1, entry.row.annotation_count)
        return manifests.manifest_of_counts(form, FORMATS[form], head, counts, ALONE)
    return manifests.manifest(form, FORMATS[form], head, [entry], ALONE)


def of_selection(
    selection: Selection,
    project_name: str | None,
    form: str,
    storage: Storage,
    now: datetime,
    columns: Collection[str] = (),
) -> Download:
    """Everything is read while it is sent; analyses made after `now` are left out.

    The caller has ended its transaction, and checked the storage. One of them that fails meanwhile raises from
    `chunks`, so that the download breaks off and does not look whole. Where one of the first is set aside whole, and
    that takes a while, how the file begins is sent before.
    """
    format, headers = FORMATS[form], {}
    first = next(analyses_of(selection, now), ())
    begins_late = selection.annotations and any(map(takes_a_while, first))
    if not format.is_lossless:
        many = count(selection).annotations if selection.annotations and format.drops else 0
        headers = manifests.header(format, _dropped(selection, format, many), _scope(selection, columns))
    name, content_type = name_of_selection(project_name, form, now)
    pieces = _blocks(_chunks(selection, form, storage, now, columns, Progress()), at_once=begins_late)
    return Download(name, content_type, _sent(pieces), headers)


def _dropped(of: UUID | Selection, format: Format, annotations: int) -> Mapping[str, int] | None:
    """What befalls how many by their type alone; None where counting these would keep the first byte waiting."""
    if not annotations or not format.drops:
        return {}
    if annotations > manifests.COUNTED:
        return None
    return {format.drops[kind]: number for kind, number in manifests.by_type(of, format.drops).items()}


def name_of_selection(project_name: str | None, form: str, now: datetime) -> tuple[str, str]:
    """The name of the file, and its content type. Without a project it is of all."""
    format = FORMATS_OF_MANY[form]
    what = "project" if form in KEPT_ONLY and KEPT_ONLY[form].is_everything else "analyses"
    name = f"{what}_{_for_file_systems('all' if project_name is None else project_name)}_{now:%Y%m%d_%H%M%S}"
    return f"{name}.{format.extension}", format.content_type


def pieces_of_selection(
    selection: Selection,
    form: str,
    storage: Storage,
    now: datetime,
    columns: Collection[str],
    progress: Progress,
) -> Generator[bytes]:
    """The bytes of the file as they are made, without a transaction between two pieces. `progress` is kept up to date.

    Of everything of a project the selection says which. After half a second a piece comes in any case, an empty one
    where much is read of which nothing is written.
    """
    return _blocks(_chunks(selection, form, storage, now, columns, progress))


def _chunks(
    selection: Selection,
    form: str,
    storage: Storage | None,
    now: datetime,
    columns: Collection[str],
    progress: Progress,
) -> Iterator[bytes]:
    """The same as the writers give them, an empty one for a page of which they write nothing.

    Without a storage no artifacts are looked up.
    """
    if form in KEPT_ONLY:
        assert storage is not None and selection.project_id is not None
        return write_everything(selection.project_id, storage, now, progress)
    format = FORMATS[form]
    found = progress.over(entries(selection, now, storage if format.shows_artifacts else None))
    # what has columns takes one argument more than the others
    write: Write = partial(format.write, columns=columns) if format.has_columns else format.write  # type: ignore[call-arg]
    return write(_head(selection, form, now, columns), found, progress.losses)


def losses_of_kept(kept: Export) -> Mapping[str, str]:
    """The headers of a file that is kept: what its format could not carry, counted where that was written down."""
    if kept.format in KEPT_ONLY or FORMATS[kept.format].is_lossless:
        return {}
    counts = None if kept.dropped is None else {one["what"]: one["count"] for one in kept.dropped}
    scope = _scope(Selection.of_json(kept.selection), kept.columns or ())
    return manifests.header(FORMATS[kept.format], counts, scope)


def manifest_of_selection(selection: Selection, form: str, now: datetime) -> dict[str, Any]:
    """What a file in this format cannot carry of it, counted; that takes as long as the export where it drops some."""
    format, head, scope = FORMATS[form], _head(selection, form, now), _scope(selection)
    if format.drops and selection.annotations:
        return manifests.manifest(form, format, head, entries(selection, now, None), scope)
    counts = count(selection, now)
    counts = counts if selection.annotations else Counts(counts.analyses, 0)
    return manifests.manifest_of_counts(form, format, head, counts, scope)


def estimate(
    selection: Selection, form: str, counts: Counts, now: datetime, columns: Collection[str] = ()
) -> int:
    """About how many bytes the file will have, from what its beginning takes. Asks no storage.

    The beginning ends where enough is written, enough annotations are read, or half a second has passed.
    """
    if form in KEPT_ONLY:
        return _estimate_of_kept(selection, KEPT_ONLY[form], counts, now)
    progress, written, since = Progress(), 0, time.monotonic()
    for chunk in _chunks(selection, form, None, now, columns, progress):
        written += len(chunk)
        if written >= TASTED or progress.annotations >= READ or time.monotonic() >= since + WAIT:
            break
    else:
        return written
    if progress.annotations:
        return max(written, written * counts.annotations // progress.annotations)
    return max(written, written * counts.analyses // max(1, progress.analyses))


def _estimate_of_kept(selection: Selection, format: KeptFormat, counts: Counts, now: datetime) -> int:
    if format.is_everything:
        assert selection.project_id is not None
        text = estimate(selection, "json", counts, now)
        return files_of_project(selection.project_id) + text // DEFLATED
    images = size_of_images(selection) if format.has_images else 0
    return images + size_of_artifacts(selection) + estimate(selection, "ndjson", counts, now)


def filename(analysis: Analysis, extension: str) -> str:
    """`analysis_{model_name}_{created_at}.{ext}`."""
    model = _for_file_systems(analysis.model_name)
    return f"analysis_{model}_{analysis.created_at:%Y%m%d_%H%M%S}.{extension}"


def _head_of_one(form: str, analysis_id: UUID) -> dict[str, Any]:
    head = {"schema_version": SCHEMA_VERSION, "filters": {"analysis_id": str(analysis_id)}}
    return head | manifests.told(form, FORMATS[form], ALONE)


def _head(selection: Selection, form: str, now: datetime, columns: Collection[str] = ()) -> dict[str, Any]:
    head = {"schema_version": SCHEMA_VERSION, "exported_at": moment(now), "filters": selection.as_json()}
    lossy = not FORMATS[form].is_lossless
    return head | (manifests.told(form, FORMATS[form], _scope(selection, columns)) if lossy else {})


def _scope(selection: Selection, columns: Collection[str] = ()) -> manifests.Scope:
    return manifests.Scope(alone=False, annotations=selection.annotations, columns=columns)


def _for_file_systems(text: str) -> str:
    """What no file system takes becomes a dash."""
    return re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "-", text)


def _sent(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Without those that are empty."""
    return (piece for piece in pieces if piece)


def _blocks(chunks: Iterable[bytes], *, at_once: bool = False) -> Generator[bytes]:
    """The same bytes in fewer pieces: many small analyses would be as many small packets.

    What is gathered waits no longer than WAIT for more, and where that is nothing an empty piece comes. The first one
    does not wait if `at_once`.
    """
    block, since = bytearray(), -math.inf if at_once else time.monotonic()
    for chunk in chunks:
        block += chunk
        if len(block) >= BLOCK or time.monotonic() >= since + WAIT:
            yield bytes(block)
            block.clear()
            since = time.monotonic()
    if block:
        yield bytes(block)
