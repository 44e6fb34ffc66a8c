"""Artifacts: where a pipeline may put a file, what lies there, and what it was when the analysis ended."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, bindparam, select, update

from app.errors import Conflict, StorageUnavailable
from app.extensions import db
from app.models import Analysis, Annotation, Artifact, Principal
from app.models.artifacts import CONTENT_TYPES, EXTENSIONS, FILENAME
from app.models.columns import new_id, now
from app.services import audit, swapping
from app.services.swapping import insert_missing
from app.storage import Storage

# the paths in annotations and those announced, of the analyses `ids`; put together once
_REFERENCED = (
    select(Annotation.storage_path)
    .where(Annotation.analysis_id.in_(bindparam("ids", expanding=True)), Annotation.storage_path.is_not(None))
    .distinct()
)
_ALL = _REFERENCED.union(
    select(Artifact.storage_path).where(Artifact.analysis_id.in_(bindparam("ids", expanding=True)))
)
_PATH = re.compile(rf"ml_outputs/([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})/({FILENAME})")


@dataclass(frozen=True)
class Found:
    """What the storage holds at a path: bytes, the hash it knows, when it was put there."""

    size: int
    etag: str
    sha256: str | None
    modified_at: datetime

    def columns(self) -> dict[str, Any]:
        """Of the artifact's row."""
        return {
            "size_bytes": self.size,
            "sha256": self.sha256,
            "etag": self.etag,
            "uploaded_at": self.modified_at,
        }


def path_for(analysis_id: UUID, filename: str) -> str:
    return f"ml_outputs/{analysis_id}/{filename}"


def analysis_of(path: str) -> UUID | None:
    """The analysis a path belongs to, or None when it is no artifact's path."""
    match = _PATH.fullmatch(path)
    return UUID(match[1]) if match else None


def default_filename(artifact_type: str) -> str:
    return f"{artifact_type}.{EXTENSIONS[CONTENT_TYPES[artifact_type]]}"


def announce(analysis: Analysis, artifact_type: str, filename: str, *, by: Principal) -> Artifact:
    """The row of an artifact that is about to be uploaded, a copy of it where it is new; the same name again is the
    same row.

    The caller holds the lock of the analysis. Raises Conflict after a terminal state.
    """
    if analysis.state.is_terminal:
        raise Conflict(
            f"The analysis is {analysis.status} and takes no more artifacts.", current=analysis.status
        )
    path, before = path_for(analysis.id, filename), None
    about = {"artifact_type": artifact_type, "content_type": CONTENT_TYPES[artifact_type]}
    columns = {"id": new_id(), "analysis_id": analysis.id, "storage_path": path, **about}
    artifact = Artifact(**columns)
    if not insert_missing(Artifact, columns):
        artifact = db.session.scalars(_at(analysis, path)).one()
        before = {"artifact_type": artifact.artifact_type}
        artifact.artifact_type, artifact.content_type = about["artifact_type"], about["content_type"]
    after = {"storage_path": path, "artifact_type": artifact_type}
    audit.record(
        by, "artifact.presigned", artifact, before=before, after=after, project_id=analysis.image.project_id
    )
    return artifact


def of_analysis(analysis: Analysis) -> Sequence[Artifact]:
    statement = select(Artifact).where(Artifact.analysis_id == analysis.id)
    return db.session.scalars(statement.order_by(Artifact.created_at, Artifact.id)).all()


def at(analysis: Analysis, path: str) -> Artifact | None:
    return db.session.scalar(_at(analysis, path))


def _at(analysis: Analysis, path: str) -> Select[Artifact]:
    return select(Artifact).where(Artifact.analysis_id == analysis.id, Artifact.storage_path == path)


def paths(*analysis_ids: UUID) -> set[str]:
    """Every path of these analyses that was presigned or that an annotation refers to."""
    return {row.storage_path for row in swapping.read(_ALL, {"ids": analysis_ids})}


def look_up(wanted: Iterable[str], storage: Storage) -> dict[str, Found]:
    """What lies in the storage now; call it outside any transaction."""
    found = {}
    for path in wanted:
        stored = storage.stat(path)
        if stored is not None:
            found[path] = Found(stored.size, stored.etag, stored.sha256, stored.modified_at)
    return found


def look_up_if_possible(wanted: Iterable[str], storage: Storage) -> dict[str, Found]:
    """The same for an end that waits for no storage; what is not known then is written down by the sweeper."""
    try:
        return look_up(wanted, storage)
    except StorageUnavailable:
        return {}


def refuse_missing(analysis: Analysis, found: Mapping[str, Found]) -> None:
    """Raises Conflict when an annotation refers to an artifact that is not there."""
    missing = sorted(_referenced(analysis.id) - found.keys())
    if missing:
        raise Conflict("Annotations refer to artifacts that were not uploaded.", missing=missing[:100])


def write_down(analysis: Analysis, found: Mapping[str, Found]) -> None:
    """Size and hash of what is there, so that a later difference can be seen."""
    if not found:
        return
    rows = {artifact.storage_path: artifact for artifact in of_analysis(analysis)}
    for path, thing in found.items():
        row = rows.get(path) or _unannounced(analysis, path)
        for name, value in thing.columns().items():
            setattr(row, name, value)


def write_down_late(artifact_id: UUID, thing: Found) -> None:
    """The same for one of which it was not known; what was written down before stays."""
    unknown = update(Artifact).where(Artifact.id == artifact_id, Artifact.etag.is_(None))
    db.session.execute(unknown.values(**thing.columns()), execution_options={"synchronize_session": False})


def _unannounced(analysis: Analysis, path: str) -> Artifact:
    row = Artifact(
        analysis_id=analysis.id,
        storage_path=path,
        artifact_type="metadata",
        content_type="application/octet-stream",
    )
    row.created_at = now()
    db.session.add(row)
    return row


def _referenced(analysis_id: UUID) -> set[str]:
    return set(db.session.connection().scalars(_REFERENCED, {"ids": [analysis_id]}))


def state(artifact: Artifact | Row[Any], found: Found | None) -> str:
    """`pending` before it was recorded, then `present`, `missing` or `changed` since it was recorded."""
    if artifact.etag is None:
        return "present" if found else "pending"
    if found is None:
        return "missing"
    return "present" if (found.etag, found.size) == (artifact.etag, artifact.size_bytes) else "changed"
