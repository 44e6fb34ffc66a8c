"""`make bench-exports` with few annotations: what it prints of right exports, and that it prints nothing of others."""

import io
import os
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import IO
from uuid import uuid4
from zipfile import ZipFile

import pytest

from benchmarks import exported, floors, formats
from benchmarks.bench import Bench
from benchmarks.serve import Servers, served
from benchmarks.watch import unpin
from benchmarks.wire import Target, Wrong
from tests.benchmarks.test_load import SMALL
from tests.conftest import LiveServer

pytestmark = pytest.mark.one_database
SQLITE = ["--database", "sqlite"]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FILLED", 500)
    monkeypatch.setattr(formats, "FEW", 100)
    monkeypatch.setattr(formats, "SLOW", 1)
    monkeypatch.setattr(formats, "SERVER_CORE", None)
    monkeypatch.setattr(formats, "served", partial(served, core=None))


def test_the_whole_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the thousand are copies. No machine is as quick as this floor."""
    monkeypatch.setattr(floors, "EXPORTED_A_SECOND", 10**9)
    cores, forms = os.sched_getaffinity(0), ("csv", "coco", "yolo", "json")
    assert formats.main([*SQLITE, "--count", "1000", "--check", "--only", *forms]) == 1
    out, err = capsys.readouterr()
    assert re.search(r"^### SQLite 3\.[0-9.]+, 1,000 annotations$", out, re.MULTILINE)
    rows = [line.split(" | ")[0] for line in out.splitlines() if re.match(r"\| [a-z-]+ \| \d", line)]
    assert rows == ["| json", "| csv", *(f"| {form}" for form in forms), "| csv", "| json"]
    assert re.findall(r"Floor: (\w+), SQLite [^:]*: (.*)\. (Met|NOT MET)\.", out) == [
        ("csv", "at least 1,000,000,000 annotations/s", "NOT MET"),
        ("csv", "memory grows by less than 50 MB", "Met"),
        ("json", "at least 1,000,000,000 annotations/s", "NOT MET"),
        ("json", "memory grows by less than 50 MB", "Met"),
    ]
    assert err.split() == ["sqlite:", *(word for form in forms for word in (form, "…"))]
    assert os.sched_getaffinity(0) == cores


def test_an_export_that_has_lost_rows_prints_no_figure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first format is right, and of the second a row is lost on its way."""
    read = formats._read

    def losing(target: Target, analysis: str, form: str, file: IO[bytes]) -> tuple[float, float, int]:
        taken = read(target, analysis, form, file)
        file.seek(0)
        text = file.read()
        file.seek(0)
        file.truncate()
        file.write(without(text, b"box-0000003") if form == "csv" else text)
        return taken

    monkeypatch.setattr(formats, "_read", losing)
    monkeypatch.setattr(formats, "NAIVE", set())
    assert formats.main([*SQLITE, "--count", "500", "--only", "yolo", "csv"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "No figures: what was exported as csv is Held(count=499," in err


def test_what_is_wrong_row_by_row_gives_no_figure(live_server: LiveServer) -> None:
    """There is no such analysis."""
    servers = Servers(live_server.instance, live_server.environ)
    with pytest.raises(Wrong, match="NoResultFound"):
        next(formats._ratios(servers, str(uuid4()), 5))


@pytest.fixture(scope="module")
def files() -> Iterator[dict[str, bytes]]:
    """Five boxes in each format."""
    try:
        with served("sqlite", core=None) as servers:
            watch, target = servers.start("loupe"), servers.target("loupe")
            with closing(target.connection):
                analysis = Bench([target], servers.project, SMALL, {"loupe": watch}).filled_analysis(5)
            made = {form: io.BytesIO() for form in formats.FORMS}
            for form, file in made.items():
                formats._read(target, analysis, form, file)
            yield {form: file.getvalue() for form, file in made.items()}
    finally:
        unpin()


def without(text: bytes, part: bytes) -> bytes:
    """The lines that do not have it."""
    return b"".join(line for line in text.splitlines(keepends=True) if part not in line)


def in_zip(text: bytes, part: bytes, by: bytes) -> bytes:
    """Each entry with the first such part replaced, as a whole new zip."""
    made = io.BytesIO()
    with ZipFile(io.BytesIO(text)) as old, ZipFile(made, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(part, by, 1))
    return made.getvalue()


# what is bent of a file, and what is then said of it
LOST: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("json", lambda text: text.replace(b'"ordering":3,', b'"ordering":3,"client_id":"', 1), "cannot be read"),
    ("json", lambda text: text.replace(b'"x_min":', b'"x_min":1', 1), "what was exported as json is"),
    ("json", lambda text: text[:-3], "the end of the document"),
    (
        "json",
        lambda text: text.replace(b'"annotation_count":5', b'"annotation_count":6'),
        "annotation_count is 6",
    ),
    ("ndjson", lambda text: without(text, b"box-0000003"), "the last line"),
    ("ndjson", lambda text: without(text, b'"kind":"end"'), "the last line"),
    ("csv", lambda text: without(text, b"box-0000003"), "what was exported as csv is"),
    ("csv", lambda text: text.replace(b"box-0000000", b"box-9"), "what was exported as csv is"),
    ("coco", lambda text: without(text, b"box-0000003"), "id is 5, expected 4"),
    ("coco", lambda text: text[: len(text) // 2], "the end of the list"),
    ("coco-results", lambda text: without(text, b"box-0000003"), "what was exported as coco-results is"),
    ("coco-results", lambda text: text.rpartition(b",\n")[0], "the end of the list"),
    ("yolo", lambda text: in_zip(text, b"\n", b" "), "the number exported as yolo is 4"),
    ("yolo-scores", lambda text: in_zip(text, b"\n", b" "), "the number exported as yolo-scores is 4"),
    ("voc", lambda text: in_zip(text, b"</object>", b""), "the number exported as voc is 4"),
    ("bundle", lambda text: in_zip(text, b'"annotation"', b'""'), "the number exported as bundle is 4"),
    ("bundle", lambda text: text[:-50], "exported as bundle cannot be read"),
]


@pytest.mark.parametrize(("form", "bend", "reason"), LOST)
def test_a_file_that_is_bent_is_refused(
    files: dict[str, bytes], form: str, bend: Callable[[bytes], bytes], reason: str
) -> None:
    wanted = exported.expected(5, 1)
    exported.check(form, io.BytesIO(files[form]), wanted)
    with pytest.raises(Wrong, match=reason):
        exported.check(form, io.BytesIO(bend(files[form])), wanted)


def test_each_format_is_held() -> None:
    assert {form for form, _, _ in LOST} == set(exported.TOLD) | set(exported.COUNTED) == set(formats.FORMS)
