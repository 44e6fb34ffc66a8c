"""Strict fields for annotation payloads.

A number is a JSON number: not a text, not a boolean, finite. A refusal in a list is keyed by position.

Each field says its rule twice, in `_deserialize` and beside it, as JSON Schema, in `json_form`; where a list holds
objects, their Marshmallow schema stands there for its JSON Schema.
"""

import sys
import unicodedata
from collections.abc import Collection
from typing import Any

from marshmallow import Schema, ValidationError, fields

from app.annotations.compiled import compiled
from app.annotations.extra import gather_extra

MAX_POINTS = 100_000
MAX_NAME = 255
_HIGHEST = sys.float_info.max
NUMBER: dict[str, Any] = {"type": "number"}
POINTS: dict[str, Any] = {
    "type": "array",
    "minItems": 3,
    "maxItems": MAX_POINTS,
    "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": NUMBER},
}
_LABEL = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]*$"  # the characters of a name
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Real(fields.Field[float]):
    """A finite number between `low` and `high`, as a float."""

    def __init__(self, low: float = -_HIGHEST, high: float = _HIGHEST, **more: Any) -> None:
        super().__init__(**more)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> float:
        if type(value) is not float and type(value) is not int:
            raise ValidationError("must be a number")
        if self.low <= value <= self.high:
            return float(value)
        if -_HIGHEST <= value <= _HIGHEST:
            raise ValidationError(f"must be between {self.low:g} and {self.high:g}")
        raise ValidationError("must be a finite number")

    def json_form(self) -> dict[str, Any]:
        low = {"minimum": self.low} if self.low > -_HIGHEST else {}
        high = {"maximum": self.high} if self.high < _HIGHEST else {}
        return NUMBER | low | high


class Whole(fields.Field[int]):
    """A whole number between `low` and `high`; 640.0 counts as 640."""

    def __init__(self, low: int, high: int, **more: Any) -> None:
        super().__init__(**more)
        self.low, self.high = low, high

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> int:
        return whole(value, self.low, self.high)

    def json_form(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Flag(fields.Field[bool]):
    """`true` or `false`, nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise ValidationError("must be true or false")

    def json_form(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Name(fields.Field[str]):
    """A name people read: NFC, 1 to `longest` characters, no control or text-direction characters."""

    def __init__(self, longest: int = MAX_NAME, **more: Any) -> None:
        super().__init__(**more)
        self.longest = longest

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> str:
        return clean_name(value, self.longest)

    def json_form(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": self.longest, "pattern": _LABEL}


class PointPairs(fields.Field[list[list[float]]]):
    """`[[x, y], …]`, at least three."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[list[float]]:
        return pairs(value)

    def json_form(self) -> dict[str, Any]:
        return dict(POINTS)


class Choice(fields.Field[str]):
    """One of a few words."""

    def __init__(self, choices: Collection[str], **more: Any) -> None:
        super().__init__(**more)
        self.choices = choices

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> str:
        if isinstance(value, str) and value in self.choices:
            return value
        raise ValidationError(f"must be one of {', '.join(self.choices)}")

    def json_form(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}


class Numbers(fields.Field[list[float]]):
    """Exactly `count` finite numbers."""

    def __init__(self, count: int, **more: Any) -> None:
        super().__init__(**more)
        self.count = count

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[float]:
        out = numbers(value, self.count)
        if len(out) != self.count:
            raise ValidationError(f"must be {self.count} numbers")
        return out

    def json_form(self) -> dict[str, Any]:
        return {"type": "array", "minItems": self.count, "maxItems": self.count, "items": NUMBER}


class Entries(fields.Field[list[dict[str, Any]]]):
    """A list of objects of one schema; the keys it does not know go to each entry's own `extra`."""

    def __init__(self, schema: Schema, most: int, **more: Any) -> None:
        super().__init__(**more)
        self.schema, self.most, self.known = schema, most, known_keys(schema)
        self._load = compiled(schema)

    def _deserialize(self, value: Any, attr: Any, data: Any, **more: Any) -> list[dict[str, Any]]:
        if not isinstance(value, (list, tuple)):
            raise ValidationError("must be a list of objects")
        if len(value) > self.most:
            raise ValidationError(f"must have at most {self.most} entries")
        return [self._entry(i, entry) for i, entry in enumerate(value)]

    def json_form(self) -> dict[str, Any]:
        return {"type": "array", "maxItems": self.most, "items": self.schema}

    def _entry(self, i: int, entry: Any) -> dict[str, Any]:
        try:
            values = self._load(entry)
            out = {key: item for key, item in values.items() if item is not None}
            if not self.known.issuperset(entry) and (extra := gather_extra(entry, self.known)):
                out["extra"] = extra
            return out
        except ValidationError as error:
            raise ValidationError({str(i): error.messages}) from None


def known_keys(schema: Schema) -> frozenset[str]:
    return frozenset(field.data_key or name for name, field in schema.load_fields.items())


def whole(value: Any, low: int, high: int) -> int:
    """The value as an int, or ValidationError."""
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise ValidationError("must be a whole number")
    if not low <= value <= high:
        raise ValidationError(f"must be between {low} and {high}")
    return value


def clean_name(value: Any, longest: int = MAX_NAME) -> str:
    """The text in NFC; ValidationError for anything a label could not safely show."""
    if not isinstance(value, str):
        raise ValidationError("must be a text")
    name = unicodedata.normalize("NFC", value)
    if not 1 <= len(name) <= longest:
        raise ValidationError(f"must have 1 to {longest} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs") or char in _BIDI for char in name):
        raise ValidationError("must not contain control or text-direction characters")
    return name


def numbers(value: Any, most: int, what: str = "numbers") -> list[float]:
    """A list of finite numbers as floats; the error of a bad one is keyed by its position."""
    if not isinstance(value, (list, tuple)):
        raise ValidationError(f"must be a list of {what}")
    if len(value) > most:
        raise ValidationError(f"must have at most {most} {what}")
    out = []
    for i, number in enumerate(value):
        if (type(number) is not float and type(number) is not int) or not -_HIGHEST <= number <= _HIGHEST:
            raise ValidationError({str(i): ["must be a finite number"]})
        out.append(float(number))
    return out


def pairs(value: Any) -> list[list[float]]:
    """`[[x, y], …]` as floats: 3 to `MAX_POINTS` of them."""
    if not isinstance(value, (list, tuple)):
        raise ValidationError("must be a list of [x, y] points")
    if not 3 <= len(value) <= MAX_POINTS:
        raise ValidationError(f"must have 3 to {MAX_POINTS} points")
    out = []
    for i, point in enumerate(value):
        try:
            x, y = point
        except (TypeError, ValueError):
            raise ValidationError({str(i): ["must be a point [x, y]"]}) from None
        if not (
            (type(x) is float or type(x) is int)
            and (type(y) is float or type(y) is int)
            and -_HIGHEST <= x <= _HIGHEST
            and -_HIGHEST <= y <= _HIGHEST
        ):
            raise ValidationError({str(i): ["must be a point of two finite numbers"]})
        out.append([float(x), float(y)])
    return out
