"""What files share: how they begin, and of these zips their date and what is missing in them."""

from collections.abc import Generator, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import orjson

from app.errors import Deleted
from app.exports.losses import Losses
from app.exports.zips import ZipStream

FIRST_DAY = datetime(1980, 1, 1, tzinfo=UTC)  # that a zip can name: the same rows make the same file


WHOLE = (
    "`manifest.json` comes last and says what was chosen and what was left out: without it this is not whole."
)


def begun(first: bytes, chunks: Generator[bytes]) -> Generator[bytes]:
    """The same bytes: `first`, with which they begin, and later the rest.

    Raises Deleted where they begin otherwise, as what was to be first is gone meanwhile.
    """
    with closing(chunks):
        yield first
        rest = next(chunks)
        if not rest.startswith(first):
            raise Deleted("What the file began with has been deleted.")
        yield rest.removeprefix(first)
        yield from chunks


def readme(stream: ZipStream, about: str) -> Iterator[bytes]:
    """`README.md`, which stands first: nothing has to be read for it, so the first byte leaves at once."""
    return stream.add("README.md", [f"{about}\n{WHOLE}\n".encode()], deflate=True)


def manifest(stream: ZipStream, head: dict[str, Any], losses: Losses) -> Iterator[bytes]:
    """`manifest.json`: what was chosen, and what the format could not carry of it."""
    text = orjson.dumps({**head, "dropped": losses.as_json()}, option=orjson.OPT_INDENT_2)
    return stream.add("manifest.json", [text + b"\n"], deflate=True)
