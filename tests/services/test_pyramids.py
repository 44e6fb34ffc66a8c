"""The pieces of large images: made once, when they are asked for, whatever ends a process meanwhile."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app import pyramids as pieces
from app.errors import NotFound
from app.geometry import Frame
from app.services import pyramids
from app.services.renders import Original
from app.storage import LocalStorage
from tests.factories import picture

FRAME = Frame(4200, 1100)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path, "a secret of the test")


@pytest.fixture
def original(storage: LocalStorage) -> Original:
    image_id = uuid4()
    storage.put(f"images/{image_id}", picture(*FRAME, "JPEG"), "image/jpeg")
    return Original(image_id, "ab" * 32, f"images/{image_id}")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been decoded so far."""
    calls: list[str] = []
    for make in (pieces.make_base, pieces.make_tiles):

        def counted(source: Any, make: Any = make) -> Any:
            calls.append(make.__name__)
            return make(source)

        monkeypatch.setattr(pieces, make.__name__, counted)
    return calls


def kept(storage: LocalStorage, original: Original) -> dict[str, bytes]:
    """By the last part of the key: the bytes of every piece."""
    folder = storage._root / "renders" / "images" / str(original.id) / original.sha256[:16]
    files = (file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_the_base_copy_is_made_alone_and_once(
    storage: LocalStorage, original: Original, made: list[str]
) -> None:
    first = pyramids.base(original, FRAME, storage)
    assert pyramids.base(original, FRAME, storage) == first
    assert made == ["make_base"]
    assert set(kept(storage, original)) == {"base"}


def test_all_tiles_are_made_with_the_first(
    storage: LocalStorage, original: Original, made: list[str]
) -> None:
    stored = pyramids.tile(original, FRAME, 0, 4, 1, storage)
    assert stored.content_type == "image/jpeg"
    assert len(kept(storage, original)) == 5 * 2 + 3
    pyramids.tile(original, FRAME, 1, 2, 0, storage)
    assert made == ["make_tiles"]


def test_many_at_once_make_them_once(
    storage: LocalStorage, original: Original, made: list[str], at_once: Callable[..., Any]
) -> None:
    places = [(0, column, row) for column in range(5) for row in range(2)] + [(1, 0, 0)]
    found = at_once(
        [lambda place=place: pyramids.tile(original, FRAME, *place, storage) for place in places]
        + [lambda: pyramids.base(original, FRAME, storage)] * 2
    )
    assert sorted(made) == ["make_base", "make_tiles"]
    assert [piece.key.rsplit("/", 2)[1:] for piece in found[:-2]] == [
        [str(level), f"{column}-{row}"] for level, column, row in places
    ]


class Killed(BaseException):
    """The process ends here."""


def test_what_was_left_half_made_is_made_again(
    storage: LocalStorage, original: Original, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = pieces.make_tiles

    def cut_off(source: Any) -> Iterator[Any]:
        for number, one in enumerate(make(source)):
            if number == 4:
                raise Killed
            yield one

    with monkeypatch.context() as patch:
        patch.setattr(pieces, "make_tiles", cut_off)
        with pytest.raises(Killed):
            pyramids.tile(original, FRAME, 0, 4, 1, storage)
    half = kept(storage, original)
    assert len(half) == 4
    pyramids.tile(original, FRAME, 0, 4, 1, storage)
    whole = kept(storage, original)
    assert len(whole) == 13
    assert half.items() <= whole.items(), "made again they are the same bytes"


def test_what_is_not_there(storage: LocalStorage, original: Original, made: list[str]) -> None:
    for place in ((0, 5, 0), (0, 0, 2), (2, 0, 0)):
        with pytest.raises(NotFound):
            pyramids.tile(original, FRAME, *place, storage)
    small = Frame(4096, 4096)
    with pytest.raises(NotFound):
        pyramids.tile(original, small, 0, 0, 0, storage)
    with pytest.raises(NotFound):
        pyramids.base(original, small, storage)
    assert made == []
    storage.delete([original.storage_path])
    with pytest.raises(NotFound):
        pyramids.base(original, FRAME, storage)
    with pytest.raises(NotFound):
        pyramids.tile(original, FRAME, 0, 0, 0, storage)
