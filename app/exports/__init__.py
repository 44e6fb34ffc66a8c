"""An analysis as a file to download: one file for each format, all written a page of annotations at a time.

To add a format: a module with a function that yields bytes, and its line in `FORMATS`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Row

from app.exports.csv_file import write_csv
from app.exports.json_file import write_json
from app.extensions import db
from app.models import Analysis, Annotation, Artifact
from app.schemas.analyses import analysis_out
from app.services import artifacts
from app.storage import Storage

SCHEMA_VERSION = "1.0"
PAGE = 1000

Pages = Iterator[Sequence[Row[Any]]]


@dataclass(frozen=True)
class Format:
    extension: str
    content_type: str
    write: Callable[[dict[str, Any], Pages], Iterator[bytes]]


FORMATS = {
    "json": Format("json", "application/json", write_json),
    "csv": Format("csv", "text/csv; charset=utf-8", write_csv),
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
    head = {"schema_version": SCHEMA_VERSION, **about, "artifacts": _artifacts(rows, storage)}
    return Download(name, format.content_type, format.write(head, _pages(analysis_id)))


def filename(analysis: Analysis, extension: str) -> str:
    """`analysis_{model_name}_{created_at}.{ext}`; what no file system takes becomes a dash."""
    model = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]', "-", analysis.model_name)
    return f"analysis_{model}_{analysis.created_at:%Y%m%d_%H%M%S}.{extension}"


def _artifacts(rows: Sequence[Artifact], storage: Storage) -> list[dict[str, Any]]:
    """The artifacts as they were recorded, each with its `state` now. Asks the storage."""
    found = artifacts.look_up((row.storage_path for row in rows), storage)
    return [
        {
            "type": row.artifact_type,
            "path": row.storage_path,
            "content_type": row.content_type,
            "size": row.size_bytes,
            "hash": row.sha256,
            "etag": row.etag,
            "state": artifacts.state(row, found.get(row.storage_path)),
        }
        for row in rows
    ]


def _pages(analysis_id: UUID) -> Pages:
    """Rows of columns in the order of insertion. Holds one page, and no transaction between two pages."""
    last = -1
    statement = select(*Annotation.__table__.columns).where(Annotation.analysis_id == analysis_id)
    while True:
        with db.engine.connect() as connection:
            page = statement.where(Annotation.position > last).order_by(Annotation.position).limit(PAGE)
            rows = connection.execute(page).all()
        if rows:
            yield rows
            last = rows[-1].position
        if len(rows) < PAGE:
            return
