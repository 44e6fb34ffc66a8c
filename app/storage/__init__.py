"""Where files lie: S3Storage and LocalStorage behind one interface, chosen once by `from_config`.

A key names a file: `images/{uuid}`, `ml_outputs/{uuid}/{name}`, `renders/…`, `exports/{uuid}/…`. Readers
and writers outside get signed addresses that end by themselves. Put before a transaction and delete after it, never
inside one.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from flask import current_app

from app.storage.base import (
    Clock,
    ListedObject,
    ObjectStream,
    SignedUpload,
    SignedUrl,
    Storage,
    StoredObject,
    Writer,
)
from app.storage.local import LocalStorage
from app.storage.s3 import S3Storage

__all__ = [
    "ListedObject",
    "LocalStorage",
    "ObjectStream",
    "S3Storage",
    "SignedUpload",
    "SignedUrl",
    "Storage",
    "StoredObject",
    "Writer",
    "current",
    "from_config",
]


def from_config(config: Mapping[str, Any], instance_path: str | Path, clock: Clock = time.time) -> Storage:
    """S3 when `S3_BUCKET` is set, else the directory `storage` in the instance folder."""
    if config.get("S3_BUCKET"):
        return S3Storage(config, clock)
    return LocalStorage(Path(instance_path) / "storage", config["SECRET_KEY"], clock)


def current() -> Storage:
    """The storage of the running app."""
    return cast(Storage, current_app.extensions["storage"])
