"""The keys a type does not know: kept, checked, exported again."""

import sys
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

MAX_DEPTH = 32
_HIGHEST = sys.float_info.max
_INTEGERS = (-(2**63), 2**64 - 1)  # what JSON answers and JSONB can both hold


def gather_extra(data: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The keys that are not `known`, joined with an `extra` object that is already there.

    A key that is both beside and inside `extra` with different values is refused, as one would be lost.
    """
    extra = {key: value for key, value in data.items() if key not in known and key != "extra"}
    before = data.get("extra")
    if before is not None:
        before = before if isinstance(before, dict) else {"extra": before}
        for key, value in before.items():
            if key in extra and extra[key] != value:
                raise ValidationError({f"extra.{key}": ["stands beside and inside extra with two values"]})
        extra.update(before)
    check_tree(extra, "extra")
    return extra


def check_tree(value: Any, path: str = "", depth: int = 1) -> None:
    """ValidationError for what no database or JSON answer can hold: deep nests, NaN, huge integers."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
            raise ValidationError({path: ["must not contain NUL or lone surrogates"]})
        return
    if isinstance(value, float) and not -_HIGHEST <= value <= _HIGHEST:
        raise ValidationError({path: ["must be a finite number"]})
    if type(value) is int and not _INTEGERS[0] <= value <= _INTEGERS[1]:
        raise ValidationError({path: ["must fit in 64 bits"]})
    if not isinstance(value, (dict, list, tuple)):
        return
    if depth > MAX_DEPTH:
        raise ValidationError({path: [f"must not be nested deeper than {MAX_DEPTH}"]})
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if isinstance(key, str):
            check_tree(key, path)
        check_tree(item, f"{path}.{key}" if path else str(key), depth + 1)
