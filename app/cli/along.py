"""The files that annotations refer to, as they come along with Loupe's own exports into the storage."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from app.cli.places import Place, Read
from app.errors import LoupeError
from app.extensions import db
from app.models import SYSTEM, Analysis
from app.models.artifacts import CONTENT_TYPES
from app.models.columns import now
from app.services import artifacts
from app.services.artifacts import Found, path_for
from app.storage import Storage


class Along:
    """What `importers.base.Artifacts` asks for: the files in `places`, of which the first that has one is taken.

    `files` are those that are referred to, by their names.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = places
        self._listed: dict[str, str] = {}  # the artifact types by path
        self._from: dict[str, str] = {}  # the paths in the export by name
        self._types: dict[str, str] = {}
        self.files: dict[str, Read] = {}

    def listed(self, artifacts: Any) -> None:
        for one in artifacts if isinstance(artifacts, list) else ():
            if (
                isinstance(one, dict)
                and isinstance(one.get("path"), str)
                and isinstance(one.get("type"), str)
            ):
                self._listed[one["path"]] = one["type"]

    def fault(self, path: str, annotation_type: Any) -> str | None:
        analysis_id, name = artifacts.analysis_of(path), path.rpartition("/")[2]
        if analysis_id is None:
            return f"names no file of an analysis: {path!s:.200}"
        if self._from.setdefault(name, path) != path:
            return f"names a second file that is called {name}: {path}"
        if name not in self.files:
            found = (place(str(analysis_id), name) for place in self._places)
            read = next((one for one in found if one is not None), None)
            if read is None:
                there = f"artifacts/{analysis_id}/{name}"
                return f"names a file that is not there: {there}. Name the folder or zip that has it with --artifacts."
            self.files[name] = read
            self._types[name] = self._type(path, annotation_type)
        return None

    def _type(self, path: str, annotation_type: Any) -> str:
        """As it was exported; where that is not told, what the annotation makes of it."""
        listed = self._listed.get(path)
        return listed if listed in CONTENT_TYPES else "heatmap" if annotation_type == "heatmap" else "mask"

    def keep(self, names: Collection[str]) -> None:
        """Only these: the file of an annotation that is refused for another reason stays behind too."""
        self.files = {name: read for name, read in self.files.items() if name in names}

    @contextmanager
    def put(self, analysis_id: UUID, storage: Storage | None) -> Iterator[Mapping[str, Found]]:
        """What the storage holds of them under this analysis; they are put there outside of any transaction.

        With an error they are taken away again, after the transaction. Without a storage nothing is put, for a dry run.
        Raises StorageUnavailable, MalformedRequest, PayloadTooLarge.
        """
        db.session.rollback()
        found: dict[str, Found] = {}
        try:
            for name, read in self.files.items():
                path, body = path_for(analysis_id, name), _body(name, read)
                if storage is None:
                    found[path] = Found(len(body), "", None, now())
                else:
                    put = storage.put(path, body, CONTENT_TYPES[self._types[name]])
                    found[path] = Found(put.size, put.etag, put.sha256, put.modified_at)
            yield found
        except BaseException:
            db.session.rollback()
            if storage is not None:
                storage.delete(found)
            raise

    def announce(self, analysis: Analysis) -> None:
        """Their rows, and the audit trail's; the caller holds the lock of the analysis."""
        for name in self.files:
            artifacts.announce(analysis, self._types[name], name, by=SYSTEM)


def _body(name: str, read: Read) -> bytes:
    """Raises what reading it raises, by its name: it is not the file that is imported."""
    try:
        return read()
    except LoupeError as error:
        error.detail = f"The artifact {name}: {error.detail}"
        raise
