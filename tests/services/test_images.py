"""The names images are kept under."""

import pytest

from app.errors import InvalidPayload
from app.services import images


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("leaf.png", "leaf.png"),
        ("C:\\pictures\\leaf.png", "leaf.png"),
        ("/etc/../leaf.png", "leaf.png"),
        ('quo"te;.png', 'quo"te;.png'),
        ("a\0b\x1f.png", "ab.png"),
        (" leaf.png ", "leaf.png"),
        ("Ca\u0301lyx\u202e.png", "Cályx.png"),
        ("x" * 400 + ".tiff", "x" * 250 + ".tiff"),
    ],
)
def test_clean(sent: str, kept: str) -> None:
    assert images.clean_filename(sent) == kept


@pytest.mark.parametrize("sent", ["", " ", ".", "..", "a/", "a\\", "\u200b", "\0"])
def test_no_name_is_left(sent: str) -> None:
    with pytest.raises(InvalidPayload):
        images.clean_filename(sent)
