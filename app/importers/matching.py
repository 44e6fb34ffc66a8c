"""Which image of a project a part of a file is of: by its id, else by its file name, else by that without an ending."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Protocol
from uuid import UUID

from app.importers.reading import MAX_LISTED, ends_of, without_noughts

ID, NAME, STEM = range(3)  # the first of them that finds something is believed
Key = tuple[int, str]


class Named(Protocol):
    """What a part is called, see `base.Part`."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def bare(self) -> bool: ...


class Images:
    """The images of a project by what a file may call them, read once for any number of parts.

    Of each name the first few are kept: some 700 bytes for an image.
    """

    def __init__(self, images: Iterable[tuple[UUID, str]]) -> None:
        """`images` are ids with file names."""
        self._ids: dict[Key, tuple[UUID, ...]] = {}
        for image_id, filename in images:
            alone = (image_id,)
            for key in _keys_of_image(image_id, filename):
                self._ids[key] = (self._ids.get(key, ()) + alone)[: MAX_LISTED + 1]

    def of(self, part: Named) -> list[UUID]:
        """The images that it may be of: none, one, or the first of several."""
        found: dict[int, dict[UUID, None]] = {}
        for name in part.names:
            for key in _keys_of_name(name, part.bare):
                if ids := self._ids.get(key):
                    found.setdefault(key[0], {}).update(dict.fromkeys(ids))
        return list(found[min(found)])[: MAX_LISTED + 1] if found else []


def rivals(found: Sequence[tuple[list[UUID], tuple[str, ...]]]) -> dict[int, list[str]]:
    """Of parts that are of the same image and known by other names, by their numbers: what all of them are known by.

    `found` has for each part its images, and what it is known by.
    """
    of_image: dict[UUID, dict[tuple[str, ...], list[int]]] = {}
    for number, (images, known) in enumerate(found):
        if len(images) == 1:
            of_image.setdefault(images[0], {}).setdefault(known, []).append(number)
    return {
        number: [known[0] for known in numbers_of]
        for numbers_of in of_image.values()
        if len(numbers_of) > 1
        for numbers in numbers_of.values()
        for number in numbers
    }


def _keys_of_name(name: str, bare: bool) -> Iterator[Key]:
    for end in ends_of(name):
        yield ID, end
        yield NAME, end
        if bare:
            yield STEM, without_noughts(end)


def _keys_of_image(image_id: UUID, filename: str) -> Iterator[Key]:
    yield ID, str(image_id)
    yield NAME, filename
    yield STEM, without_noughts(PurePosixPath(filename).stem)
