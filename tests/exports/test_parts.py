"""What files share: how they begin."""

import pytest

from app.errors import Deleted
from app.exports.parts import begun


def test_the_beginning_comes_once() -> None:
    assert list(begun(b"ab", (piece for piece in (b"abc", b"d")))) == [b"ab", b"c", b"d"]


def test_another_beginning_breaks_it_off() -> None:
    """What was said to come first was deleted before it was read."""
    pieces = begun(b"ab", (piece for piece in (b"axc", b"d")))
    assert next(pieces) == b"ab"
    with pytest.raises(Deleted):
        next(pieces)
