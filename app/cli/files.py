"""Files on disk and in zips, read up to a limit."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.errors import MalformedRequest, PayloadTooLarge

MAX_ENTRIES = 100_000


def content(file: Path, largest: int) -> bytes:
    """Raises PayloadTooLarge."""
    if file.stat().st_size > largest:
        raise too_large(largest)
    return file.read_bytes()


def too_large(largest: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The file has more than {largest} bytes.")


def is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)


def open_zip(path: Path, largest: int, opened: ExitStack) -> tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]:
    """A zip that stays open for as long as `opened`, and its files. Raises MalformedRequest or PayloadTooLarge."""
    if path.stat().st_size > largest:
        raise too_large(largest)
    with _as_malformed(path):
        archive = opened.enter_context(zipfile.ZipFile(path))
    entries = [one for one in archive.infolist() if not one.is_dir()]
    if len(entries) > MAX_ENTRIES:
        raise MalformedRequest(f"{path} has more than {MAX_ENTRIES} files.")
    return archive, entries


def inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, largest: int) -> bytes:
    """The sizes that a zip tells of itself are not believed. Raises MalformedRequest or PayloadTooLarge."""
    with _as_malformed(entry.filename), archive.open(entry) as source:
        body = source.read(largest + 1)
    if len(body) > largest:
        raise too_large(largest)
    return body


@contextmanager
def _as_malformed(name: object) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
    ) as error:
        raise MalformedRequest(f"{name} cannot be read: {error}") from None
