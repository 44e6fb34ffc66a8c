"""Sizes and times as people read them."""

from datetime import timedelta

import pytest

from app.web import duration, filesize


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (75825, "74 KiB"),
        (52_428_800, "50 MiB"),
        (12_400_000, "11.8 MiB"),
        (3 * 2**40, "3,072 GiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert filesize(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.62, "0.6 s"),
        (9.94, "9.9 s"),
        (42, "42 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (7200, "2 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(timedelta(seconds=seconds)) == text
