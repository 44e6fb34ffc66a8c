"""All that a project holds, as one zip: it is all there, and what is missing is said."""

import csv
import hashlib
import io
import zipfile
from contextlib import closing
from typing import Any

import orjson
import pytest
from flask import Flask

from app import exports, storage
from app.errors import StorageUnavailable
from app.exports import Progress, Selection
from app.extensions import db
from app.models import Analysis, AuditEvent, Image, Project
from app.models.columns import now
from app.models.exports import EVERYTHING
from app.storage import ObjectStream
from tests.cast import Person, Pipeline
from tests.factories import World, picture
from tests.steps import box, finalize, store, upload

AMISS = ("changed", "missing", "pending")


@pytest.fixture
def filled(
    app: Flask, world: World, project: Project, image: Image, analysis: Analysis, pipeline: Pipeline
) -> list[Analysis]:
    """Two images with analyses, one of them with artifacts; another project; and what is deleted."""
    upload(app, pipeline, analysis, "log", b"done\n")
    upload(app, pipeline, analysis, "heatmap")
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(5)])
    finalize(pipeline, analysis)
    second = world.analysis(world.image(project, "../../=cmd.png", picture(20, 10)), "failed")
    deleted = world.image(project, "deleted.png")
    world.analysis(deleted, "failed")
    world.analysis(image, "failed", deleted_at=now())
    elsewhere = world.image(world.project("Bark"), "bark.png")
    world.analysis(elsewhere, "failed")
    with app.app_context():
        db.session.get_one(Image, deleted.id).deleted_at = now()
        db.session.commit()
    return [analysis, second]


def everything(app: Flask, project: Project, progress: Progress | None = None) -> zipfile.ZipFile:
    with app.app_context():
        selection = Selection(project_id=project.id)
        content = b"".join(
            exports.pieces_of_selection(
                selection, EVERYTHING, storage.current(), now(), (), progress or Progress()
            )
        )
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in archive.read(name).splitlines()]


def test_all_of_it_is_there_and_nothing_else(
    app: Flask, world: World, project: Project, filled: list[Analysis], owner: Person, admin: Person
) -> None:
    progress = Progress()
    with everything(app, project, progress) as archive:
        about = orjson.loads(archive.read("project.json"))
        assert (about["id"], about["name"]) == (str(project.id), "Leaves")
        assert {member["email"]: member["role"] for member in about["members"]}[owner.email] == "owner"
        images = lines(archive, "images.ndjson")
        assert [one["filename"] for one in images] == ["leaf.png", "=cmd.png"]
        for one in images:
            content = archive.read(f"images/{one['id']}.png")
            assert hashlib.sha256(content).hexdigest() == one["sha256"] and len(content) == one["size_bytes"]
        document = orjson.loads(archive.read("analyses.json"))
        alone = [admin.api("GET", f"/api/analyses/{row.id}/export").json for row in filled]
        assert document["analyses"] == alone
        for artifact in alone[0]["artifacts"]:
            name = artifact["path"].replace("ml_outputs/", "artifacts/")
            assert hashlib.sha256(archive.read(name)).hexdigest() == artifact["hash"]
        events = lines(archive, "audit.ndjson")
        trail = world.rows(AuditEvent, project_id=project.id)
        assert [event["id"] for event in events] == [str(event.id) for event in trail]
        manifest = orjson.loads(archive.read("manifest.json"))
        assert manifest["counts"] == {
            "analyses": 2,
            "annotations": 5,
            "images": 2,
            "files": 4,
            "receipts": 1,
            "audit_events": len(trail),
            **dict.fromkeys(AMISS, 0),
        }
        assert [manifest[state] for state in AMISS] == [[], [], []]
        assert manifest["project_id"] == str(project.id)
        assert (progress.analyses, progress.annotations) == (2, 5)
        check_files(archive)


def files_in(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read("files.csv").decode(), newline="")))


def check_files(archive: zipfile.ZipFile) -> None:
    """The list names every other entry, with its size and hash."""
    rows = files_in(archive)
    assert {row["path"] for row in rows} == set(archive.namelist()) - {"files.csv", "manifest.json"}
    assert {row["state"] for row in rows} == {"present"}
    for row in rows:
        content = archive.read(row["path"])
        assert (str(len(content)), hashlib.sha256(content).hexdigest()) == (row["bytes"], row["sha256"])


def test_what_is_not_as_it_was_recorded_is_said(
    app: Flask, world: World, project: Project, filled: list[Analysis], image: Image, pipeline: Pipeline
) -> None:
    """An artifact and an image that are others now, one that is gone, and two of which nothing was recorded."""
    running, files = world.analysis(image, "processing"), app.extensions["storage"]
    wanted = {"artifact_type": "log"}
    assert pipeline.post(f"/api/analyses/{running.id}/artifacts/presign", wanted).status_code == 200
    upload(app, pipeline, running, "heatmap")
    files.put(f"ml_outputs/{filled[0].id}/log.txt", b"fine\n", "text/plain")
    files.put(image.storage_path, b"another", "image/png")
    files.delete([f"ml_outputs/{filled[0].id}/heatmap.png"])
    log, heatmap = (f"artifacts/{filled[0].id}/{name}" for name in ("log.txt", "heatmap.png"))
    picture_of, unsent = f"images/{image.id}.png", f"artifacts/{running.id}/log.txt"
    with everything(app, project) as archive:
        manifest = orjson.loads(archive.read("manifest.json"))
        assert manifest["changed"] == [picture_of, log]
        assert (manifest["missing"], manifest["pending"]) == ([heatmap], [unsent])
        found = {name: manifest["counts"][name] for name in ("files", *AMISS)}
        assert found == {"files": 4, "changed": 2, "missing": 1, "pending": 1}
        assert (archive.read(log), archive.read(picture_of)) == (b"fine\n", b"another")
        rows = {row["path"]: row for row in files_in(archive)}
        assert (rows[log]["state"], rows[log]["bytes"], rows[log]["recorded_bytes"]) == ("changed", "5", "5")
        assert rows[log]["recorded_sha256"] == hashlib.sha256(b"done\n").hexdigest() != rows[log]["sha256"]
        assert rows[picture_of]["recorded_sha256"] == image.sha256
        assert (rows[heatmap]["state"], rows[heatmap]["bytes"]) == ("missing", "")
        assert rows[unsent]["state"] == "pending" and not {heatmap, unsent} & set(archive.namelist())


class Short(io.RawIOBase):
    """Gives the beginning of a file, and no error."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> int:
        return 0


def test_a_file_that_ends_before_its_end_is_no_entry(
    app: Flask, project: Project, filled: list[Analysis], image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = app.extensions["storage"]
    stored = files.stat(image.storage_path)
    monkeypatch.setattr(files, "open", lambda _: ObjectStream(Short(), stored))
    with pytest.raises(StorageUnavailable):
        everything(app, project)


def test_receipts_are_as_the_api_has_them(
    app: Flask,
    world: World,
    project: Project,
    filled: list[Analysis],
    image: Image,
    pipeline: Pipeline,
    admin: Person,
) -> None:
    """Of each analysis the oldest first; what is deleted, and what is another project's, is not there."""
    other = world.image(world.project("Bark"))
    running, deleted, elsewhere = (
        world.analysis(one, "processing") for one in (world.image(project), image, other)
    )
    for analysis in (running, deleted, elsewhere):
        store(pipeline, analysis, [box(client_id="a", confidence=0.5)])
        store(pipeline, analysis, [box(client_id="b", nonsense=1)])
    with app.app_context():
        db.session.get_one(Analysis, deleted.id).deleted_at = now()
        db.session.commit()
    expected = []
    for row in (filled[0], running):
        told = admin.api("GET", f"/api/analyses/{row.id}/receipts").json["receipts"]
        expected += [{"analysis_id": str(row.id), **one} for one in reversed(told)]
    with everything(app, project) as archive:
        assert lines(archive, "receipts.ndjson") == expected and len(expected) == 3
        manifest = orjson.loads(archive.read("manifest.json"))
        assert manifest["counts"]["receipts"] == 3
        assert any("webhooks" in one for one in manifest["left_out"])


def test_an_empty_project_is_a_whole_zip(app: Flask, world: World) -> None:
    with everything(app, world.project("Moss")) as archive:
        assert orjson.loads(archive.read("analyses.json"))["analyses"] == []
        assert archive.read("images.ndjson") == archive.read("receipts.ndjson") == b""


def test_a_storage_that_goes_away_is_no_missing_file(
    app: Flask, project: Project, filled: list[Analysis], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_key: str) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(app.extensions["storage"], "open", away)
    with pytest.raises(StorageUnavailable):
        everything(app, project)


def test_no_transaction_is_open_between_the_pieces(
    app: Flask, project: Project, filled: list[Analysis]
) -> None:
    with app.app_context():
        pool: Any = db.engine.pool
        written = exports.everything.write_everything(project.id, storage.current(), now(), Progress())
        with closing(written) as pieces:  # type: ignore[type-var]
            assert {pool.checkedout() for _ in pieces} == {0}


def test_the_estimate_has_the_files_in_it(app: Flask, project: Project, filled: list[Analysis]) -> None:
    with app.app_context():
        selection = Selection(project_id=project.id)
        counts = exports.count(selection)
        size = exports.estimate(selection, EVERYTHING, counts, now())
        files = exports.everything.files_of_project(project.id)
    with everything(app, project) as archive:
        stored = [one for one in archive.infolist() if one.filename.startswith(("images/", "artifacts/"))]
        assert files == sum(one.file_size for one in stored) and size > files
