"""Analyses as a file to download, one or many: all formats are written a page at a time, in bounded memory.

A module for each format, `formats.FORMATS` has them all. What a file holds is exact: a terminal analysis as it is for
ever, one that still runs as it was at one moment, when the export came to it (with one analysis: when it began).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.errors import Deleted
from app.exports import manifests
from app.exports.formats import FORMATS, Format
from app.exports.losses import Losses
from app.exports.many import SCHEMA_VERSION, Counts, Entry, Selection, count, entries, entry_of
from app.exports.reading import PAGE
from app.extensions import db
from app.models import Analysis, Project
from app.schemas.base import moment
from app.storage import Storage

BLOCK = 64 * 1024

__all__ = [
    "FORMATS",
    "PAGE",
    "Counts",
    "Download",
    "Format",
    "Selection",
    "count",
    "manifest_of_analysis",
    "manifest_of_selection",
    "of_analysis",
    "of_selection",
]


@dataclass(frozen=True)
class Download:
    """`headers` say what the file could not carry."""

    filename: str
    content_type: str
    chunks: Iterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)


def of_analysis(analysis: Analysis, form: str, storage: Storage) -> Download:
    """What it says of the analysis is read now, the annotations while they are sent, or now too while it still runs.

    Ends the open transaction, so that none is held while the storage is asked or a slow client reads.
    """
    format = FORMATS[form]
    name = filename(analysis, format.extension)
    entry, head = _alone(analysis, form, storage if format.shows_artifacts else None)
    headers = {}
    if not format.is_lossless:
        numbers = manifests.by_type(entry.row.id, format.drops) if format.drops else {}
        headers = manifests.header(format, numbers, alone=True)
    losses = Losses()
    chunks = format.write_one(entry, losses) if format.write_one else format.write(head, [entry], losses)
    return Download(name, format.content_type, _blocks(chunks), headers)


def manifest_of_analysis(analysis: Analysis, form: str) -> dict[str, Any]:
    """What a file in this format cannot carry of it, counted."""
    entry, head = _alone(analysis, form, None)
    return manifests.manifest(form, FORMATS[form], head, [entry], alone=True)


def of_selection(
    selection: Selection, project: Project | None, form: str, storage: Storage, now: datetime
) -> Download:
    """Everything is read while it is sent; analyses made after `now` are left out.

    The caller has ended its transaction. A storage or database that fails meanwhile raises from `chunks`, so that the
    download breaks off and does not look whole.
    """
    format = FORMATS[form]
    name = f"analyses_{_for_file_systems(project.name if project else 'all')}_{now:%Y%m%d_%H%M%S}"
    found = entries(selection, now, storage if format.shows_artifacts else None)
    headers = {}
    if not format.is_lossless:
        few = selection.annotations and count(selection).annotations <= manifests.COUNTED
        numbers = manifests.by_type(selection, format.drops) if few and format.drops else None
        headers = manifests.header(format, numbers if selection.annotations else {}, alone=False)
    chunks = format.write(_head(selection, form, now), found, Losses())
    return Download(f"{name}.{format.extension}", format.content_type, _blocks(chunks), headers)


def manifest_of_selection(selection: Selection, form: str, now: datetime) -> dict[str, Any]:
    """What a file in this format cannot carry of it, counted; that takes as long as the export."""
    head = _head(selection, form, now)
    return manifests.manifest(form, FORMATS[form], head, entries(selection, now, None), alone=False)


def filename(analysis: Analysis, extension: str) -> str:
    """`analysis_{model_name}_{created_at}.{ext}`."""
    model = _for_file_systems(analysis.model_name)
    return f"analysis_{model}_{analysis.created_at:%Y%m%d_%H%M%S}.{extension}"


def _alone(analysis: Analysis, form: str, storage: Storage | None) -> tuple[Entry, dict[str, Any]]:
    of_it = analysis.id
    db.session.rollback()
    entry = entry_of(of_it, storage)
    if entry is None:
        raise Deleted("This analysis has been deleted.")
    head = {"schema_version": SCHEMA_VERSION, "filters": {"analysis_id": str(of_it)}}
    return entry, head | manifests.told(form, FORMATS[form], alone=True)


def _head(selection: Selection, form: str, now: datetime) -> dict[str, Any]:
    head = {"schema_version": SCHEMA_VERSION, "exported_at": moment(now), "filters": selection.as_json()}
    lossy = not FORMATS[form].is_lossless
    return head | (manifests.told(form, FORMATS[form], alone=False) if lossy else {})


def _for_file_systems(text: str) -> str:
    """What no file system takes becomes a dash."""
    return re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "-", text)


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in fewer pieces: many small analyses would be as many small packets."""
    block = bytearray()
    for chunk in chunks:
        block += chunk
        if len(block) >= BLOCK:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
