"""Answers that a browser may keep: under a name that changes with their content, for good where that never does."""

import hashlib
from pathlib import Path

from flask import Response, request

ROOT = Path(__file__).resolve().parents[2]
FOREVER = "private, max-age=31536000, immutable"
DRAWS = ("templates", "app/overlay", "app/bitmaps", "app/geometry", "app/web")


def _digest() -> str:
    """Of all that decides how a drawing looks: another version of Loupe draws under other names."""
    digest = hashlib.sha256()
    for folder in DRAWS:
        for file in sorted((ROOT / folder).rglob("*")):
            if file.suffix in (".py", ".html", ".svg"):
                digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:8]


FORM = _digest()


def keepable(content_type: str, *made_from: object, for_good: bool) -> Response:
    """The answer without its content, or 304 when the browser has what is made from this (by its `repr`).

    `for_good`: the address itself changes when the content does.
    """
    response = Response(content_type=content_type)
    name = hashlib.sha256(repr((FORM, made_from)).encode()).hexdigest()[:32]
    response.set_etag(name)
    response.headers["Cache-Control"] = FOREVER if for_good else "private, no-cache"
    if request.if_none_match.contains_weak(name):
        response.status_code = 304
    return response


def name_of(response: Response) -> str:
    """What it is kept under."""
    return response.get_etag()[0] or ""
