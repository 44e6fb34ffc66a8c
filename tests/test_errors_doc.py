"""docs/errors.md names exactly the codes there are, each with its status."""

import re
from pathlib import Path

from app.errors import CODES
from tests.support.raised import raised

LINE = re.compile(r"\| (\d{3}) \| `([a-z-]+)` \| (.+?) \| (.+?) \|")


def lines() -> list[tuple[int, str]]:
    text = (Path(__file__).parent.parent / "docs" / "errors.md").read_text()
    return [(int(match[1]), match[2]) for match in LINE.finditer(text)]


def test_the_docs_name_exactly_the_codes() -> None:
    assert sorted(lines()) == sorted((error.status, code) for code, error in CODES.items())


def test_what_nothing_raises_yet_is_marked_as_reserved() -> None:
    text = (Path(__file__).parent.parent / "docs" / "errors.md").read_text()
    reserved = {match[2] for match in LINE.finditer(text) if match[3].startswith("reserved: ")}
    assert reserved == CODES.keys() - raised()


def test_codes_are_said_once() -> None:
    codes = [code for _, code in lines()]
    assert len(set(codes)) == len(codes)


def test_every_code_of_the_contract_is_there() -> None:
    """A copy of the list in the contract: codes are stable."""
    contract = {
        400: "malformed-request model-not-allowed image-mismatch limit-reached too-many-annotations",
        401: "unauthenticated signature-missing signature-invalid timestamp-skew replay scheme-not-allowed",
        403: "forbidden",
        404: "not-found",
        405: "method-not-allowed",
        409: "illegal-transition conflict already-claimed lease-lost",
        410: "deleted",
        413: "payload-too-large",
        415: "unsupported-media-type",
        422: "invalid-payload",
        429: "rate-limited",
        503: "storage-unavailable database-unavailable signing-not-configured",
    }
    expected = {code: status for status, codes in contract.items() for code in codes.split()}
    assert {code: error.status for code, error in CODES.items()} == expected
