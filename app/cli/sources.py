"""The files that an import is of: one by one, those in a folder, or those in a zip."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple

from app.cli.files import content, inflated, is_zip, open_zip
from app.cli.places import Place, in_folder, in_zip, is_artifact
from app.errors import LoupeError

_TRAIL = "analyses/*/audit.ndjson"  # of a bundle, beside its annotations


class Source(NamedTuple):
    """A file, and what reads it; `read` is None where it is hidden or an artifact, or its name says that it is
    something else.

    Of a zip that cannot be opened `fault` says why. `places` are where the files of its artifacts may lie.
    """

    name: str
    read: Callable[[], bytes] | None
    fault: LoupeError | None = None
    places: tuple[Place, ...] = ()


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
                places = in_folder(path, largest), in_folder(file.parent, largest)
                yield Source(str(file), partial(content, file, largest) if wanted else None, places=places)
        elif is_zip(path):
            try:
                yield from _in_zip(path, endings, largest, opened)
            except LoupeError as error:
                yield Source(str(path), None, error)
        else:
            beside = (in_folder(path.parent, largest),)
            yield Source(str(path), partial(content, path, largest), places=beside)


def _is_wanted(file: PurePath, endings: Sequence[str]) -> bool:
    hidden = any(part.startswith(".") and part not in (".", "..") for part in file.parts)
    is_beside = is_artifact(file) or file.match(_TRAIL)
    return not hidden and not is_beside and file.suffix.lower() in endings


def _in_zip(path: Path, endings: Sequence[str], largest: int, opened: ExitStack) -> Iterator[Source]:
    """Raises MalformedRequest or PayloadTooLarge before the first one."""
    archive, entries = open_zip(path, largest, opened)
    places = (in_zip(archive, entries, largest),)
    for entry in entries:
        wanted = _is_wanted(PurePosixPath(entry.filename), endings)
        read = partial(inflated, archive, entry, largest) if wanted else None
        yield Source(f"{path}/{entry.filename}", read, places=places)
