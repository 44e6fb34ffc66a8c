"""Heatmaps and masks that come back with Loupe's own exports: the files of their artifacts come along."""

import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from PIL import Image as Picture

from app import exports, storage
from app.exports import Progress, Selection
from app.extensions import db
from app.models import Analysis, Artifact, AuditEvent
from app.models.columns import now
from app.models.exports import EVERYTHING
from tests.cast import Person, Pipeline
from tests.factories import World, gradient, some_id, spots
from tests.steps import box, finalize, store, upload

FILES = {"heat.png": gradient(64, 48), "mask.png": spots(64, 48)}
TYPES = {"heat.png": "heatmap", "mask.png": "segmentation"}
KINDS = {
    "heat.png": {"annotation_type": "heatmap", "class_name": "stain", "data": {"width": 64, "height": 48}},
    "mask.png": {"annotation_type": "segmentation", "class_name": "cell", "data": {"format": "png"}},
}
COMPARED = ("annotation_type", "class_name", "confidence", "data", "ordering", "client_id")


@pytest.fixture
def marked(app: Flask, image: Any, world: World, pipeline: Pipeline) -> Analysis:
    """An analysis with a heatmap, a mask and a box, as the demo's models make them."""
    analysis = world.analysis(image, "processing", model_name="stain-separation", model_version="1.0.0")
    items = [
        {**KINDS[name], "storage_path": upload(app, pipeline, analysis, TYPES[name], content, filename=name)}
        for name, content in FILES.items()
    ]
    store(pipeline, analysis, [*items, box(class_name="leaf", confidence=0.5)])
    finalize(pipeline, analysis)
    return analysis


@pytest.fixture
def whole(app: Flask, project: Any, marked: Analysis, tmp_path: Path) -> Path:
    return everything(app, project, tmp_path)


def everything(app: Flask, project: Any, tmp_path: Path) -> Path:
    """The zip of all that the project holds."""
    file = tmp_path / "everything.zip"
    with app.app_context():
        chosen = Selection(project_id=project.id)
        told = (chosen, EVERYTHING, storage.current(), now(), (), Progress())
        file.write_bytes(b"".join(exports.pieces_of_selection(*told)))
    return file


@pytest.fixture
def bundle(marked: Analysis, viewer: Person, tmp_path: Path) -> Path:
    file = tmp_path / "bundle.zip"
    file.write_bytes(viewer.api("GET", f"/api/analyses/{marked.id}/bundle", buffered=True).data)
    return file


@pytest.fixture
def one(app: Flask, image: Any) -> Any:
    """one(file, …): what `--image` says, as text."""

    def one(file: Path, *options: object, format: str = "json", code: int = 0) -> str:
        told = ["annotations", "import", str(file), "--image", str(image.id), "--format", format]
        result = app.test_cli_runner().invoke(args=[*told, *map(str, options)])
        assert result.exit_code == code, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.output

    return one


def unpacked(file: Path, folder: Path) -> Path:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder)
    return folder


def made_of(world: World, marked: Analysis) -> Analysis:
    (made,) = (row for row in world.rows(Analysis) if row.id != marked.id)
    return made


def files_of(app: Flask) -> list[str]:
    with app.app_context():
        return sorted(found.key for found in storage.current().listed("ml_outputs/"))


def check_same(app: Flask, world: World, viewer: Person, marked: Analysis) -> Analysis:
    """What was made is what was exported: annotations, bytes, hashes; and it is drawn."""
    made = made_of(world, marked)
    before, after = (viewer.api("GET", f"/api/analyses/{row.id}/export").json for row in (marked, made))
    compared = [
        [{name: item[name] for name in COMPARED} for item in file["annotations"]] for file in (before, after)
    ]
    assert compared[0] == compared[1] and len(compared[0]) == 3
    rows = {row.storage_path: row for row in world.rows(Artifact, analysis_id=made.id)}
    for name, content in FILES.items():
        path = f"ml_outputs/{made.id}/{name}"
        assert path in [item["storage_path"] for item in after["annotations"]]
        row, digest = rows.pop(path), hashlib.sha256(content).hexdigest()
        assert (row.artifact_type, row.content_type) == (TYPES[name], "image/png")
        assert (row.size_bytes, row.sha256, bool(row.etag)) == (len(content), digest, True)
        with app.app_context(), storage.current().open(path) as stream:
            assert (stream.read(), stream.info.content_type) == (content, "image/png")
        (event,) = world.rows(AuditEvent, subject_id=str(row.id))
        assert (event.actor_label, event.after["storage_path"]) == ("system", path)
    assert not rows and {one["state"] for one in after["artifacts"]} == {"present"}
    check_drawn(viewer, made)
    return made


def check_drawn(viewer: Person, made: Analysis) -> None:
    page = viewer.client.get(f"/images/{made.image_id}?analysis={made.id}").text
    layers = {
        address.replace("&amp;", "&")
        for address in re.findall(r'"(/annotations/[^"]+/layer\.png[^"]*)"', page)
    }
    assert len({urlsplit(address).path for address in layers}) == 2
    for address in layers:
        answer = viewer.client.get(address)
        assert answer.status_code == 302, answer.text
        parts = urlsplit(answer.location)
        sent = viewer.app.test_client(use_cookies=False).get(f"{parts.path}?{parts.query}")
        assert Picture.open(io.BytesIO(sent.data)).size == (64, 48)


def test_the_zip_of_everything(
    app: Flask, run: Any, world: World, viewer: Person, marked: Analysis, whole: Path
) -> None:
    said = run("json", whole, model=False)
    assert [one["inserted"] for one in said["image"]] == [3]
    made = check_same(app, world, viewer, marked)
    told = {one["what"]: one["count"] for one in said["image"][0]["file"]["told"]}
    assert told["names an artifact, whose file comes along"] == 2
    before = files_of(app)
    (again,) = run("json", whole, model=False)["image"]
    assert (again["analysis_id"], again["inserted"], again["unchanged"]) == (str(made.id), 0, 3)
    (other,) = run("json", whole, "--group", "other", model=False)["image"]
    assert (other["analysis_id"], other["unchanged"]) == (str(made.id), 3)
    assert files_of(app) == before and world.count(Analysis) == 2


def test_a_bundle(app: Flask, run: Any, world: World, viewer: Person, marked: Analysis, bundle: Path) -> None:
    assert [one["inserted"] for one in run("ndjson", bundle, model=False)["image"]] == [3]
    check_same(app, world, viewer, marked)


@pytest.mark.parametrize(
    "which", ["everything", "bundle", "folder", "bundled file", "beside", "option", "zip"]
)
def test_from_folders(
    which: str,
    app: Flask,
    run: Any,
    one: Any,
    world: World,
    viewer: Person,
    marked: Analysis,
    whole: Path,
    bundle: Path,
    tmp_path: Path,
) -> None:
    """Unpacked, as a folder or the file in it; and a file that lies elsewhere."""
    all_of_it, bundled = unpacked(whole, tmp_path / "all"), unpacked(bundle, tmp_path / "bundled")
    alone = tmp_path / "elsewhere" / "analyses.json"
    alone.parent.mkdir()
    alone.write_bytes((all_of_it / "analyses.json").read_bytes())
    called = ("--called", marked.id)
    if which == "everything":
        run("json", all_of_it, model=False)
    elif which == "bundle":
        run("ndjson", bundled, model=False)
    elif which == "folder":
        run("json", alone, "--artifacts", all_of_it / "artifacts", model=False)
    elif which == "bundled file":
        one(bundled / "analyses" / str(marked.id) / "annotations.ndjson", format="ndjson")
    elif which == "beside":
        one(all_of_it / "analyses.json", *called)
    elif which == "option":
        one(alone, "--artifacts", bundled, *called)
    else:
        one(alone, "--artifacts", whole, *called)
    check_same(app, world, viewer, marked)


def test_a_dry_run_puts_nothing(app: Flask, run: Any, world: World, marked: Analysis, whole: Path) -> None:
    before = files_of(app)
    assert [one["inserted"] for one in run("json", whole, "--dry-run", model=False)["image"]] == [3]
    assert files_of(app) == before
    assert (world.count(Analysis), world.count(Artifact)) == (1, 2)


def test_a_file_that_is_not_there(
    app: Flask, run: Any, world: World, viewer: Person, marked: Analysis, whole: Path, tmp_path: Path
) -> None:
    """The annotation is named with its file and the way out; with --skip-invalid the others are taken, and with the
    folder all of them, later too."""
    folder = unpacked(whole, tmp_path / "all")
    missing = folder / "artifacts" / str(marked.id) / "mask.png"
    kept = missing.rename(tmp_path / "mask.png")
    (refused,) = run("json", folder, code=1, model=False)["refused"]
    (fault,) = refused["errors"]
    assert (fault["place"], fault["field"]) == ("analyses.0.annotations.1", "storage_path")
    assert f"artifacts/{marked.id}/mask.png" in fault["reason"] and "--artifacts" in fault["reason"]
    assert world.count(Analysis) == 1 and len(files_of(app)) == 2
    (taken,) = run("json", folder, "--skip-invalid", model=False)["image"]
    assert (taken["inserted"], taken["skipped_count"], taken["skipped"][0]["errors"][0]["reason"]) == (
        2,
        1,
        fault["reason"],
    )
    other = tmp_path / "other" / str(marked.id) / "mask.png"
    other.parent.mkdir(parents=True)
    kept.rename(other)
    (later,) = run("json", folder, "--artifacts", other.parents[1], model=False)["image"]
    assert (later["inserted"], later["analysis_id"] == taken["analysis_id"]) == (3, False)


def test_each_file_that_is_not_there_is_named(
    one: Any, whole: Path, marked: Analysis, tmp_path: Path
) -> None:
    alone = tmp_path / "alone" / "analyses.json"
    alone.parent.mkdir()
    with zipfile.ZipFile(whole) as archive:
        alone.write_bytes(archive.read("analyses.json"))
    said = one(alone, "--called", marked.id, code=1)
    for name in FILES:
        assert f"names a file that is not there: artifacts/{marked.id}/{name}. Name the folder or zip" in said
    assert "refused: analyses.0.annotations.0" in one(alone, "--called", marked.id, "--skip-invalid")


def heat(path: str) -> dict[str, Any]:
    return {**KINDS["heat.png"], "storage_path": path}


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("ml_outputs/../secret.png", "names no file of an analysis"),
        (f"ml_outputs/{some_id()}/../secret.png", "Must be ml_outputs/{this analysis}/{file name}."),
        (f"ml_outputs/{some_id()}/..", "Must be ml_outputs/{this analysis}/{file name}."),
        ("../secret.png", "Must be ml_outputs/{this analysis}/{file name}."),
        (f"ml_outputs/{some_id()}/link.png", "names a file that is not there"),
        (f"ml_outputs/{some_id()}/circle.png", "names a file that is not there"),
    ],
)
def test_a_path_that_leaves_its_folder(
    path: str, reason: str, app: Flask, one: Any, world: World, write: Any, tmp_path: Path
) -> None:
    """Neither by its name nor by a link."""
    (tmp_path / "secret.png").write_bytes(FILES["heat.png"])
    folder = tmp_path / "in" / "artifacts" / str(some_id())
    folder.mkdir(parents=True)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder.parent / "secret.png").write_bytes(FILES["heat.png"])
    file = write("in/file.json", {"model_name": "m", "annotations": [heat(path)]})
    assert reason in one(file, code=1)
    assert world.count(Analysis) == 0 and files_of(app) == []


def test_an_artifact_is_no_file_to_import(
    app: Flask, run: Any, world: World, image: Any, pipeline: Pipeline, project: Any, tmp_path: Path
) -> None:
    """Whatever it holds: one of JSON that breaks off is not refused, in a zip or unpacked."""
    analysis = world.analysis(image, "processing")
    upload(app, pipeline, analysis, "metadata", b"{")
    finalize(pipeline, analysis)
    file = everything(app, project, tmp_path)
    for place in (file, unpacked(file, tmp_path / "all")):
        said = run("json", place, model=False)
        assert len(said["image"]) == 1 and "refused" not in said
        name = f"{place}/artifacts/{analysis.id}/metadata.json"
        assert name in [other["source"] for other in said["other"]]


def test_the_file_of_what_is_refused_stays_behind(
    app: Flask, one: Any, world: World, write: Any, tmp_path: Path
) -> None:
    there = tmp_path / "artifacts" / str(some_id()) / "heat.png"
    there.parent.mkdir(parents=True)
    there.write_bytes(FILES["heat.png"])
    faulty = {**heat(f"ml_outputs/{some_id()}/heat.png"), "confidence": 2}
    file = write("file.json", {"model_name": "m", "annotations": [faulty, box()]})
    assert "1 inserted" in one(file, "--skip-invalid")
    assert world.count(Artifact) == 0 and files_of(app) == []


def test_two_files_of_one_name(app: Flask, one: Any, world: World, write: Any, tmp_path: Path) -> None:
    """They would be one in the new analysis."""
    paths = [
        f"ml_outputs/{some_id()}/heat.png",
        f"ml_outputs/{some_id().hex[:8]}-0000-7000-8000-000000000001/heat.png",
    ]
    for path in paths:
        there = tmp_path / path.replace("ml_outputs", "artifacts")
        there.parent.mkdir(parents=True)
        there.write_bytes(FILES["heat.png"])
    file = write("file.json", {"model_name": "m", "annotations": [heat(path) for path in paths]})
    assert "names a second file that is called heat.png" in one(file, code=1)
    assert world.count(Analysis) == 0 and files_of(app) == []


def test_the_storage_is_asked_outside_of_transactions(
    app: Flask, run: Any, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, held = app.extensions["storage"], []
    put = files.put
    with app.app_context():
        pool: Any = db.engine.pool

    def watched(*told: Any) -> Any:
        held.append(pool.checkedout())
        return put(*told)

    monkeypatch.setattr(files, "put", watched)
    run("json", whole, model=False)
    assert held == [0, 0]


def test_what_fails_after_the_files_were_put_takes_them_away(
    app: Flask, run: Any, world: World, marked: Analysis, whole: Path
) -> None:
    before = files_of(app)
    app.config["ML_MAX_ANALYSES_PER_IMAGE"] = 1
    assert len(run("json", whole, code=1, model=False)["refused"]) == 1
    assert files_of(app) == before and world.count(Analysis) == 1


def test_a_file_that_is_too_large(
    app: Flask, one: Any, world: World, marked: Analysis, write: Any, tmp_path: Path
) -> None:
    """As large as a pipeline may send it, and no larger."""
    there = tmp_path / "artifacts" / str(some_id()) / "heat.png"
    there.parent.mkdir(parents=True)
    there.write_bytes(bytes(3000))
    file = write("file.json", {"model_name": "m", "annotations": [heat(f"ml_outputs/{some_id()}/heat.png")]})
    app.config["MAX_REQUEST_BYTES"] = 2000
    before = files_of(app)
    assert "The artifact heat.png: The file has more than 2000 bytes." in one(file, code=1)
    assert files_of(app) == before and world.count(Analysis) == 1


def test_what_the_option_goes_with(
    app: Flask, one: Any, analysis: Analysis, write: Any, tmp_path: Path
) -> None:
    file = write("file.json", {"annotations": []})
    assert "is for json and ndjson" in one(
        file, "--model", "m", "--artifacts", tmp_path, format="coco", code=2
    )
    told = [
        "annotations",
        "import",
        str(analysis.id),
        str(file),
        "--format",
        "json",
        "--artifacts",
        str(tmp_path),
    ]
    assert "is for --project or --image" in app.test_cli_runner().invoke(args=told).output
