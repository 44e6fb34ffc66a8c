"""Loading: a Marshmallow schema's answer, what it ignored, and its errors in the shape of the wire."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache
from typing import Any
from unicodedata import category, normalize

import marshmallow
import orjson
from marshmallow import ValidationError, fields, validate

from app.annotations.compiled import Load, compiled, does_no_more
from app.annotations.fields import known_keys
from app.errors import InvalidPayload

MAX_ERRORS = 100
BIDIRECTIONAL = {
    "\u061c",
    "\u200e",
    "\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}
# the same as a pattern of JSON Schema; the second lets tab and LF pass
_DIRECTIONS = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
ONE_LINE = rf"^[^\u0000-\u001f\u007f-\u009f{_DIRECTIONS}]*$"
SEVERAL_LINES = rf"^[^\u0000-\u0008\u000b-\u001f\u007f-\u009f{_DIRECTIONS}]*$"


class Schema(marshmallow.Schema):
    """Unknown fields are left out and named, see `load`.

    A field of our own whose rule Marshmallow's validators do not tell has `json_form()`: the same rule in JSON Schema.
    """

    class Meta:
        unknown = marshmallow.EXCLUDE


class Noted(Schema):
    """An answer that names what it did not understand; `ignored` is there only when there is something to name."""

    ignored = fields.List(fields.String(), metadata={"description": "Fields that mean nothing here."})


class Deleted(Schema):
    """What `deleted_out` gives."""

    deleted_at = fields.DateTime(required=True)
    restorable_until = fields.DateTime(
        required=True,
        allow_none=True,
        metadata={"description": "After that it may be purged for good; null is never."},
    )


def load(kind: type[marshmallow.Schema], raw: Any) -> tuple[dict[str, Any], list[str]]:
    """The clean values and the names of the fields that were ignored. Raises InvalidPayload."""
    read, known = _reader(kind)
    try:
        values = read(raw)
    except ValidationError as error:
        raise InvalidPayload(errors=list(flatten(error.messages))[:MAX_ERRORS]) from None
    # the name of a form's field is None where it is missing or cannot be read
    return values, sorted(name or "" for name in raw if name not in known)[:MAX_ERRORS]


@cache
def _reader(kind: type[marshmallow.Schema]) -> tuple[Load, frozenset[str]]:
    """What loads it, and the keys that it knows. Made once: loading changes nothing in a schema."""
    schema = kind()
    plain = schema.unknown == marshmallow.EXCLUDE and does_no_more(schema)
    return compiled(schema) if plain else schema.load, known_keys(schema)


def flatten(messages: Any, path: str = "") -> Iterator[dict[str, str]]:
    """Marshmallow's nested messages as `{field, reason}` each; the path is dotted."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            step = "" if key == "_schema" else str(key)
            yield from flatten(inner, ".".join(part for part in (path, step) if part))
    else:
        for message in messages if isinstance(messages, list) else [messages]:
            yield {"field": path, "reason": str(message)}


class Text(fields.String):
    """One line of text in NFC without control or bidirectional characters, 1 to `longest` characters."""

    def __init__(
        self, longest: int = 255, *, shortest: int = 1, several_lines: bool = False, **more: Any
    ) -> None:
        told = (
            f"Must have {shortest} to {longest} characters." if shortest else f"At most {longest} characters."
        )
        super().__init__(validate=validate.Length(shortest, longest, error=told), **more)
        self.several_lines = several_lines

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> str:
        text = value if type(value) is str else super()._deserialize(value, attr, data, **more)
        # most are; with numbers that go past an empty chain of validators 38.6 → 35.8 µs an annotation
        if text.isascii() and text.isprintable():
            return text
        text = normalize("NFC", text)
        allowed = "\n\t" if self.several_lines else ""
        if any(c in BIDIRECTIONAL or (category(c) in ("Cc", "Cs") and c not in allowed) for c in text):
            raise ValidationError("Control and bidirectional characters are not allowed.")
        return text

    def json_form(self) -> dict[str, Any]:
        return {"type": "string", "pattern": SEVERAL_LINES if self.several_lines else ONE_LINE}


class ErrorMessage(fields.String):
    """Text as a program wrote it: control characters but tab and LF become U+FFFD, cut at `longest`."""

    def __init__(self, longest: int = 10_000, **more: Any) -> None:
        super().__init__(**more)
        self.longest = longest

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> str:
        text = super()._deserialize(value, attr, data, **more).replace("\r\n", "\n")
        bad = ("Cc", "Cs")
        return "".join("\ufffd" if category(c) in bad and c not in "\n\t" else c for c in text)[
            : self.longest
        ]


class StrictInteger(fields.Integer):
    """A JSON whole number: no text, no boolean, nothing beyond 32 bits."""

    def __init__(self, low: int = -(2**31), high: int = 2**31 - 1, **more: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(low, high), **more)

    def _validated(self, value: Any) -> Any:
        if type(value) is int:
            return value
        if isinstance(value, str | bool):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class JsonObject(fields.Dict):
    """A free JSON object of at most `largest` bytes when written without spaces."""

    def __init__(self, largest: int = 64 * 1024, **more: Any) -> None:
        super().__init__(keys=fields.String(), **more)
        self.largest = largest

    def _deserialize(self, value: Any, attr: str | None, data: Any, **more: Any) -> Any:
        value = super()._deserialize(value, attr, data, **more)  # type: ignore[no-untyped-call]
        if len(orjson.dumps(value)) > self.largest:
            raise ValidationError(f"Larger than {self.largest} bytes.")
        return value


def deleted_out(deleted_at: datetime | None, restorable_until: datetime | None) -> dict[str, Any]:
    return {"deleted_at": moment(deleted_at), "restorable_until": moment(restorable_until)}


def moment(value: datetime | None) -> str | None:
    """RFC 3339 in UTC."""
    return value.isoformat() if value else None
