"""JSON is read by orjson only where that gives the same, and refused for the same reasons."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.errors import MalformedRequest
from app.schemas import strict_json

HOSTILE = (Path(__file__).parents[1] / "data" / "hostile_strings.txt").read_text().splitlines()
TEXTS = st.text(max_size=8) | st.sampled_from(
    ['"', "\\", "\\u0022", "é", "\x7f", "\u2028", "😀", "__proto__", *HOSTILE]
)
NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([2**63, -(2**63), 10**18, 2**64])
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
)
TOKENS = [
    *(
        '"',
        "\\",
        "[",
        "]",
        "{",
        "}",
        ":",
        ",",
        "1",
        "0" * 19,
        "1e400",
        "NaN",
        '"a":1,',
        "\\u0000",
        "\\ud800",
        "\\u005f",
    ),
    *("\\u00e9", '\\"', "\ufeff", " ", "\n", "-", ".5", "null"),
]


def outcome(parse: Any, body: bytes) -> Any:
    try:
        return "parsed", repr(parse(body))  # in which 1 and 1.0, -0.0 and the order of the keys differ
    except MalformedRequest as refused:
        return "refused", refused.detail


def strictly(body: bytes) -> Any:
    return strict_json._parse_strictly(body, strict_json.MAX_DEPTH)


@settings(deadline=None)
@given(value=VALUES, ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_what_programs_write_is_read_the_same(value: Any, ascii: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii, indent=indent).encode("utf-8", "surrogatepass")
    assert outcome(strict_json.parse, body) == outcome(strictly, body)


@settings(deadline=None)
@given(
    value=VALUES,
    ascii=st.booleans(),
    at=st.integers(0, 200),
    put=st.sampled_from(TOKENS),
    over=st.integers(0, 3),
)
def test_what_was_garbled_is_read_the_same(value: Any, ascii: bool, at: int, put: str, over: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    body = (text[:at] + put + text[at + over :]).encode("utf-8", "surrogatepass")
    assert outcome(strict_json.parse, body) == outcome(strictly, body)


@settings(deadline=None)
@given(
    pairs=st.lists(st.tuples(TEXTS, VALUES), min_size=1, max_size=4),
    twice=st.integers(0, 3),
    ascii=st.booleans(),
)
def test_a_key_that_stands_twice_is_never_lost(pairs: list[tuple[str, Any]], twice: int, ascii: bool) -> None:
    pairs = [*pairs, (pairs[twice % len(pairs)][0], 1)]
    assume(not any("\ud800" <= c <= "\udfff" for key, _ in pairs for c in key))
    written = ((json.dumps(key, ensure_ascii=ascii), json.dumps(value)) for key, value in pairs)
    body = "{" + ",".join(f"{key}:{value}" for key, value in written) + "}"
    with pytest.raises(MalformedRequest):
        strict_json.parse(body.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("depth", [30, 31, 32, 33, 200, 253, 254, 255, 300, 1023, 1025, 100_000])
@pytest.mark.parametrize("shell", ["[%s]", '{"a":%s}'])
def test_depths(depth: int, shell: str) -> None:
    left, right = shell.split("%s")
    body = (left * depth + "1" + right * depth).encode()
    assert outcome(strict_json.parse, body) == outcome(strictly, body)
    assert outcome(strict_json.parse, body)[0] == ("parsed" if depth <= 32 else "refused")


@pytest.mark.parametrize(
    "body",
    [
        b'{"annotations":[{"x":1.5}]}',
        b'["caf\\u00e9", "\xc3\xa9"]',
        b' {"a": -0.0, "b": [1E5, 999999999999999999]} ',
    ],
)
def test_what_is_plain_is_read_by_orjson(body: bytes) -> None:
    assert repr(strict_json._parse_plain(body)) == repr(json.loads(body))
