"""Snapshots of analyses: read once for each revision, kept in the memory of the process.

The snapshot of a large analysis that has ended is also kept in the storage, because no process will ever need another.
That only saves time: whatever goes wrong with it is written to the log, and the database is read.
"""

import io
import json
import logging
from functools import cache
from hashlib import sha256
from typing import Any, cast
from uuid import UUID

import numpy as np
from sqlalchemy import ColumnElement, Select, bindparam, case, func, select

from app.dialect import read_columns
from app.errors import NotFound, StorageUnavailable
from app.extensions import db
from app.kept import Kept
from app.models import Analysis, Annotation
from app.overlay.snapshot import (
    COLUMNS,
    CUSTOM,
    KINDS,
    NOWHERE,
    PNG,
    POLYGONS,
    RLE,
    UNSURE,
    WITH_IDS,
    Snapshot,
    snapshot_of,
)
from app.storage import Storage

KEPT_BYTES = 96 * 1024 * 1024
SMALL, KEPT_SMALL_BYTES = 1000, 2 * 1024 * 1024
"""Annotations, up to which a snapshot is read again in some 2 ms; so fewer of those are kept, some 370 of 50 each. With
one limit for all a process had grown by 21 MB after 100,000 requests, now by 15 to 17."""
STORED_ABOVE = 50_000  # annotations; reading fewer from the database takes less than a tenth of a second
_log = logging.getLogger(__name__)
_large: Kept[Snapshot] = Kept(KEPT_BYTES, lambda snapshot: snapshot.size_bytes)
_small: Kept[Snapshot] = Kept(KEPT_SMALL_BYTES, _large.size_of)


def of(analysis: Analysis, storage: Storage) -> Snapshot:
    """The annotations of an analysis at the revision it was read at, or already those of a later one: all of a
    batch that comes meanwhile, or none of it.

    Call it outside any transaction: a large one may come from the storage, and it reads the database over a
    connection of its own.
    """
    kept = _small if analysis.annotation_count <= SMALL else _large
    return kept.get(f"{analysis.id} {analysis.revision}", lambda: _found(analysis, storage))


def forget() -> None:
    """Nothing is kept any more."""
    _large.clear()
    _small.clear()


def is_large(analysis: Analysis) -> bool:
    """Whether the snapshot is worth making before anybody asks for it, once the analysis has ended."""
    return analysis.state.is_terminal and analysis.annotation_count > STORED_ABOVE


def prepare(analysis_id: UUID, storage: Storage) -> None:
    """Makes the snapshot of an analysis that has ended, in a session of its own; for when nobody waits."""
    analysis = db.session.get_one(Analysis, analysis_id)
    db.session.expunge(analysis)
    db.session.rollback()
    of(analysis, storage)


def _found(analysis: Analysis, storage: Storage) -> Snapshot:
    many = analysis.annotation_count > STORED_ABOVE
    if not is_large(analysis):
        return read(analysis.id, many=many)
    key = f"renders/analyses/{analysis.id}/snapshot-{analysis.revision}-{FORM}.npz"
    snapshot = _fetched(key, storage)
    if snapshot is None:
        snapshot = read(analysis.id, many=many)
        _put(key, snapshot, storage)
    return snapshot


def _fetched(key: str, storage: Storage) -> Snapshot | None:
    try:
        with storage.open(key) as stream:
            return _read(stream.read())
    except NotFound:
        return None
    except Exception as error:  # of the storage, or whatever NumPy makes of a file that is broken
        _log.warning("a stored snapshot cannot be read: %s", key, exc_info=error)
        return None


def _put(key: str, snapshot: Snapshot, storage: Storage) -> None:
    try:
        storage.put(key, _written(snapshot), "application/octet-stream")
    except (StorageUnavailable, OSError) as error:  # the latter where a disk is full on the way to it
        _log.warning("a snapshot cannot be stored: %s", key, exc_info=error)


def read(analysis_id: UUID, *, many: bool = False) -> Snapshot:
    """From the database; without the ids, where there may be many."""
    dtype = COLUMNS if many else WITH_IDS
    columns, names = read_columns(
        _statement(many), {"analysis_id": analysis_id}, "class_name", dtype, many=many
    )
    return snapshot_of(columns, names)


@cache
def _statement(many: bool) -> Select[Any]:
    return cast(
        Select[Any],
        select(
            Annotation.position,
            *(
                _place(column)
                for column in (Annotation.x_min, Annotation.y_min, Annotation.x_max, Annotation.y_max)
            ),
            func.coalesce(Annotation.confidence, UNSURE).label("confidence"),
            Annotation.class_name,
            _kind().label("kind"),
            *(() if many else (Annotation.id,)),
        ).where(Annotation.analysis_id == bindparam("analysis_id")),
    )


def _place(column: Any) -> ColumnElement[float]:
    return func.coalesce(column, NOWHERE)


def _kind() -> ColumnElement[int]:
    """The place in KINDS; only of a segmentation the data is looked into, which may be long."""
    formats = {"rle": RLE, "polygon": POLYGONS}
    of_format = case(formats, value=Annotation.data["format"].as_string(), else_=PNG)
    types = {name: place for place, name in enumerate(KINDS) if place not in (POLYGONS, RLE, PNG)}
    return case(
        *((Annotation.annotation_type == name, place) for name, place in types.items()),
        (Annotation.annotation_type == "segmentation", of_format),
        else_=CUSTOM,
    )


# --- as a file: NumPy's .npz, not packed, with the names as JSON beside the columns

FILE_COLUMNS = ("positions", "x_min", "y_min", "x_max", "y_max", "confidence", "classes", "kinds")
# of all that says what the numbers mean: a file of another form is not found, rather than misread
FORM = sha256(repr((FILE_COLUMNS, COLUMNS.descr, KINDS, NOWHERE, UNSURE)).encode()).hexdigest()[:8]


def _written(snapshot: Snapshot) -> bytes:
    out = io.BytesIO()
    names = np.frombuffer(json.dumps(snapshot.names).encode(), dtype=np.uint8)
    np.savez(out, names=names, **{name: getattr(snapshot, name) for name in FILE_COLUMNS})
    return out.getvalue()


def _read(content: bytes) -> Snapshot:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        names = tuple(json.loads(file["names"].tobytes()))
        return Snapshot(names=names, **{name: file[name] for name in FILE_COLUMNS})
