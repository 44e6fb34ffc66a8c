"""The files that an import is of: one by one, those in a folder, or those in a zip."""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from app.errors import LoupeError, MalformedRequest, PayloadTooLarge

MAX_ENTRIES = 100_000
_TRAIL = "analyses/*/audit.ndjson"  # of a bundle, beside its annotations


class Source(NamedTuple):
    """A file, and what reads it; `read` is None where it is hidden or its name says that it is something else.

    Of a zip that cannot be opened `fault` says why.
    """

    name: str
    read: Callable[[], bytes] | None
    fault: LoupeError | None = None


def sources(
    paths: Sequence[Path], endings: Sequence[str], largest: int, opened: ExitStack
) -> Iterator[Source]:
    """What is named itself may end in any way; zips stay open for as long as `opened`.

    Reading one raises MalformedRequest or PayloadTooLarge.
    """
    for path in paths:
        if path.is_dir():
            for file in sorted(file for file in path.rglob("*") if file.is_file()):
                wanted = _is_wanted(file.relative_to(path), endings)
                yield Source(str(file), partial(content, file, largest) if wanted else None)
        elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            try:
                yield from _in_zip(path, endings, largest, opened)
            except LoupeError as error:
                yield Source(str(path), None, error)
        else:
            yield Source(str(path), partial(content, path, largest))


def _is_wanted(file: PurePath, endings: Sequence[str]) -> bool:
    hidden = any(part.startswith(".") and part not in (".", "..") for part in file.parts)
    return not hidden and not file.match(_TRAIL) and file.suffix.lower() in endings


def content(file: Path, largest: int) -> bytes:
    """Raises PayloadTooLarge."""
    if file.stat().st_size > largest:
        raise too_large(largest)
    return file.read_bytes()


def too_large(largest: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The file has more than {largest} bytes.")


def _in_zip(path: Path, endings: Sequence[str], largest: int, opened: ExitStack) -> Iterator[Source]:
    """Raises MalformedRequest or PayloadTooLarge before the first one."""
    if path.stat().st_size > largest:
        raise too_large(largest)
    with _as_malformed(path):
        archive = opened.enter_context(zipfile.ZipFile(path))
    entries = [one for one in archive.infolist() if not one.is_dir()]
    if len(entries) > MAX_ENTRIES:
        raise MalformedRequest(f"{path} has more than {MAX_ENTRIES} files.")
    for entry in entries:
        wanted = _is_wanted(PurePosixPath(entry.filename), endings)
        read = partial(_inflated, archive, entry, largest) if wanted else None
        yield Source(f"{path}/{entry.filename}", read)


def _inflated(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, largest: int) -> bytes:
    """The sizes that a zip tells of itself are not believed."""
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
