"""Images: checked and turned upright, stored, then written down."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any
from unicodedata import category, normalize
from uuid import UUID

from sqlalchemy import func, select, tuple_

from app.errors import InvalidPayload
from app.extensions import db
from app.imaging import UprightImage, make_upright
from app.models import Image, Principal, Project
from app.models.columns import new_id
from app.services import audit
from app.storage import Storage

NAMES = 1000  # read at a time


@dataclass(frozen=True)
class StoredImage:
    """An upright copy that lies in storage and in no table yet."""

    id: UUID
    upright: UprightImage
    storage_path: str


def store(source: IO[bytes], storage: Storage) -> StoredImage:
    """Checks, turns and stores what was uploaded; call it outside any transaction.

    Raises InvalidPayload when it is not an image Loupe can show.
    """
    upright = make_upright(source)
    image_id = new_id()
    path = f"images/{image_id}"
    storage.put(path, upright.file, upright.content_type)
    return StoredImage(image_id, upright, path)


def add(
    project: Project, stored: StoredImage, filename: str, metadata: dict[str, Any] | None, *, by: Principal
) -> Image:
    upright = stored.upright
    image = Image(
        id=stored.id,
        project_id=project.id,
        filename=clean_filename(filename),
        content_type=upright.content_type,
        size_bytes=upright.size_bytes,
        sha256=upright.sha256,
        width=upright.width,
        height=upright.height,
        exif_orientation=upright.exif_orientation,
        details=metadata,
        storage_path=stored.storage_path,
        uploaded_by_id=by.user.id if by.user else None,
    )
    db.session.add(image)
    db.session.flush()
    after = {"filename": image.filename, "sha256": image.sha256}
    audit.record(by, "image.uploaded", image, after=after, project_id=project.id)
    return image


def clean_filename(name: str) -> str:
    """The last part of the name, in NFC, without control or bidirectional characters, at most 255 long."""
    last = normalize("NFC", name).replace("\\", "/").rsplit("/", 1)[-1]
    cleaned = "".join(c for c in last if category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")).strip()
    if not cleaned or cleaned in (".", ".."):
        raise InvalidPayload(errors=[{"field": "file", "reason": "the file needs a name"}])
    return cleaned[-255:]


def page(project: Project, *, skip: int, limit: int) -> tuple[Sequence[Image], int]:
    """Newest first, and how many there are in all."""
    of_project = (Image.project_id == project.id, Image.deleted_at.is_(None))
    statement = select(Image).where(*of_project).order_by(Image.created_at.desc(), Image.id.desc())
    total = db.session.scalar(select(func.count()).select_from(Image).where(*of_project)) or 0
    return db.session.scalars(statement.offset(skip).limit(limit)).all(), total


def filenames(project_id: UUID) -> Iterator[tuple[UUID, str]]:
    """The id and the file name of every image, oldest first; read a page at a time."""
    live = (Image.project_id == project_id, Image.deleted_at.is_(None))
    statement = select(Image.id, Image.filename, Image.created_at).where(*live)
    ordered = statement.order_by(Image.created_at, Image.id).limit(NAMES)
    rows = db.session.execute(ordered).all()
    while rows:
        yield from ((row.id, row.filename) for row in rows)
        here = tuple_(rows[-1].created_at, rows[-1].id)
        rows = db.session.execute(ordered.where(tuple_(Image.created_at, Image.id) > here)).all()


def neighbours(image: Image) -> tuple[UUID | None, UUID | None]:
    """The ids of the image before and after this one in the gallery's own order (newest first)."""
    place, here = tuple_(Image.created_at, Image.id), tuple_(image.created_at, image.id)
    live = select(Image.id).where(Image.project_id == image.project_id, Image.deleted_at.is_(None))
    newer = live.where(place > here).order_by(Image.created_at, Image.id)
    older = live.where(place < here).order_by(Image.created_at.desc(), Image.id.desc())
    return db.session.scalar(newer.limit(1)), db.session.scalar(older.limit(1))
