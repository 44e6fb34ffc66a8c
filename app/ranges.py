"""A stored file in parts, so that a download that broke off goes on where it ended (RFC 9110, 13 and 14)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from flask import Response, request
from werkzeug.http import parse_date

from app.errors import RangeNotSatisfiable
from app.storage import ObjectStream, Storage
from app.storage.base import CHUNK, disposition

RANGE = re.compile(r"bytes=(?=.*[0-9])([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


@dataclass(frozen=True)
class Served:
    """A file whose bytes never change. `sha256` (hex) is its ETag; `content_type` goes out as it is."""

    key: str
    size: int
    sha256: str
    content_type: str
    filename: str
    modified_at: datetime


def part_asked_for(file: Served) -> tuple[int, int] | None:
    """From which byte and up to which, not included; None is all of it.

    Several ranges at once, other units and what cannot be read count as not asked, as does a part of what the client
    knows under another ETag or date. Raises RangeNotSatisfiable.
    """
    wanted = RANGE.fullmatch(request.headers.get("Range", ""))
    if wanted is None or not _is_the_same(file):
        return None
    first, last = (int(text) if text else None for text in wanted.groups())
    if first is None:  # so many of the last bytes
        start, stop = max(0, file.size - (last or 0)), file.size
    elif last is not None and last < first:
        return None
    else:
        start, stop = first, file.size if last is None else min(last + 1, file.size)
    if start >= stop:
        raise RangeNotSatisfiable(headers={"Content-Range": f"bytes */{file.size}"})
    return start, stop


def _is_the_same(file: Served) -> bool:
    """Whether If-Range, where there is one, means this file: by its strong ETag, or by exactly its date."""
    condition = request.headers.get("If-Range")
    if condition is None:
        return True
    if condition.startswith('"'):
        return condition == f'"{file.sha256}"'
    return parse_date(condition) == file.modified_at.replace(microsecond=0)


def is_known(file: Served) -> bool:
    """Whether the client has it all (If-None-Match)."""
    return request.if_none_match.contains_weak(file.sha256)


def send(storage: Storage, file: Served, part: tuple[int, int] | None) -> Response:
    """The file or a part of it, as a download; 304 when the client has it. A HEAD request gets the headers."""
    start, stop = part or (0, file.size)
    response = Response(status=206 if part else 200, content_type=file.content_type)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Disposition"] = disposition(file.content_type, file.filename, inline=False)
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Accept-Ranges"] = "bytes"
    response.last_modified = file.modified_at
    response.set_etag(file.sha256)
    if is_known(file):
        response.status_code = 304
        return response
    response.content_length = stop - start
    if part:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    if request.method != "HEAD":
        source = storage.open(file.key, start)
        response.call_on_close(source.close)
        response.response = _first(source, stop - start)
    return response


def _first(source: ObjectStream, size: int) -> Iterator[bytes]:
    """So many bytes; one that ends before raises, so that the connection is cut and nobody takes it for whole."""
    while size:
        chunk = source.read(min(CHUNK, size))
        if not chunk:
            raise EOFError("a stored file is shorter than it was")
        size -= len(chunk)
        yield chunk
