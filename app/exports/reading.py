"""What an export reads, a page at a time: annotations, and artifacts as they were recorded and as they are now."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.engine import Row

from app.extensions import db
from app.models import Annotation, Artifact
from app.services import artifacts
from app.storage import Storage

PAGE = 1000

Pages = Iterator[Sequence[Row[Any]]]


def annotations_of(analysis_id: UUID) -> Pages:
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


def as_found(rows: Sequence[Artifact | Row[Any]], storage: Storage) -> list[dict[str, Any]]:
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
