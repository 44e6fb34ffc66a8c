"""Analyses as a file to download, one or many: one module for each format, all written a page at a time.

To add a format: a module with a function for one analysis and one for many that yield bytes, and its line in `FORMATS`.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.exports.csv_file import write_csv, write_csv_of_many
from app.exports.json_file import write_json, write_json_of_many
from app.exports.many import SCHEMA_VERSION, Counts, Entry, Selection, count, entries
from app.exports.reading import PAGE, Pages, annotations_of, as_found
from app.extensions import db
from app.models import Analysis, Project
from app.schemas.analyses import analysis_out
from app.schemas.base import moment
from app.services import artifacts
from app.storage import Storage

BLOCK = 64 * 1024

__all__ = ["FORMATS", "PAGE", "Counts", "Download", "Selection", "count", "of_analysis", "of_selection"]


@dataclass(frozen=True)
class Format:
    """`write_many` takes what stands over the analyses, and these; `shows_artifacts` says whether they are in it."""

    extension: str
    content_type: str
    write: Callable[[dict[str, Any], Pages], Iterator[bytes]]
    write_many: Callable[[dict[str, Any], Iterable[Entry]], Iterator[bytes]]
    shows_artifacts: bool


FORMATS = {
    "json": Format("json", "application/json", write_json, write_json_of_many, True),
    "csv": Format("csv", "text/csv; charset=utf-8", write_csv, write_csv_of_many, False),
}


@dataclass(frozen=True)
class Download:
    filename: str
    content_type: str
    chunks: Iterator[bytes]


def of_analysis(analysis: Analysis, form: str, storage: Storage) -> Download:
    """What it says of the analysis is read now, the annotations while they are sent.

    Ends the open transaction, so that none is held while the storage is asked or a slow client reads.
    """
    format = FORMATS[form]
    name, analysis_id = filename(analysis, format.extension), analysis.id
    about, rows = analysis_out(analysis), artifacts.of_analysis(analysis)
    for row in rows:
        db.session.expunge(row)
    db.session.rollback()
    head = {"schema_version": SCHEMA_VERSION, **about, "artifacts": as_found(rows, storage)}
    return Download(name, format.content_type, _blocks(format.write(head, annotations_of(analysis_id))))


def of_selection(
    selection: Selection, project: Project | None, form: str, storage: Storage, now: datetime
) -> Download:
    """Everything is read while it is sent; analyses made after `now` are left out.

    The caller has ended its transaction. A storage or database that fails meanwhile raises from `chunks`, so that the
    download breaks off and does not look whole.
    """
    format = FORMATS[form]
    head = {
        "schema_version": SCHEMA_VERSION,
        "exported_at": moment(now),
        "filters": selection.as_json(),
    }
    found = entries(selection, now, storage if format.shows_artifacts else None)
    name = f"analyses_{_for_file_systems(project.name if project else 'all')}_{now:%Y%m%d_%H%M%S}"
    return Download(
        f"{name}.{format.extension}", format.content_type, _blocks(format.write_many(head, found))
    )


def filename(analysis: Analysis, extension: str) -> str:
    """`analysis_{model_name}_{created_at}.{ext}`."""
    model = _for_file_systems(analysis.model_name)
    return f"analysis_{model}_{analysis.created_at:%Y%m%d_%H%M%S}.{extension}"


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
