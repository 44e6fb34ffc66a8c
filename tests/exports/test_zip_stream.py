"""Zips written from front to back are read by Python's zipfile and by Info-ZIP, large ones too."""

import io
import shutil
import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from app.exports import zip_stream
from app.exports.zip_stream import ZipStream, waiting


def written(entries: Iterable[tuple[str, Iterable[bytes]]], *, large: bool = False) -> bytes:
    out = io.BytesIO()
    with waiting() as directory:
        stream = ZipStream(directory)
        for name, chunks in entries:
            out.write(stream.begin(name, large=large))
            for chunk in chunks:
                out.write(stream.write(chunk))
            out.write(stream.end())
        for chunk in stream.finish():
            out.write(chunk)
    return out.getvalue()


ENTRIES = [("a/é.txt", [b"one", b"", b"two" * 50_000]), ("b", []), ("c/😀", [b"x"])]


@pytest.mark.parametrize(("large", "most"), [(False, zip_stream.MOST), (True, zip_stream.MOST), (True, 100)])
def test_it_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool, most: int) -> None:
    monkeypatch.setattr(
        zip_stream, "MOST", most
    )  # with 100, numbers over it are written as those over 4 GiB are
    content = written(ENTRIES, large=large)
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert opened.testzip() is None
        assert {i.filename: opened.read(i) for i in opened.infolist()} == {n: b"".join(c) for n, c in ENTRIES}
        assert [i.date_time[:3] for i in opened.infolist()] == [(1980, 1, 1)] * 3
    assert content == written(ENTRIES, large=large)
    if unzip := shutil.which("unzip"):
        (tmp_path / "it.zip").write_bytes(content)
        subprocess.run([unzip, "-tq", tmp_path / "it.zip"], check=True, capture_output=True)


def test_what_turns_out_too_large_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_stream, "MOST", 100)
    with pytest.raises(ValueError, match="larger"):
        written(ENTRIES)


def test_more_entries_than_a_short_number_counts() -> None:
    content = written((f"{n}", [b"x"]) for n in range(70_000))
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        assert len(opened.namelist()) == 70_000 and opened.read("69999") == b"x"


def test_nothing_at_all() -> None:
    with zipfile.ZipFile(io.BytesIO(written([]))) as opened:
        assert opened.namelist() == []
