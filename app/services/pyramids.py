"""The pieces large images are shown in: made once, when somebody first asks for one, and kept.

They stand under `renders/images/{id}/{hash}/` in the storage: `base`, and `{level}/{column}-{row}` for a tile. A piece
is stored whole or not at all, and the same picture always gives the same pieces. So each is its own mark that it was
made: where one is missing, because a process was killed half way, asking for it makes them all again.
Call these outside any transaction: making the tiles takes seconds.
"""

import io
from contextlib import closing
from threading import Lock
from weakref import WeakValueDictionary

from app import pyramids
from app.errors import NotFound
from app.geometry import Frame
from app.services.renders import Original
from app.storage import Storage, StoredObject

# While they are made, those who wait look this often (seconds) whether theirs is there already.
PATIENCE = 0.25

_locks: WeakValueDictionary[str, Lock] = WeakValueDictionary()
_guard = Lock()


def base(original: Original, frame: Frame, storage: Storage) -> StoredObject:
    """A copy of the whole image, neither side over 2048 pixels. Raises NotFound for an image that is shown as it is."""
    if not pyramids.is_large(frame):
        raise NotFound("This image is shown as it is.")
    key = f"{_place(original)}/base"
    if (made := storage.stat(key)) is not None:
        return made
    with _lock(key):
        if (made := storage.stat(key)) is not None:
            return made
        piece = pyramids.make_base(_read(original, storage))
        return storage.put(key, piece.content, piece.content_type)


def tile(
    original: Original, frame: Frame, level: int, column: int, row: int, storage: Storage
) -> StoredObject:
    """One tile. Raises NotFound outside the grid, and for an image that is shown as it is."""
    if not pyramids.has_tile(frame, level, column, row):
        raise NotFound("This image has no such tile.")
    place = _place(original)
    key = f"{place}/{level}/{column}-{row}"
    lock = _lock(place)
    while (made := storage.stat(key)) is None:
        if not lock.acquire(timeout=PATIENCE):
            continue
        try:
            if storage.stat(key) is None:
                _make_tiles(original, place, storage)
        finally:
            lock.release()
    return made


def _make_tiles(original: Original, place: str, storage: Storage) -> None:
    with closing(pyramids.make_tiles(_read(original, storage))) as tiles:
        for at, piece in tiles:
            storage.put(f"{place}/{at.level}/{at.column}-{at.row}", piece.content, piece.content_type)


def _place(original: Original) -> str:
    return f"renders/images/{original.id}/{original.sha256[:16]}"


def _lock(name: str) -> Lock:
    """One lock for all who name it, for as long as somebody holds on to it."""
    with _guard:
        return _locks.setdefault(name, Lock())


def _read(original: Original, storage: Storage) -> io.BytesIO:
    """In memory: Pillow wants to seek, and what comes over the network cannot."""
    with storage.open(original.storage_path) as source:
        return io.BytesIO(source.read())
