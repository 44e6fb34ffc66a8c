"""Files of the storage on their way into a zip, held against what was recorded of them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.engine import Row
from sqlalchemy.orm import InstrumentedAttribute

from app.errors import StorageUnavailable
from app.exports.many import Selection
from app.exports.reading import read
from app.models import Analysis, Artifact, Image
from app.storage import StoredObject

ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


@dataclass(frozen=True)
class Stored:
    """Its name in the zip, and its key in the storage. Size and hashes are those that were recorded, if they were."""

    name: str
    key: str
    size: int | None
    sha256: str | None
    etag: str | None = None

    @property
    def recorded(self) -> dict[str, Any] | None:
        return None if self.size is None else {"size": self.size, "sha256": self.sha256}

    @property
    def absence(self) -> str:
        """What it is where the storage does not have it: `pending` if it was announced and never recorded."""
        return "pending" if self.size is None else "missing"

    def state(self, info: StoredObject, size: int, sha256: str) -> str:
        """`present` or `changed`, by what was read of it. Raises StorageUnavailable when it was not read whole."""
        if size != info.size:
            raise StorageUnavailable("A file ended before its end.")
        same = self.size in (None, size) and self.sha256 in (None, sha256) and self.etag in (None, info.etag)
        return "present" if same else "changed"


def of_image(row: Row[Any]) -> Stored:
    """Of the columns of an image."""
    name = f"images/{row.id}.{ENDINGS.get(row.content_type, 'bin')}"
    return Stored(name, row.storage_path, row.size_bytes, row.sha256)


def of_artifact(row: Row[Any], folder: str) -> Stored:
    """Of the columns of an artifact."""
    name = f"{folder}/{row.storage_path.rpartition('/')[2]}"
    return Stored(name, row.storage_path, row.size_bytes, row.sha256, row.etag)


def size_of_artifacts(selection: Selection) -> int:
    """The bytes of those of all that is selected, as far as they are written down."""
    artifacts = total(Artifact.size_bytes).join(Artifact.analysis).join(Image)
    return int(read(artifacts.where(*selection.of_images(), *selection.of_analyses()))[0][0])


def size_of_images(selection: Selection) -> int:
    """The bytes of those that the selected analyses are of."""
    analysed = select(Analysis.image_id).where(*selection.of_analyses())
    images = total(Image.size_bytes).where(*selection.of_images(), Image.id.in_(analysed))
    return int(read(images)[0][0])


def total(column: InstrumentedAttribute[Any]) -> Select[Any]:
    return select(func.coalesce(func.sum(column), 0))
