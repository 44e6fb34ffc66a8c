"""Which image of a project a part of a file is of: by its id, else by its file name, else by that without an ending."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Protocol
from uuid import UUID

from app.importers.reading import ends_of

MAX_LISTED = 5  # images that are named as examples
ID, NAME, STEM = range(3)  # the first of them that finds something is believed
Key = tuple[int, str]


class Named(Protocol):
    """What a part is called, see `base.Part`."""

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def bare(self) -> bool: ...


class Matches:
    """The images that each of these parts may be of, found by going through a project's images once."""

    def __init__(self, parts: Sequence[Named]) -> None:
        self.parts = parts
        self.found: list[dict[int, list[UUID]]] = [{} for _ in parts]
        self._wanted: dict[Key, list[int]] = {}
        for number, part in enumerate(parts):
            for key in {key for name in part.names for key in _keys_of_name(name, part.bare)}:
                self._wanted.setdefault(key, []).append(number)

    def look_at(self, images: Iterable[tuple[UUID, str]]) -> None:
        """`images` are ids with file names."""
        for image_id, filename in images:
            for key in _keys_of_image(image_id, filename):
                for number in self._wanted.get(key, ()):
                    there = self.found[number].setdefault(key[0], [])
                    if len(there) <= MAX_LISTED and image_id not in there:
                        there.append(image_id)

    def of(self, number: int) -> list[UUID]:
        """The images that the part of this number may be of: none, one, or the first of several."""
        found = self.found[number]
        return found[min(found)] if found else []

    def rivals(self) -> dict[int, list[str]]:
        """Of parts that are of the same image and call it differently, by their numbers: what all of them call it."""
        of_image: dict[UUID, list[int]] = {}
        for number in range(len(self.parts)):
            if len(images := self.of(number)) == 1:
                of_image.setdefault(images[0], []).append(number)
        rivals: dict[int, list[str]] = {}
        for numbers in of_image.values():
            names = list(dict.fromkeys(self.parts[number].names for number in numbers))
            if len(names) > 1:
                listed = [one[0] for one in names[: MAX_LISTED + 1]]
                rivals |= dict.fromkeys(numbers, listed)
        return rivals


def _keys_of_name(name: str, bare: bool) -> Iterator[Key]:
    for end in ends_of(name):
        yield ID, end
        yield NAME, end
        if bare:
            yield STEM, _number(end)


def _keys_of_image(image_id: UUID, filename: str) -> Iterator[Key]:
    yield ID, str(image_id)
    yield NAME, filename
    yield STEM, _number(PurePosixPath(filename).stem)


def _number(stem: str) -> str:
    """A number without the noughts before it: `0139.jpg` is the image 139."""
    return stem.lstrip("0") or "0" if stem.isdecimal() else stem
