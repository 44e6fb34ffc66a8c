"""JSON as RFC 8259 and RFC 7493 (I-JSON) mean it: what other parsers let pass in silence is refused here.

Refused: duplicate keys, NaN and Infinity, numbers that overflow, whole numbers beyond 64 bits, NUL and lone
surrogates in strings, nesting deeper than 32, `__proto__` keys, byte order marks, any encoding but UTF-8.
"""

import json
import math
import re
from contextlib import suppress
from typing import Any

import orjson

from app.errors import MalformedRequest

MAX_DEPTH = 32
MAX_CONTAINERS = 2_500_000  # an empty list is two bytes on the wire and more than sixty in memory
# only a body that shows one of these can hold a forbidden string, key or number, so only that one is walked whole
_SUSPICIOUS = re.compile(rb"\\u|[eE]\+?[0-9]{3}|[0-9]{19}|__proto__")
# an escape of anything but a character beyond ASCII
_ESCAPED_ASCII = re.compile(rb"\\(?!u(?:00[89a-fA-F]|0[1-9a-fA-F]|[1-9a-fA-F]))")
_DIGITS_AS_0 = bytes.maketrans(b"123456789", b"000000000")
_TOO_LONG = b"0" * 19  # fewer digits fit into 64 bits


def parse(body: bytes, depth: int = MAX_DEPTH) -> Any:
    """The value. Raises MalformedRequest with the reason."""
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise MalformedRequest(f"The JSON has more than {MAX_CONTAINERS} lists and objects.")
    with suppress(
        ValueError, orjson.JSONEncodeError
    ):  # the latter for what is nested deeper than orjson writes
        value = _parse_plain(body)
        _check_depth(value, depth)
        return value
    return _parse_strictly(body, depth)  # not while an error holds what orjson made of the body


def _parse_plain(body: bytes) -> Any:
    """The value of a body that holds nothing forbidden, by orjson; ValueError where that is not certain.

    7.7 -> 2.1 us a box. orjson refuses what overflows, NaN, lone surrogates, byte order marks and what is not UTF-8,
    but keeps the last of two equal keys in silence. Without an escaped quote each string has two quotes: where all
    that were sent are there when the value is written again, no key was lost.
    """
    if b"__proto__" in body or _ESCAPED_ASCII.search(body) or _TOO_LONG in body.translate(_DIGITS_AS_0):
        raise ValueError("may hold what is forbidden")
    value = orjson.loads(body)
    if orjson.dumps(value).count(b'"') != body.count(b'"'):
        raise ValueError("holds a key twice")
    return value


def _parse_strictly(body: bytes, depth: int) -> Any:
    """The value of any body; the reason why there is none."""
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
    except UnicodeDecodeError as reason:
        raise MalformedRequest(f"The body is not UTF-8 (byte {reason.start}).") from None
    except RecursionError:
        raise MalformedRequest(f"The JSON is nested deeper than {depth}.") from None
    except json.JSONDecodeError as reason:
        raise MalformedRequest(f"The body is not JSON: {reason.msg} (character {reason.pos}).") from None
    except ValueError as reason:  # ours below, and Python's own limit on the digits of a number
        raise MalformedRequest(f"The body is not JSON: {reason}.") from None
    _check_depth(value, depth)
    if _SUSPICIOUS.search(body):
        _check_values(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!a} stands twice in one object")
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _check_depth(value: Any, depth: int) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return
    raise MalformedRequest(f"The JSON is nested deeper than {depth}.")


def _check_values(value: Any) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        for key, child in value.items():
            if key == "__proto__":
                raise MalformedRequest("The key __proto__ is not allowed.")
            _check_text(key)
            _check_values(child)
    elif isinstance(value, list):
        for child in value:
            _check_values(child)
    elif isinstance(value, float) and not math.isfinite(value):
        raise MalformedRequest("A number is too large.")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise MalformedRequest("A whole number has more than 64 bits.")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise MalformedRequest("A string holds NUL.")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise MalformedRequest("A string holds half of a surrogate pair.")
