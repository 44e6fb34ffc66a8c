"""Files in a directory of this machine, reached from outside through the signed addresses of `app.files`.

A stored file is its bytes, then a footer: JSON with content type and SHA-256, the length of that JSON in four
bytes, and MAGIC. Bytes and what is known of them so change together, in one rename, whoever else is writing.
"""

import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode
from uuid import uuid4

from app import signing
from app.errors import NotFound, StorageUnavailable
from app.storage.base import (
    INLINE_TYPES,
    Clock,
    ListedObject,
    ObjectStream,
    SignedUpload,
    SignedUrl,
    Source,
    StoredObject,
    as_time,
    checked,
    checked_upload,
    pieces,
    window,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAGIC = b"\nLOUPE1\n"
TAIL = 4 + len(MAGIC)
INCOMING = ".incoming"  # no key begins with a dot
ABANDONED_AFTER = 24 * 3600


class LocalStorage:
    def __init__(self, root: Path, secret: str, clock: Clock = time.time) -> None:
        self._root = Path(root)
        self._incoming = self._root / INCOMING
        self._secret = secret
        self._clock = clock

    def put(
        self,
        key: str,
        source: Source,
        content_type: str,
        accept: Callable[[StoredObject], None] | None = None,
    ) -> StoredObject:
        """As in Storage. `accept` sees what arrived before anybody else can; raising, it refuses the file."""
        writer = self.writer(key, content_type)
        try:
            with _disk_errors():
                for chunk in pieces(source):
                    writer.write(chunk)
            return writer.finish(accept)
        finally:
            writer.abort()

    def writer(self, key: str, content_type: str) -> "LocalWriter":
        path = self._path(key)
        temporary = self._incoming / uuid4().hex
        with _disk_errors():
            self._incoming.mkdir(parents=True, exist_ok=True)
            file = temporary.open("xb")
        return LocalWriter(key, content_type, temporary, file, lambda: self._publish(temporary, path))

    def _publish(self, temporary: Path, path: Path) -> None:
        for _ in range(100):  # `delete` may take an empty directory away between the two steps
            with suppress(FileNotFoundError, FileExistsError):
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.replace(path)
                break
        else:
            raise FileNotFoundError(path)
        for directory in path.parents:  # a rename and a new directory last once their directory is on disk
            _sync(directory)
            if directory == self._root:
                break

    def open(self, key: str, start: int = 0) -> ObjectStream:
        found = self._look(key)
        if found is None:
            raise NotFound("There is no such file.")
        file, stored = found
        stream = ObjectStream(_Part(file, stored.size), stored)
        stream.seek(start)
        return stream

    def stat(self, key: str) -> StoredObject | None:
        found = self._look(key)
        if found is None:
            return None
        file, stored = found
        file.close()
        return stored

    def _look(self, key: str) -> tuple[BinaryIO, StoredObject] | None:
        """The open file and what its footer says, or None; a file without a footer is none of ours."""
        path = self._path(key)
        with _disk_errors():
            try:
                file = path.open("rb", buffering=0)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                return None
            try:
                size, about = _read_footer(file)
                modified_at = as_time(os.fstat(file.fileno()).st_mtime)
                sha256 = about["sha256"]
                return file, StoredObject(key, size, about["content_type"], sha256, sha256, modified_at)
            except (ValueError, KeyError):
                file.close()
                return None
            except BaseException:
                file.close()
                raise

    def delete(self, keys: Iterable[str]) -> None:
        for path in [self._path(key) for key in keys]:
            with _disk_errors(), suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
                path.unlink()
            self._prune(path.parent)

    def _prune(self, directory: Path) -> None:
        with suppress(OSError):  # not empty, or gone already
            while directory.parent != self._root:
                directory.rmdir()
                directory = directory.parent

    def listed(self, place: str) -> Iterator[ListedObject]:
        with _disk_errors():
            for folder, folders, files in os.walk(self._root / place, onerror=_unless_missing):
                folders.sort()
                for name in sorted(files):
                    path = Path(folder, name)
                    with suppress(FileNotFoundError):  # deleted since the folder was read
                        modified_at = as_time(path.stat().st_mtime)
                        yield ListedObject(path.relative_to(self._root).as_posix(), modified_at)

    def clear_partial(self, before: datetime, *, dry_run: bool = False) -> int:
        found = 0
        with _disk_errors(), suppress(FileNotFoundError):  # nothing was ever stored
            for partial in self._incoming.iterdir():
                with suppress(FileNotFoundError):
                    if partial.stat().st_mtime < before.timestamp():
                        found += 1
                        if not dry_run:
                            partial.unlink()
        return found

    def upload_url(
        self,
        key: str,
        content_type: str,
        expires_in: int,
        base_url: str,
        size: int | None = None,
        sha256: str | None = None,
    ) -> SignedUpload:
        expires_at = int(self._clock()) + expires_in
        headers, conditions = {"Content-Type": content_type}, {"type": content_type}
        if size is not None:
            headers["Content-Length"] = conditions["size"] = str(size)
        if sha256 is not None:
            conditions["sha256"] = sha256
        url = self._address("PUT", checked_upload(key), base_url, expires_at, conditions)
        return SignedUpload(url, "PUT", headers, as_time(expires_at))

    def download_url(
        self,
        key: str,
        expires_in: int,
        base_url: str,
        content_type: str | None = None,
        filename: str | None = None,
        inline: bool = False,
        unchanging: bool = False,
    ) -> SignedUrl:
        start, same_until = window(self._clock(), expires_in, unchanging)
        expires_at = start + expires_in
        conditions = {"type": content_type or "", "filename": filename or ""}
        if inline and content_type in INLINE_TYPES:
            conditions["inline"] = "1"
        if unchanging:
            conditions["keep"] = str(expires_in)
        stated = {name: value for name, value in conditions.items() if value}
        url = self._address("GET", checked(key), base_url, expires_at, stated)
        return SignedUrl(url, as_time(expires_at), as_time(same_until))

    def _address(
        self, method: str, key: str, base_url: str, expires_at: int, conditions: Mapping[str, str]
    ) -> str:
        query = signing.sign_url(self._secret, method, key, expires_at, conditions)
        return f"{base_url.rstrip('/')}/files/{key}?{urlencode(query)}"

    def verify(self, method: str, key: str, query: Mapping[str, str]) -> dict[str, str]:
        """The conditions of a signed address of this storage. Raises Forbidden."""
        return signing.verify_url(self._secret, method, key, query, self._clock())

    def check(self) -> None:
        """As in Storage; also clears away what writers that died left behind a day ago."""
        probe = self._incoming / uuid4().hex
        with _disk_errors():
            self._incoming.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(MAGIC)
            probe.unlink()
        self.clear_partial(as_time(time.time() - ABANDONED_AFTER))

    def public_origin(self) -> str | None:
        return None

    def _path(self, key: str) -> Path:
        return self._root / checked(key)


class LocalWriter:
    """A file beside the others until it is whole."""

    def __init__(
        self, key: str, content_type: str, path: Path, file: BinaryIO, publish: Callable[[], None]
    ) -> None:
        self.bytes_written = 0
        self._key, self._content_type = key, content_type
        self._path, self._file, self._publish = path, file, publish
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes, /) -> None:
        with _disk_errors():
            self._file.write(chunk)
        self._digest.update(chunk)
        self.bytes_written += len(chunk)

    def finish(self, accept: Callable[[StoredObject], None] | None = None) -> StoredObject:
        sha256 = self._digest.hexdigest()
        with _disk_errors():
            self._file.write(_footer(self._content_type, sha256))
            self._file.flush()
            os.fsync(self._file.fileno())
            modified_at = as_time(os.fstat(self._file.fileno()).st_mtime)
            self._file.close()
        stored = StoredObject(self._key, self.bytes_written, self._content_type, sha256, sha256, modified_at)
        if accept:
            accept(stored)
        with _disk_errors():
            self._publish()
        return stored

    def abort(self) -> None:
        with _disk_errors():
            with suppress(OSError):  # what could not be written is given up, whatever it was
                self._file.close()
            self._path.unlink(missing_ok=True)


class _Part(io.RawIOBase):
    """The first `size` bytes of a file: what stands before the footer."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._file.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._size}[whence]
        return self._file.seek(base + offset)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        with _disk_errors():
            chunk = self._file.read(min(len(view), max(0, self._size - self._file.tell())))
        view[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self._file.close()
        super().close()


def _footer(content_type: str, sha256: str) -> bytes:
    about = json.dumps({"content_type": content_type, "sha256": sha256}).encode()
    return about + len(about).to_bytes(4, "big") + MAGIC


def _read_footer(file: BinaryIO) -> tuple[int, dict[str, Any]]:
    """How many bytes stand before the footer, and what it says. Raises ValueError when there is none."""
    total = os.fstat(file.fileno()).st_size
    file.seek(max(0, total - TAIL))
    tail = file.read(TAIL)
    if tail[4:] != MAGIC:
        raise ValueError("no footer")
    size = total - TAIL - int.from_bytes(tail[:4], "big")
    if size < 0:
        raise ValueError("a footer longer than the file")
    file.seek(size)
    return size, json.loads(file.read(total - TAIL - size))


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(directory: Path) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailable("The disk of the server cannot be used.") from error
