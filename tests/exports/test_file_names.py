"""Names inside a zip: none leads out of it, none is there twice on any file system."""

import posixpath
from pathlib import Path

import pytest

from app.exports.file_names import Names, safe, stem

HOSTILE = [
    ("leaf.png", "leaf"),
    ("leaf.tar.gz", "leaf.tar"),
    ("leaf", "leaf"),
    ("../../etc/passwd.png", "-..-etc-passwd"),
    ("..", "image"),
    (".png", "image"),
    ("...", "image"),
    ("C:\\x\\y.jpg", "C--x-y"),
    ("con.png", "_con"),
    ("COM1", "_COM1"),
    ("nul.x.png", "_nul.x"),
    ("a?b*c|d.png", "a-b-c-d"),
    ("trailing. .png", "trailing"),
    ("x\x00\n\x7fy.png", "x---y"),
    ("é" * 200 + ".png", "é" * 90),
    ("😀" * 100, "😀" * 45),
    ("\udcff.png", "-"),
]


@pytest.mark.parametrize(("filename", "expected"), HOSTILE)
def test_stems(filename: str, expected: str) -> None:
    assert stem(filename) == expected


def test_no_line_of_hostile_strings_leads_out() -> None:
    lines = (Path(__file__).parent.parent / "data" / "hostile_strings.txt").read_text().splitlines()
    names, given = Names(), []
    for line in lines * 3:
        given.append(names.unique(f"m/{safe(line, 'model')}", stem(line), ".txt", "0123"))
    for path in given:
        assert posixpath.normpath(path) == path and path.startswith("m/") and path.count("/") == 2
        assert all(len(part.encode()) <= 255 for part in path.split("/"))
    assert len({path.casefold() for path in given}) == len(lines) * 3


def test_collisions() -> None:
    names = Names()
    asked = ["leaf", "LEAF", "leaf", "leaf", "straße", "STRASSE", "e\u0301", "é"]
    given = [names.unique("f", name, ".txt", f"m{n}") for n, name in enumerate(asked)]
    assert given[:4] == ["f/leaf.txt", "f/LEAF-m1.txt", "f/leaf-m2.txt", "f/leaf-m3.txt"]
    assert given[4:6] == ["f/straße.txt", "f/STRASSE-m5.txt"] and given[7] == "f/é-m7.txt"
    assert names.unique("f", "leaf", ".txt", "m2") == "f/leaf-m2-2.txt"
    assert names.unique("g", "leaf", ".txt", "m2") == "g/leaf.txt"
