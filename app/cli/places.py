"""Where the files of artifacts lie: as Loupe's zip of everything and its bundles have them, zipped or not."""

import os
import re
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePath
from typing import TypeAlias

from app.cli.files import content, inflated, open_zip

Read: TypeAlias = Callable[[], bytes]
Place: TypeAlias = Callable[[str, str], Read | None]
"""What reads the file of this analysis and name; None where it is not there. Both are one part of a path."""

LAYOUTS = ("artifacts/{0}/{1}", "analyses/{0}/artifacts/{1}")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
INSIDE = ("{0}/{1}", "{0}/artifacts/{1}")  # the folder `artifacts` or `analyses` itself


def is_artifact(file: PurePath) -> bool:
    """Whether it lies where an export has the files of artifacts: those may be JSON, and no annotations."""
    match file.parts:
        case (*_, "artifacts", analysis, _) | (*_, "analyses", analysis, "artifacts", _):
            return _ID.fullmatch(analysis) is not None
    return False


def in_folder(folder: Path, largest: int) -> Place:
    """A link that leads out of the folder leads to nothing."""
    return partial(_in_folder, folder.resolve(), largest)


def _in_folder(folder: Path, largest: int, analysis: str, name: str) -> Read | None:
    own = ("artifacts/{1}",) if folder.name == analysis else ()  # what a bundle has of this one analysis
    for layout in (*LAYOUTS, *INSIDE, *own):
        file = Path(
            os.path.realpath(folder / layout.format(analysis, name))
        )  # links in a circle are no error
        if file.is_relative_to(folder) and file.is_file():
            return partial(content, file, largest)
    return None


def in_zip(archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], largest: int) -> Place:
    return partial(_in_zip, archive, {one.filename: one for one in entries}, largest)


def _in_zip(
    archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], largest: int, analysis: str, name: str
) -> Read | None:
    there = (entries.get(layout.format(analysis, name)) for layout in LAYOUTS)
    entry = next((one for one in there if one is not None), None)
    return partial(inflated, archive, entry, largest) if entry else None


def place_at(path: Path, largest: int, opened: ExitStack) -> Place:
    """A folder or a zip, which stays open for as long as `opened`. Raises MalformedRequest or PayloadTooLarge."""
    if path.is_dir():
        return in_folder(path, largest)
    return in_zip(*open_zip(path, largest, opened), largest)
