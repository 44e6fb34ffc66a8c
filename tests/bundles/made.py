"""Bundles made without a database, and what is done to them."""

import io
from collections.abc import Iterable, Mapping

from app.bundles.keys import SigningKey, from_config
from app.bundles.verifying import Lie, Verdict, verify
from app.bundles.writing import Writer

KEY = from_config({"ML_BUNDLE_SIGNING_KEY": (), "SECRET_KEY": "k" * 32})[0]
OTHER_KEY = from_config({"ML_BUNDLE_SIGNING_KEY": (), "SECRET_KEY": "o" * 32})[0]
FILES = {"a.json": b'{"x": 1}\n', "d/empty.txt": b"", "d/b.bin": bytes(range(256))}


def bundle(files: Mapping[str, Iterable[bytes] | bytes] = FILES, key: SigningKey = KEY) -> bytes:
    writer, sent = Writer(), bytearray()
    for name, content in files.items():
        for chunk in writer.file(name, [content] if isinstance(content, bytes) else content):
            sent += chunk
    writer.absent({"name": "d/lost.png", "state": "missing"})
    for chunk in writer.finish({"made_at": "2026-03-04T12:00:00+00:00"}, key):
        sent += chunk
    writer.close()
    return bytes(sent)


def checked(data: bytes, *keys: SigningKey) -> Verdict:
    return verify(io.BytesIO(data), [key.public for key in keys])


def lie_in(data: bytes, *keys: SigningKey) -> Lie:
    """What is found; fails where nothing is."""
    try:
        checked(data, *keys)
    except Lie as lie:
        return lie
    raise AssertionError("nobody noticed")


def flipped(data: bytes, place: int, bits: int = 1) -> bytes:
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]
