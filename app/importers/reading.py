"""What several importers read entries with: one bad entry is refused by itself, and the image is known by its names."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote

from app.importers.base import Found, Json, LeftOut, Part, Parts, Refused, Target, not_this_format, objects

MAX_LISTED = 5  # names and ids that are given as examples


class Unfit(Exception):
    """An entry that cannot be an annotation: what of it is at fault, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field, self.reason = field, reason


def one(place: str, entry: Any, read: Callable[[str, Json], Found]) -> Found:
    """What `read` finds in an entry; refused where it is no object, or `read` says that it is unfit."""
    if not isinstance(entry, dict):
        yield Refused(place, "", "must be an object")
        return
    try:
        yield from read(place, entry)
    except Unfit as fault:
        yield Refused(place, fault.field, fault.reason)


def each(values: Any, path: str, read: Callable[[str, Json], Found]) -> Found:
    """The same for each entry of a list. Raises InvalidPayload when it is no list."""
    for found in objects(values, path):
        if isinstance(found, Refused):
            yield found
        else:
            yield from one(*found, read)


def inner(values: Any, place: str, field: str, read: Callable[[str, Json], Found]) -> Found:
    """The same for a list in the entry at `place`, which alone is unfit where this is none."""
    if not isinstance(values, list):
        raise Unfit(field, "must be a list")
    return each(values, under(place, field), read)


def under(place: str, key: str | int) -> str:
    return f"{place}.{key}" if place else str(key)


def head(entry: Json, known: Iterable[str], place: str, reason: str) -> Found:
    """What is said of the whole, and is not taken: each key that is not `known` and says anything."""
    for key in without(entry, known):
        yield LeftOut(under(place, key), reason)


def kept(first: Json, **others: Json) -> Json:
    """`{"extra": …}` with the keys of all of these; one that had another value before stands under its part's name."""
    out = dict(first)
    for name, part in others.items():
        twice = {key: value for key, value in part.items() if key in out and out[key] != value}
        out |= {key: value for key, value in part.items() if key not in twice}
        if twice:
            out[name if name not in out else f"{name}_"] = twice
    return {"extra": out} if out else {}


def without(entry: Json, known: Iterable[str]) -> Json:
    """The keys of an entry that are not known, and say anything."""
    names = frozenset(known)
    return {key: value for key, value in entry.items() if key not in names and not says_nothing(value)}


def says_nothing(value: Any) -> bool:
    return value is None or value == "" or value == [] or value == {}


# --- values ------------------------------------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def number(value: Any, field: str) -> float:
    """A finite number, where one is needed to compute with."""
    if not is_number(value):
        raise Unfit(field, "must be a finite number")
    return float(value)


def numbers(value: Any, count: int, field: str) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise Unfit(field, f"must be {count} numbers")
    return [number(entry, under(field, i)) for i, entry in enumerate(value)]


def whole(value: Any, field: str, low: int, high: int) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not low <= value <= high:
        raise Unfit(field, f"must be a whole number from {low} to {high}")
    return value


def json_object(value: Any, field: str) -> Json:
    if not isinstance(value, dict):
        raise Unfit(field, "must be an object")
    return value


def percent(value: Any) -> Any:
    """A confidence from 0 to 100 as one from 0 to 1; whatever is no number stays, and is refused as such."""
    return value / 100 if is_number(value) else value


# --- the image ---------------------------------------------------------------------------------------------------


def is_called(name: Any, target: Target) -> bool:
    """Whether a name, path, address or number in the file means the image; a number may be its file's (`0139.jpg`)."""
    if not isinstance(name, str):
        return False
    if not target.calls.isdisjoint(ends_of(name)):
        return True
    stem = PurePosixPath(target.filename).stem
    is_number = target.called is None and name.isdecimal() and stem.isdecimal()
    return is_number and without_noughts(name) == without_noughts(stem)


def without_noughts(stem: str) -> str:
    """A number without the noughts before it: `0139.jpg` is the image 139. What is no number stays."""
    return stem.lstrip("0") or "0" if stem.isdecimal() else stem


def ends_of(name: str) -> Iterator[str]:
    """The name, and what stands at the end of a path, before the query of an address or in it; as images are named."""
    yield name
    path, _, query = name.partition("?")
    for part in (path.partition("#")[0], name, *(query and [query.rpartition("=")[2]])):
        yield normalize("NFC", re.split(r"[/\\]", unquote(part))[-1])


OTHER_IMAGE = "is of another image"


def each_of_image(
    entries: list[Any],
    path: str,
    names_of: Callable[[Json], Iterable[Any]],
    target: Target,
    read: Callable[[str, Json], Found],
) -> Found:
    """What `read` finds in the entries of the image; those of others are left out.

    An entry that names no image is the image's when it is the only one. Raises InvalidPayload when no entry is, and
    when entries of several images are called alike: unless `called` says which is meant, their first names tell.
    """
    named = [[*map(str, names_of(entry))] if isinstance(entry, dict) else [] for entry in entries]
    known = {name: is_called(name, target) for names in named for name in names}
    ours = [next((name for name in names if known[name]), None) for names in named]
    alone = len(entries) == 1 and not named[0] and isinstance(entries[0], dict)
    firsts = [names[0] if names else "" for names in named]
    meant = {ours[i] if target.called else firsts[i] for i in range(len(entries)) if ours[i] is not None}
    check_one({str(name) for name in meant}, target, [name for name in firsts if name], alone)
    for i, entry in enumerate(entries):
        if ours[i] is not None or alone:
            yield from one(under(path, i), entry, read)
        else:
            yield LeftOut(under(path, i), OTHER_IMAGE)


def by_image(
    entries: list[Any],
    path: str,
    names_of: Callable[[Json], Iterable[Any]],
    read: Callable[..., Found],
    key_of: Callable[[Json], str] = lambda entry: "",
) -> Parts:
    """A part for all entries that have the same names, any of which may be an image's, and the same `key_of` them.

    `read(place, entry, target=…)` finds what is in an entry. Those that have no name are told; one that has a number
    only may be of the file of this number.
    """
    groups: dict[tuple[tuple[str, ...], str], list[tuple[str, Json]]] = {}
    for found in objects(entries, path):
        if isinstance(found, Refused):
            yield found
        elif names := tuple(str(name) for name in names_of(found[1]) if not says_nothing(name)):
            groups.setdefault((names, key_of(found[1])), []).append(found)
        else:
            yield LeftOut(found[0], "names no image")
    for (names, key), group in groups.items():
        yield Part(names, partial(_each_of, group, read), bare=all(map(str.isdecimal, names)), key=key)


def _each_of(group: list[tuple[str, Json]], read: Callable[..., Found], target: Target) -> Found:
    for place, entry in group:
        yield from one(place, entry, partial(read, target=target))


def check_one(ours: set[str], target: Target, there: list[str], alone: bool = False) -> None:
    """Raises InvalidPayload unless one name in the file, or an entry that is alone, means the image."""
    if len(ours) > 1:
        listed = ", ".join(name[:80] for name in sorted(ours)[:MAX_LISTED])
        not_this_format(
            f"Several images of the file are called like this one: {listed}. Name one with `called`."
        )
    if not ours and not alone:
        not_this_format(_none_called(target, there))


def _none_called(target: Target, there: list[str]) -> str:
    listed = ", ".join(name[:80] for name in [*dict.fromkeys(there)][:MAX_LISTED])
    return (
        f"The file has no image called {' or '.join(sorted(target.calls))}. It has: {listed or 'none'}. "
        "If one of them is this image, name it with `called`."
    )
