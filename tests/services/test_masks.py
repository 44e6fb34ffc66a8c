"""services/masks.py: of the pixels of masks no more is kept than there is room for, however small each is."""

import tracemalloc
from collections.abc import Iterator

import pytest
from flask import Flask

from app import storage
from app.services import masks
from app.services.masks import OVERHEAD
from tests.factories import picture

LONGEST = 512  # characters of a path
EMPTY = picture(1, 1, colour="#000000")


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    masks._kept.clear()
    yield
    masks._kept.clear()


def test_of_many_empty_masks_few_are_kept(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masks._kept, "most_bytes", 10 * OVERHEAD)
    with app.app_context():
        kept_in = storage.current()
        for number in range(30):
            path = f"ml_outputs/masks/{number}.png"
            kept_in.put(path, EMPTY, "image/png")
            assert masks.stored(path, kept_in).runs is not None
    assert 0 < len(masks._kept._values) < 10


def test_an_empty_mask_takes_no_more_than_is_counted(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the longest path there may be."""
    with app.app_context():
        kept_in = storage.current()
        kept_in.put("ml_outputs/masks/0.png", EMPTY, "image/png")
        source = kept_in.stat("ml_outputs/masks/0.png")
        monkeypatch.setattr(kept_in, "stat", lambda _: source)
        monkeypatch.setattr(masks, "artifact", lambda *_: EMPTY)
        masks.stored("0", kept_in)
        before = masks._kept.size
        tracemalloc.start()
        try:
            for number in range(500):
                masks.stored(f"{number:0{LONGEST}}", kept_in)
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert taken <= masks._kept.size - before
