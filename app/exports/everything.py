"""All that a project holds as one zip: its images, artifacts, annotations, analyses, receipts and audit trail.

What is deleted and not yet purged is left out, and so are pictures that Loupe makes of these. `files.csv` names every
other entry with its size and SHA-256, and of images and artifacts, also of those that are not there, whether they are
what was recorded of them; `manifest.json` says how many of everything there are, and names those that are not.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import Select, select, tuple_
from sqlalchemy.engine import Row

from app.errors import NotFound
from app.exports.json_file import write_json_of_many
from app.exports.losses import Losses
from app.exports.many import SCHEMA_VERSION, Progress, Selection, analyses_of, entries
from app.exports.reading import read
from app.exports.stored import Stored, of_artifact, of_image, size_of_artifacts, total
from app.exports.waiting import Waiting
from app.exports.zips import ZipStream
from app.models import Artifact, AuditEvent, Image, Membership, Project, Receipt, User
from app.schemas.base import moment
from app.schemas.receipts import kept_receipt_out
from app.storage import Storage

ROWS = 500  # read at a time
COLUMNS = ("path", "bytes", "sha256", "state", "recorded_bytes", "recorded_sha256")  # of files.csv
AMISS = ("changed", "missing", "pending")
NAMED = 1000  # files of each of these in the manifest; files.csv has them all
LEFT_OUT = (
    "images and analyses that are deleted",
    "previews, tiles and layers, which are made from what is here",
    "webhooks, which repeat what is here, and exports that are kept",
    "keys, passwords and sessions",
)


class _Passed:
    """The same bytes; once they have passed, how many they were and their hex SHA-256."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.size = 0
        self._pieces, self._digest = pieces, hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            self._digest.update(piece)
            yield piece

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


@dataclass
class _Everything:
    """What is written, and what is known of it by then."""

    project_id: UUID
    storage: Storage
    now: datetime
    zip: ZipStream
    files: Waiting
    progress: Progress
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("files", *AMISS), 0))
    amiss: dict[str, list[str]] = field(default_factory=lambda: {state: [] for state in AMISS})

    def pieces(self) -> Iterator[bytes]:
        self._note(*COLUMNS)
        yield from self._text("project.json", self._project())
        yield from self._text("images.ndjson", self._lines("images", map(_columns, self._images())))
        for row in self._images():
            yield from self._stored(of_image(row))
        yield from self._text("analyses.json", self._analyses())
        for row in self._artifacts():
            yield from self._stored(of_artifact(row, f"artifacts/{row.analysis_id}"))
        yield from self._text("receipts.ndjson", self._lines("receipts", self._receipts()))
        yield from self._text("audit.ndjson", self._lines("audit_events", map(_columns, self._audit())))
        yield from self.zip.add("files.csv", self.files.chunks(), deflate=True)
        yield from self.zip.add("manifest.json", [orjson.dumps(self._manifest())], deflate=True)
        yield from self.zip.end()

    # --- entries of the zip ---

    def _text(self, name: str, pieces: Iterable[bytes]) -> Iterator[bytes]:
        passed = _Passed(pieces)
        yield from self.zip.add(name, passed, deflate=True)
        self._note(name, passed.size, passed.sha256, "present", None, None)

    def _stored(self, stored: Stored) -> Iterator[bytes]:
        """A file of the storage, if it is there; a storage that is away or breaks off raises StorageUnavailable."""
        try:
            source = self.storage.open(stored.key)
        except NotFound:
            self._judge(stored, stored.absence, None, None)
            return
        with closing(source):
            passed = _Passed(source)
            yield from self.zip.add(stored.name, passed, deflate=False)
        state = stored.state(source.info, passed.size, passed.sha256)
        self.counts["files"] += 1
        self._judge(stored, state, passed.size, passed.sha256)

    def _judge(self, stored: Stored, state: str, size: int | None, sha256: str | None) -> None:
        self._note(stored.name, size, sha256, state, stored.size, stored.sha256)
        if state in AMISS:
            self.counts[state] += 1
            self.amiss[state] += [stored.name] if len(self.amiss[state]) < NAMED else []

    def _note(self, *cells: object) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\r\n").writerow(cells)
        self.files.write(text.getvalue().encode())

    def _lines(self, kind: str, told: Iterable[dict[str, Any]]) -> Iterator[bytes]:
        self.counts[kind] = 0
        for one in told:
            self.counts[kind] += 1
            yield orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE)

    # --- what is in them ---

    def _project(self) -> Iterator[bytes]:
        row = read(select(*Project.__table__.columns).where(Project.id == self.project_id))[0]
        people = select(User.email, User.name, Membership.role, Membership.user_id).join(
            Membership, Membership.user_id == User.id
        )
        members = read(people.where(Membership.project_id == self.project_id).order_by(User.email))
        yield orjson.dumps({**_columns(row), "members": [_columns(member) for member in members]})

    def _analyses(self) -> Iterator[bytes]:
        selection = Selection(project_id=self.project_id)
        head = {
            "schema_version": SCHEMA_VERSION,
            "exported_at": moment(self.now),
            "filters": selection.as_json(),
        }
        found = self.progress.over(entries(selection, self.now, self.storage))
        return write_json_of_many(head, found, Losses())

    def _images(self) -> Iterator[Row[Any]]:
        return _walk(select(*Image.__table__.columns).where(*of_project(self.project_id)), Image, self.now)

    def _artifacts(self) -> Iterator[Row[Any]]:
        """Along the analyses, a page of them at a time."""
        wanted = select(*Artifact.__table__.columns)
        for some in analyses_of(Selection(project_id=self.project_id), self.now):
            of_some = wanted.where(Artifact.analysis_id.in_([row.id for row in some]))
            yield from read(of_some.order_by(Artifact.analysis_id, Artifact.storage_path))

    def _receipts(self) -> Iterator[dict[str, Any]]:
        """The same way, each as the API has it and with its analysis; an analysis keeps few."""
        wanted = select(*Receipt.__table__.columns).where(Receipt.created_at <= self.now)
        for some in analyses_of(Selection(project_id=self.project_id), self.now):
            of_some = wanted.where(Receipt.analysis_id.in_([row.id for row in some]))
            for row in read(of_some.order_by(Receipt.analysis_id, Receipt.created_at, Receipt.id)):
                yield {"analysis_id": str(row.analysis_id), **kept_receipt_out(row)}

    def _audit(self) -> Iterator[Row[Any]]:
        statement = select(*AuditEvent.__table__.columns).where(AuditEvent.project_id == self.project_id)
        return _walk(statement, AuditEvent, self.now)

    def _manifest(self) -> dict[str, Any]:
        counts = {"analyses": self.progress.analyses, "annotations": self.progress.annotations, **self.counts}
        return {
            "schema_version": SCHEMA_VERSION,
            "project_id": str(self.project_id),
            "exported_at": moment(self.now),
            "counts": counts,
            **self.amiss,
            "left_out": LEFT_OUT,
        }


def write_everything(
    project_id: UUID, storage: Storage, now: datetime, progress: Progress
) -> Iterator[bytes]:
    """The zip in pieces; what was made after `now` is left out. No transaction is open between two of them."""
    with closing(ZipStream(now)) as archive, Waiting() as files:
        yield from _Everything(project_id, storage, now, archive, files, progress).pieces()


def files_of_project(project_id: UUID) -> int:
    """The bytes of its images and artifacts, as far as they are written down."""
    images = total(Image.size_bytes).where(*of_project(project_id))
    return int(read(images)[0][0]) + size_of_artifacts(Selection(project_id=project_id))


def of_project(project_id: UUID) -> list[Any]:
    return [Image.project_id == project_id, Image.deleted_at.is_(None)]


def _columns(row: Row[Any]) -> dict[str, Any]:
    """But for those that say nothing outside: where a file lies here, and that it is not deleted."""
    return {
        str(name): value for name, value in row._mapping.items() if name not in ("storage_path", "deleted_at")
    }


def _walk(statement: Select[Any], table: Any, now: datetime) -> Iterator[Row[Any]]:
    """Oldest first, each page from where the last one ended."""
    ordered = statement.where(table.created_at <= now).order_by(table.created_at, table.id).limit(ROWS)
    rows = read(ordered)
    while rows:
        yield from rows
        place = tuple_(rows[-1].created_at, rows[-1].id)
        rows = read(ordered.where(tuple_(table.created_at, table.id) > place))
