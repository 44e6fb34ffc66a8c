"""What can be lost is in the documentation, by the word that stands in the files."""

import re
from pathlib import Path

import pytest

from app.exports.losses import REASONS, Losses

DOCS = Path(__file__).parent.parent.parent / "docs" / "exports.md"


def test_every_loss_has_its_row() -> None:
    assert re.findall(r"^\| `([a-z_]+)` \|", DOCS.read_text(), re.MULTILINE) == ["what", *REASONS]


def test_only_what_happened_is_named() -> None:
    losses = Losses()
    assert losses.as_json() == []
    for what in ("score", "heatmap", "score"):
        losses(what)
    assert [(one["what"], one["count"]) for one in losses.as_json()] == [("heatmap", 1), ("score", 2)]
    with pytest.raises(AssertionError):
        losses("unheard-of")
