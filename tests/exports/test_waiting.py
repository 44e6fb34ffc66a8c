"""What waits for its turn comes back as it was written, and a disk that is full on the way is said like a storage's."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.errors import StorageUnavailable
from app.exports.waiting import HELD, Waiting
from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.fakes import fill_temporary_folder
from tests.steps import box, check_problem, store


@pytest.mark.parametrize("size", [0, 1, HELD, HELD + 1])
def test_it_comes_back(size: int) -> None:
    with Waiting() as file:
        for piece in (b"head", b"x" * size, b"tail"):
            file.write(piece)
        assert file.size == size + 8 and b"".join(file.chunks()) == b"head" + b"x" * size + b"tail"
        assert list(file.chunks([4, size + 4])) == [b"head", b"x" * size + b"tail"], "and once more"


def test_without_a_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with Waiting() as file, pytest.raises(StorageUnavailable):
        file.write(b"x" * (HELD + 1))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    fill_temporary_folder(monkeypatch)


def test_no_room_is_said_and_closing_is_silent(full_disk: None) -> None:
    file = Waiting()
    with pytest.raises(StorageUnavailable) as refused:
        file.write(b"x" * 100_000)
    assert refused.value.headers["Retry-After"] and "temporary folder" in refused.value.detail
    file.close()


@pytest.mark.parametrize("form", ["json", "csv", "coco", "yolo", "voc"])
def test_a_download_without_room_is_503(
    app: Flask, full_disk: None, world: World, image: Image, pipeline: Pipeline, viewer: Person, form: str
) -> None:
    """Of an analysis that runs, which is put aside whole; the zips' lists as well."""
    analysis: Analysis = world.analysis(image, "processing")
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(200)])
    answer: Any = viewer.api("GET", f"/api/analyses/{analysis.id}/export?format={form}")
    problem = check_problem(answer, 503, "storage-unavailable")
    assert int(answer.headers["Retry-After"]) > 0 and "temporary folder" in problem["detail"]
