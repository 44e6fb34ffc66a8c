"""Zips written from front to back are read by Python's zipfile and by Info-ZIP."""

import io
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.exports.zips import ZipStream

MOMENT = datetime(2026, 3, 4, 12, 30, 8, tzinfo=UTC)
ENTRIES = [("a/é.txt", [b"one", b"", b"two" * 50_000]), ("b", []), ("c/😀", [b"x"])]


def written(entries: Iterable[tuple[str, Iterable[bytes]]], *, deflate: bool = True) -> bytes:
    with closing(ZipStream(MOMENT)) as stream:
        out = [piece for name, pieces in entries for piece in stream.add(name, pieces, deflate=deflate)]
        return b"".join([*out, *stream.end()])


@pytest.mark.parametrize("deflate", [True, False])
def test_it_is_read_back(tmp_path: Path, deflate: bool) -> None:
    content = written(ENTRIES, deflate=deflate)
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None
        assert {i.filename: opened.read(i) for i in opened.infolist()} == {n: b"".join(c) for n, c in ENTRIES}
        assert {i.date_time for i in opened.infolist()} == {(2026, 3, 4, 12, 30, 8)}
    assert content == written(ENTRIES, deflate=deflate)
    if unzip := shutil.which("unzip"):
        (tmp_path / "it.zip").write_bytes(content)
        subprocess.run([unzip, "-tq", tmp_path / "it.zip"], check=True, capture_output=True)


@pytest.mark.parametrize("deflate", [True, False])
def test_what_says_nothing(tmp_path: Path, deflate: bool) -> None:
    """In front, in the middle, at the end of an entry and behind it: bytes leave, and nobody reads them."""
    with closing(ZipStream(MOMENT)) as stream:
        assert stream.nothing() == b""
        pieces = list(stream.add("a", [b"", b"", b"one", b"", b"", b"two", b""], deflate=deflate))
        pieces += [stream.nothing(), stream.nothing()]
        assert len([piece for piece in pieces[1:] if piece]) == (7 if deflate else 2)
        pieces += [*stream.add("b", [], deflate=deflate), stream.nothing(), *stream.end()]
    content = b"".join(pieces)
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None and (opened.read("a"), opened.read("b")) == (b"onetwo", b"")
    if unzip := shutil.which("unzip"):
        (tmp_path / "it.zip").write_bytes(content)
        subprocess.run([unzip, "-tq", tmp_path / "it.zip"], check=True, capture_output=True)


def test_more_entries_than_a_short_number_counts() -> None:
    content = written((f"{n}", [b"x"]) for n in range(66_000))
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert len(opened.namelist()) == 66_000 and opened.read("65999") == b"x"


def test_nothing_at_all() -> None:
    with zipfile.ZipFile(io.BytesIO(written([]))) as opened:
        assert opened.namelist() == []
