"""What a page says of the analyses it shows, so that the next question can be whether anything has changed."""

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from app.models import Status
from app.web.keeping import FORM

LETTERS = {
    Status.QUEUED: "q",
    Status.PROCESSING: "p",
    Status.COMPLETED: "c",
    Status.FAILED: "f",
    Status.CANCELED: "x",
}


class Versioned(Protocol):
    """What a version is made of: an analysis, or a row of these columns."""

    @property
    def id(self) -> UUID: ...
    @property
    def status(self) -> str: ...
    @property
    def revision(self) -> int: ...


def version_of(rows: Iterable[Versioned]) -> str:
    """The analyses, newest first, each with its state and revision and the end of its id: `q1-a0b1c2.c5-d3e4f5`. Told
    apart, so that changes can be named."""
    return ".".join(map(version_of_one, rows))


def version_of_one(row: Versioned) -> str:
    return f"{letter(row)}{row.revision}-{row.id.hex[-6:]}"


def letter(row: Versioned) -> str:
    return LETTERS[row.status]  # type: ignore[index]  # a Status is its own text


def drawing_version(version: str) -> str:
    """Of a drawing: another one also when Loupe comes to draw differently."""
    return f"{version}-{FORM}"
