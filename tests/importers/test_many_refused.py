"""What `flask annotations import --project` does not take: it is named, and the rest is taken."""

import json
import zipfile
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy.exc import OperationalError

from app.extensions import db
from app.models import Analysis
from app.services import images
from tests.importers.many import LINE, coco, entry, taken


def test_an_image_that_the_database_does_not_store(
    run: Any, write: Any, leaves: Any, world: Any, monkeypatch: Any
) -> None:
    """Nothing says that it was taken, and the others are."""
    file = write("labels.json", coco(entry(1), entry(2), **{"1": "a.png", "2": "b.png"}))
    commit, failures = db.session.commit, [OperationalError("COMMIT", {}, Exception("database is locked"))]

    def fails_once() -> None:
        if failures:
            raise failures.pop()
        commit()

    monkeypatch.setattr(db.session, "commit", fails_once)
    said = run("coco", file, code=1)
    assert "database is locked" in said["refused"][0]["reason"] and said["refused"][0]["called"] == "a.png"
    assert taken(said) == {"b.png": 1} and said["total"][0]["inserted"] == 1
    assert world.count(Analysis) == 1


def test_files_of_one_name_in_two_folders(run: Any, write: Any, leaves: Any, world: Any) -> None:
    first, second = (write(f"{camera}/a.txt", LINE * 2) for camera in ("cam1", "cam2"))
    said = run("yolo", first, second, write("cam1/b.txt", LINE))
    assert taken(said) == {"b.png": 1} and world.count(Analysis) == 1
    for one in said["ambiguous"]:
        assert one["reason"].endswith(f"{leaves['a.png'].id}: {first}, {second}")
        assert one["annotations"] == 2
    assert len(said["ambiguous"]) == 2


def test_the_images_are_read_once(run: Any, write: Any, leaves: Any, monkeypatch: Any) -> None:
    read = []
    filenames = images.filenames
    monkeypatch.setattr(images, "filenames", lambda *told: [read.append(told), *filenames(*told)][1:])
    files = [write(f"{name}.json", coco(entry(1), **{"1": f"{name}.png"})) for name in "abc"]
    assert taken(run("coco", *files)) == {"a.png": 1, "b.png": 1, "c.png": 1}
    assert len(read) == 1


def test_hidden_files_are_named(run: Any, leaves: Any, tmp_path: Path) -> None:
    """And `./labels` is not hidden."""
    path = tmp_path / "labels.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("./labels/a.txt", "labels/.old/b.txt", "__MACOSX/labels/._a.txt"):
            archive.writestr(name, LINE)
    hidden = tmp_path / ".labels" / ".old"
    hidden.mkdir(parents=True)
    for file in (hidden / "a.txt", hidden.parent / "c.txt"):
        file.write_text(LINE)
    said = run("yolo", path, hidden.parent)
    assert taken(said) == {"a.png": 1, "c.png": 1} and said["total"][0]["files_left_out"] == 3
    assert [one["source"].removeprefix(str(tmp_path)) for one in said["other"]] == [
        "/labels.zip/labels/.old/b.txt",
        "/labels.zip/__MACOSX/labels/._a.txt",
        "/.labels/.old/a.txt",
    ]


def test_the_trail_in_a_bundle_is_named(run: Any, world: Any, leaves: Any, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    box = {"annotation_type": "bounding_box", "data": {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 9}}
    head = {"kind": "analysis", "id": "a1", "filename": "a.png", "model_name": "leaf-net"}
    told = (head, {"kind": "annotation", "analysis_id": "a1", **box}, {"kind": "end", "annotation_count": 1})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("analyses/a1/annotations.ndjson", "\n".join(map(json.dumps, told)))
        archive.writestr("analyses/a1/audit.ndjson", json.dumps({"action": "analysis.created"}))
    said = run("ndjson", path)
    assert taken(said) == {"a.png": 1} and "unmatched" not in said
    assert [one["source"] for one in said["other"]] == [f"{path}/analyses/a1/audit.ndjson"]


def test_a_zip_that_cannot_be_opened_is_not_the_end(
    run: Any, leaves: Any, app: Flask, tmp_path: Path
) -> None:
    large, broken, good = (tmp_path / name for name in ("large.zip", "broken.zip", "good.zip"))
    for path, name, text in ((large, "b.txt", LINE * 1000), (good, "a.txt", LINE)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, text)
    broken.write_bytes(good.read_bytes()[:-10])
    app.config["MAX_REQUEST_BYTES"] = 2048
    said = run("yolo", large, broken, good, code=1)
    assert taken(said) == {"a.png": 1}
    assert [one["source"] for one in said["refused"]] == [str(large), str(broken)]
    assert [one["reason"].partition(":")[0] for one in said["refused"]] == [
        "The file has more than 2048 bytes.",
        f"{broken} cannot be read",
    ]
