"""What the storages share: the interface, its values, the form of keys, and how files are given out."""

import hashlib
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Protocol
from urllib.parse import quote

from werkzeug.http import dump_options_header

from app.errors import Forbidden, NotFound

Clock = Callable[[], float]


class Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


Source = Readable | bytes
CHUNK = 64 * 1024
SPOOL = 8 * 1024 * 1024
LEFT_AT_LEAST = 60  # seconds for a browser to follow an address that it kept
EXPORTS = "exports/"  # what is written piece by piece
UPLOADS = "ml_outputs/"  # nothing else can be uploaded from outside

INLINE_TYPES = ("image/jpeg", "image/png", "image/webp")  # in an order, which the document of the API has
SERVED_TYPES = {
    **{name: name for name in INLINE_TYPES},
    "text/plain": "text/plain; charset=utf-8",
    "application/json": "application/json",
}

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,254}){1,7}")


@dataclass(frozen=True)
class StoredObject:
    """What is known of a file. `etag` has no quotes; `sha256` is hex, or None where it is not known."""

    key: str
    size: int
    content_type: str
    etag: str
    sha256: str | None
    modified_at: datetime


@dataclass(frozen=True)
class ListedObject:
    """What a listing tells of a file."""

    key: str
    modified_at: datetime


@dataclass(frozen=True)
class SignedUrl:
    """Asked for again until `same_until`, the address is the same."""

    url: str
    expires_at: datetime
    same_until: datetime


@dataclass(frozen=True)
class SignedUpload:
    """A PUT to `url` must carry exactly these headers."""

    url: str
    method: str
    headers: dict[str, str]
    expires_at: datetime


class ObjectStream(io.BufferedReader):
    """The bytes of a file, and its `info`. Iterating gives chunks, not lines. Only local ones can seek."""

    def __init__(self, raw: io.RawIOBase, info: StoredObject) -> None:
        super().__init__(raw, CHUNK)
        self.info = info

    def __next__(self) -> bytes:
        chunk = self.read(CHUNK)
        if not chunk:
            raise StopIteration
        return chunk


class Writer(Protocol):
    """A file on its way into the storage, of any size: little of it is held in memory. `bytes_written` so far."""

    bytes_written: int

    def write(self, chunk: bytes, /) -> None: ...

    def finish(self) -> StoredObject:
        """Stores what was written, whole; what stood at the key before is replaced."""

    def abort(self) -> None:
        """Gives it up; nothing of it stays. After `finish` it does nothing."""


class Storage(Protocol):
    """Every method may raise StorageUnavailable. A key of the wrong form is NotFound."""

    def put(self, key: str, source: Source, content_type: str) -> StoredObject:
        """Stores the rest of `source`, whole or not at all; what stood at the key before is replaced."""

    def writer(self, key: str, content_type: str) -> Writer:
        """For what comes piece by piece. Of a writer that is neither finished nor aborted nothing is ever seen; what it
        left is cleared by `clear_partial`."""

    def open(self, key: str, start: int = 0) -> ObjectStream:
        """The bytes from `start` on; close it. Raises NotFound."""

    def stat(self, key: str) -> StoredObject | None: ...

    def delete(self, keys: Iterable[str]) -> None:
        """Keys that name nothing are passed over."""

    def listed(self, place: str) -> Iterator[ListedObject]:
        """Every file whose key begins with `place`, which ends with a slash. Those of one folder come together."""

    def clear_partial(self, before: datetime, *, dry_run: bool = False) -> int:
        """Removes what writers that died before then left half written; how many pieces that are."""

    def upload_url(
        self,
        key: str,
        content_type: str,
        expires_in: int,
        base_url: str,
        size: int | None = None,
        sha256: str | None = None,
    ) -> SignedUpload:
        """An address for one PUT of this type and, when given, of exactly this size and hex SHA-256."""

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
        """An address for GET and HEAD, valid for at least 4/5 of `expires_in`, and never longer than that.

        Asked again within a fifth of `expires_in` it is the same address, so that a browser can keep the
        answer. It is a download unless it is `inline` and `content_type` names a picture. Where what stands at
        the key is `unchanging`, browsers are told so, and the address is the same until shortly before it
        ends: then it is valid for at least a minute, or a fifth of a shorter life.
        """

    def check(self) -> None:
        """Returns when files can be read and written."""

    def public_origin(self) -> str | None:
        """The origin of the addresses, None when it is Loupe's own."""


def served_type(content_type: str | None) -> str:
    """The content type a file of this type is given out with: one of SERVED_TYPES, or that of plain bytes."""
    return SERVED_TYPES.get(content_type or "", "application/octet-stream")


# what a name in a header may not hold, whatever a system makes of it
_PLACES = str.maketrans(dict.fromkeys('/\\<>:|?*"', "_"))


def disposition(content_type: str | None, filename: str | None, inline: bool) -> str:
    """The Content-Disposition: inline for pictures only; a name that is not ASCII is also sent in UTF-8."""
    kind = "inline" if inline and content_type in INLINE_TYPES else "attachment"
    name = _flat("".join(c for c in filename or "" if c.isprintable()))
    if not name:
        return kind
    # a letter of another script may stand for one of ASCII, and so may a slash or a bracket
    ascii_name = _flat(unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode())
    names = {"filename": ascii_name}
    if ascii_name != name:
        names["filename*"] = "UTF-8''" + quote(name, safe="!#$&+-.^_`|~", errors="replace")
    return dump_options_header(kind, names)


def _flat(name: str) -> str:
    """The name without what would make a place of it, or markup of a page that lists it."""
    return name.translate(_PLACES)


def checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise NotFound("There is no such file.")
    return key


def checked_upload(key: str) -> str:
    if not key.startswith(UPLOADS):
        raise Forbidden("Files can be uploaded under ml_outputs/ only.")
    return checked(key)


def as_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def window(now: float, expires_in: int, unchanging: bool) -> tuple[int, int]:
    """The moments from which a download address counts, and until which it is the same."""
    fifth = max(1, expires_in // 5)
    step = max(1, expires_in - min(LEFT_AT_LEAST, fifth)) if unchanging else fifth
    start = int(now) // step * step
    return start, start + step


def caching(expires_in: int, unchanging: bool) -> str:
    """The Cache-Control of a file that is given out."""
    return f"private, max-age={expires_in}, immutable" if unchanging else "private, no-cache"


def copy(source: Source, target: IO[bytes]) -> tuple[int, str]:
    """Copies the rest of the source; how many bytes that was, and their hex SHA-256."""
    size, digest = 0, hashlib.sha256()
    for chunk in pieces(source):
        target.write(chunk)
        digest.update(chunk)
        size += len(chunk)
    return size, digest.hexdigest()


def pieces(source: Source) -> Iterator[bytes]:
    if isinstance(source, bytes):
        source = io.BytesIO(source)
    while chunk := source.read(CHUNK):
        yield chunk
