"""What the canonical form of an annotation's `data` has otherwise than what was sent.

The two are compared, so that no type has to say what it changes and none can change anything in silence: where this
gives nothing, what is kept equals what was sent. Numbers are equal by their value (8 and 8.0). To add a kind of note:
its entry in `KINDS`, which `docs/annotation-types.md` has too.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple
from unicodedata import normalize

from app.annotations.base import Data, Loaded
from app.geometry import Frame

KINDS: dict[str, str] = {
    "alias": "came in another form than the canonical one",
    "extra": "is a key the type does not know, and stands under `extra` now",
    "filled": "was left out, and has a value now",
    "omitted": "says nothing (`null`, `false` or empty), and was left out",
    "rounded": "is a number that was rounded",
    "scaled": "is in pixels of the image now",
    "text": "is a text, and in NFC now",
}


class Note(NamedTuple):
    """One thing that was changed: `field` is its path under `data` ("" is `data` itself), `kind` one of `KINDS`."""

    field: str
    kind: str
    sent: Any = None
    kept: Any = None


def notes(sent: Data, loaded: Loaded, frame: Frame) -> Iterator[Note]:
    """How `loaded` differs from the `data` it was made of, what holds for all of it first."""
    kept, normalized = loaded.data, sent.get("normalized") is True
    if sent == kept:
        return
    came_in = Frame(1, 1) if normalized else loaded.scaled_from
    if came_in is not None:
        yield Note("normalized" if normalized else "", "scaled", [*came_in], [*frame])
        for key in (
            "image_width",
            "image_height",
        ):  # a frame beside `normalized` means nothing, but may be another
            if normalized and sent.get(key) is not None and kept.get(key, sent[key]) != sent[key]:
                yield Note(key, "scaled", sent[key], kept[key])
    yield from _of_object(sent, kept, "", scaled=came_in is not None)


def _of_object(sent: Data, kept: Data, path: str, *, scaled: bool) -> Iterator[Note]:
    extra, missing = kept.get("extra", {}), []
    filled = [key for key in kept if key not in sent and key != "extra"]
    for key, value in sent.items():
        if key == "extra":
            yield from _of_extra(value, path)
        elif key in kept:
            yield from _of_value(value, kept[key], _under(path, key), scaled=scaled)
        elif key in extra:
            yield Note(_under(path, key), "extra", kept=_under(path, f"extra.{key}"))
        elif value is None or value is False or (not filled and value in ([], {})):
            yield Note(_under(path, key), "omitted")
        elif key != "normalized":
            missing.append(key)
    if missing:
        yield Note(path, "alias", _named(missing, sent), _named(filled, kept))
        yield from _of_names(missing, sent, path)
    else:
        yield from (Note(_under(path, key), "filled", kept=kept[key]) for key in filled)


def _of_extra(value: Any, path: str) -> Iterator[Note]:
    """`extra` stays what it is when it is an object with something in it."""
    if value in (None, {}):
        yield Note(_under(path, "extra"), "omitted")
    elif not isinstance(value, dict):
        yield Note(_under(path, "extra"), "extra", kept=_under(path, "extra.extra"))


def _of_value(sent: Any, kept: Any, path: str, *, scaled: bool) -> Iterator[Note]:
    if sent == kept:
        return
    if isinstance(sent, dict):
        yield from _of_object(sent, kept, path, scaled=scaled)
    elif isinstance(sent, list):
        for i, (before, after) in enumerate(zip(sent, kept, strict=True)):
            yield from _of_value(before, after, _under(path, str(i)), scaled=scaled)
    elif isinstance(sent, str):
        yield Note(path, "text", sent, kept)
    elif sent is None:
        yield Note(path, "filled", kept=kept)
    elif not scaled and not _is_spelled(sent, kept):  # scaled, all numbers are others, which is said once
        yield Note(path, "rounded", sent, kept)


def _is_spelled(sent: Any, kept: Any) -> bool:
    """Whether a whole number is the float as it is written, with the fewest digits that find it again.

    Beyond 2**53 that is another number, and the one that PostgreSQL keeps and an export has.
    """
    return isinstance(sent, int) and isinstance(kept, float) and sent == Decimal(repr(kept))


def _of_names(keys: list[str], sent: Data, path: str) -> Iterator[Note]:
    """The names in an object that became a list: `{"scores": {name: confidence}}`."""
    for key in keys:
        for name in sent[key] if isinstance(sent[key], dict) else ():
            if (kept := normalize("NFC", name)) != name:
                yield Note(_under(path, f"{key}.{name}"), "text", name, kept)


def _named(keys: list[str], data: Data) -> str:
    """`left, top, right, bottom`; of a key whose value is a word, the word too: `bbox, format: xywh`."""
    return ", ".join(f"{key}: {data[key]}" if isinstance(data[key], str) else key for key in keys)


def _under(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
