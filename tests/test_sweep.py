"""`flask sweep`: what goes for good, with its files, on local disk and in S3; and the dry run, which says just that."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app import background
from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, Annotation, Artifact, AuditEvent, Image, Project
from app.models.columns import now
from app.models.pipeline_keys import UsedNonce
from app.services import retention
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.fakes import BrokenStorage, FixedClock
from tests.steps import box, check_problem, finalize, store

RLE = {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]}


@pytest.fixture(params=["local", "s3"])
def app(request: pytest.FixtureRequest, make_app: Callable[..., Flask]) -> Flask:
    return make_app(**(request.getfixturevalue("s3").environ if request.param == "s3" else {}))


@pytest.fixture
def clock(app: Flask) -> FixedClock:
    """Stands still at this moment: files are dated by the machine."""
    app.extensions["clock"] = fixed = FixedClock(now())
    return fixed


@pytest.fixture
def sweep(app: Flask) -> Callable[..., list[str]]:
    """sweep("purge"): the lines of the command. Before it is run, the dry run says the same and does nothing."""

    def run(*arguments: str) -> list[str]:
        def told(*more: str) -> list[str]:
            result = app.test_cli_runner().invoke(args=["sweep", *more, *arguments])
            assert result.exit_code == 0, result.output
            return list(result.output.splitlines())

        before = state(app)
        would = told("--dry-run")
        assert state(app) == before, "a dry run changed something"
        did = told()
        assert did == would
        assert told() == [], "there was something left"
        return did

    return run


def state(app: Flask) -> tuple[Any, ...]:
    """All rows and files there are."""
    with app.app_context():
        rows = {
            name: sorted(map(repr, db.session.execute(db.select(table)).all()))
            for name, table in db.metadata.tables.items()
        }
    return rows, files(app)


def files(app: Flask) -> list[str]:
    found = app.extensions["storage"]
    return [one.key for place in ("images/", "ml_outputs/", "renders/") for one in found.listed(place)]


def put(app: Flask, key: str) -> None:
    app.extensions["storage"].put(key, picture(), "image/png")


def full(app: Flask, pipeline: Pipeline, person: Person, analysis: Analysis) -> None:
    """With annotations, an artifact, and the pictures that pages make of them."""
    wanted = {"artifact_type": "heatmap"}
    path = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted).json["storage_path"]
    put(app, path)
    heatmap = {"annotation_type": "heatmap", "data": {"width": 64, "height": 48}, "storage_path": path}
    said = store(pipeline, analysis, [heatmap, {"annotation_type": "segmentation", "data": RLE}, box()])
    finalize(pipeline, analysis)
    for address in (
        f"/images/{analysis.image_id}/preview",
        f"/annotations/{said[0]}/layer.png",
        f"/analyses/{analysis.id}/masks.png",
    ):
        assert person.client.get(address).status_code in (200, 302)


# --- what was deleted ---


def test_an_analysis_goes_with_its_files_when_it_was_kept_long_enough(
    app: Flask,
    world: World,
    image: Image,
    analysis: Analysis,
    pipeline: Pipeline,
    editor: Person,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
) -> None:
    full(app, pipeline, editor, analysis)
    retry = world.analysis(image, "queued", retry_of_id=analysis.id, attempt=2)
    assert len([key for key in files(app) if str(analysis.id) in key]) >= 3
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    clock.advance(days=30, seconds=-1)
    assert sweep("purge") == []
    clock.advance(seconds=1)
    check_problem(editor.api("POST", f"/api/analyses/{analysis.id}/restore"), 410, "deleted")
    clock.advance(seconds=59)
    assert sweep("purge") == [], "by the clock of another machine it could be restored just now"
    clock.advance(seconds=1)
    assert sweep("purge") == [f"purge: analysis {analysis.id}, leaf-net 1.0.0"]
    assert world.reload(analysis) is None and world.count(Annotation) == world.count(Artifact) == 0
    assert [key for key in files(app) if str(analysis.id) in key] == []
    assert world.reload(image) is not None and f"images/{image.id}" in files(app)
    assert world.reload(retry).retry_of_id is None
    event = world.rows(AuditEvent, action="analysis.purged")[0]
    assert (event.actor_kind, event.subject_id, event.project_id) == (
        "system",
        str(analysis.id),
        image.project_id,
    )
    assert event.before["name"] == "leaf-net 1.0.0"
    check_problem(editor.api("GET", f"/api/analyses/{analysis.id}"), 404, "not-found")


def test_an_image_goes_with_its_analyses_and_all_their_files(
    app: Flask,
    world: World,
    project: Project,
    image: Image,
    analysis: Analysis,
    pipeline: Pipeline,
    editor: Person,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
) -> None:
    other = world.image(project, "other.png")
    full(app, pipeline, editor, analysis)
    full(app, pipeline, editor, kept := world.analysis(other, "processing"))
    editor.api("DELETE", f"/api/images/{image.id}")
    clock.advance(days=31)
    assert sweep() == [
        f"purge: analysis {analysis.id}, leaf-net 1.0.0",
        f"purge: image {image.id}, leaf.png",
    ]
    assert [key for key in files(app) if str(image.id) in key or str(analysis.id) in key] == []
    assert world.reload(image) is None and world.reload(analysis) is None
    assert world.count(Annotation, analysis_id=kept.id) == 3
    assert len([key for key in files(app) if str(kept.id) in key]) >= 3
    assert [event.action for event in world.rows(AuditEvent, subject_id=str(image.id))][-1] == "image.purged"


def test_many_annotations_go_piece_by_piece(
    app: Flask,
    world: World,
    analysis: Analysis,
    pipeline: Pipeline,
    editor: Person,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
    count_queries: Any,
) -> None:
    monkeypatch.setattr(retention, "ROWS", 4)
    store(pipeline, analysis, [box() for _ in range(10)])
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    clock.advance(days=31)
    assert len(sweep("purge")) == 1
    assert world.count(Annotation) == 0


def test_while_the_storage_is_away_the_rows_wait(
    app: Flask, world: World, analysis: Analysis, editor: Person, clock: FixedClock
) -> None:
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    clock.advance(days=31)
    app.extensions["storage"] = BrokenStorage(StorageUnavailable())
    result = app.test_cli_runner().invoke(args=["sweep", "purge"])
    assert result.exit_code == 1 and world.reload(analysis) is not None


def test_kept_for_ever(
    app: Flask,
    world: World,
    analysis: Analysis,
    editor: Person,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
) -> None:
    app.config["ML_RETENTION_DAYS"] = 0
    editor.api("DELETE", f"/api/analyses/{analysis.id}")
    clock.advance(days=9999)
    assert sweep("purge") == []
    assert editor.api("POST", f"/api/analyses/{analysis.id}/restore").status_code == 200


def test_files_that_stayed_behind_are_found_later(
    app: Flask,
    world: World,
    project: Project,
    image: Image,
    analysis: Analysis,
    pipeline: Pipeline,
    editor: Person,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As when the process dies after the commit, or the storage is away."""
    full(app, pipeline, editor, analysis)
    editor.api("DELETE", f"/api/images/{image.id}")
    clock.advance(days=31)

    def away(_: Any) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(app.extensions["storage"], "delete", away)
        for _ in range(2):  # one for the analysis, one for the image: each stops where the storage is asked
            result = app.test_cli_runner().invoke(args=["sweep", "purge"])
            assert result.exit_code == 1 and "Not done: purge" in result.output
    assert world.reload(image) is None and world.reload(analysis) is None
    assert files(app) != []
    other = world.image(project, "other.png")
    lines = sweep()
    assert len(lines) == 4 and all(line.startswith("lost-files: ") for line in lines)
    assert files(app) == [f"images/{other.id}"]


# --- what nobody will ask for ---


def announce(pipeline: Pipeline, analysis: Analysis, name: str) -> str:
    wanted = {"artifact_type": "metadata", "filename": name}
    path: str = pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", wanted).json["storage_path"]
    return path


def test_uploads_that_were_abandoned(
    app: Flask,
    world: World,
    image: Image,
    analysis: Analysis,
    pipeline: Pipeline,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows of what never came go; what came stays, also after the end, and is written down as finalize does it."""
    monkeypatch.setattr(retention, "PAGE", 2)
    running = world.analysis(image, "processing")
    recorded, late, never, nor_this = (announce(pipeline, analysis, name) for name in "abcd")
    waited_for = announce(pipeline, running, "e")
    put(app, recorded)
    finalize(pipeline, analysis)
    put(app, late)
    clock.advance(hours=23)
    assert sweep("abandoned-uploads") == []
    clock.advance(hours=2)
    said = sweep("abandoned-uploads")
    assert said[-1] == "abandoned-uploads: 1 upload found and written down"
    assert sorted(said[:-1]) == [f"abandoned-uploads: upload {path}" for path in (never, nor_this)]
    rows = {row.storage_path: row for row in world.rows(Artifact)}
    assert rows.keys() == {recorded, late, waited_for}
    one, other = rows[recorded], rows[late]
    assert (other.size_bytes, other.sha256, other.etag) == (one.size_bytes, one.sha256, one.etag)
    assert other.etag and other.uploaded_at
    assert {key for key in files(app) if key.startswith("ml_outputs/")} == {recorded, late}
    assert world.count(AuditEvent, action="artifact.swept") == 2


@pytest.mark.parametrize("end", ["lease", "stale", "page"])
def test_what_a_worker_left_behind_stays(
    app: Flask,
    world: World,
    image: Image,
    pipeline: Pipeline,
    owner: Person,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
    end: str,
) -> None:
    """Where an analysis ends while the storage is away, so that nothing is known of what was uploaded."""
    analysis = world.analysis(image, "processing")
    log = announce(pipeline, analysis, "log.txt")
    put(app, log)
    mask = announce(pipeline, analysis, "mask.png")
    put(app, mask)
    store(pipeline, analysis, [{"annotation_type": "custom", "data": {"a": 1}, "storage_path": mask}])
    app.config["ML_PIPELINE_PULL_ENABLED"] = True
    if end == "page":
        answer = owner.client.submit(f"/images/{image.id}", f"/analyses/{analysis.id}/cancel")
        assert answer.status_code == 303
    else:
        with app.app_context():
            row = db.session.get_one(Analysis, analysis.id)
            row.updated_at = now() - timedelta(days=2)
            row.lease_expires_at = now() if end == "lease" else None
            db.session.commit()
        assert len(sweep("overdue")) == 1
    with app.app_context():
        unknown = dict.fromkeys(("etag", "sha256", "size_bytes", "uploaded_at"))
        db.session.execute(db.update(Artifact).values(**unknown))
        db.session.commit()
    clock.advance(hours=25)
    assert sweep("abandoned-uploads") == ["abandoned-uploads: 2 uploads found and written down"]
    assert {log, mask} <= set(files(app))
    assert all(row.etag and row.size_bytes and row.uploaded_at for row in world.rows(Artifact))


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_many_uploads_are_read_once(
    app: Flask, world: World, image: Image, clock: FixedClock, count_queries: Any
) -> None:
    """Page by page, with no look at the annotations; those of analyses that go on are passed over."""
    ended = world.analysis(image, "canceled", completed_at=clock())
    running = world.analysis(image, "processing")
    with app.app_context():
        for number in range(1000):
            of = (ended, running)[number % 2].id
            path = f"ml_outputs/{of}/m{number}.png"
            kind = {"artifact_type": "mask", "content_type": "image/png"}
            db.session.add(Artifact(analysis_id=of, storage_path=path, **kind))
        db.session.commit()
    clock.advance(hours=25)
    with count_queries() as statements:
        result = app.test_cli_runner().invoke(args=["sweep", "--dry-run", "abandoned-uploads"])
    assert len(result.output.splitlines()) == 500
    read = [statement for statement in statements if statement.startswith("SELECT")]
    assert len(read) == 1000 / retention.PAGE + 1
    assert not any("ml_annotations" in statement for statement in read)


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_while_the_storage_is_away_uploads_are_not_missed(
    app: Flask, world: World, analysis: Analysis, pipeline: Pipeline, clock: FixedClock
) -> None:
    announce(pipeline, analysis, "a")
    finalize(pipeline, analysis)
    clock.advance(hours=25)
    app.extensions["storage"] = BrokenStorage(StorageUnavailable())
    result = app.test_cli_runner().invoke(args=["sweep", "abandoned-uploads"])
    assert result.exit_code == 1 and world.count(Artifact) == 1


def test_an_upload_has_as_long_as_its_address(
    app: Flask,
    analysis: Analysis,
    pipeline: Pipeline,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
) -> None:
    app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"] = 7 * 24 * 3600
    pipeline.post(f"/api/analyses/{analysis.id}/artifacts/presign", {"artifact_type": "log"})
    finalize(pipeline, analysis)
    clock.advance(days=6)
    assert sweep("abandoned-uploads") == []
    clock.advance(days=2)
    assert len(sweep("abandoned-uploads")) == 1


@pytest.mark.parametrize("days", [0, 1, 90])
def test_files_of_nothing(
    app: Flask,
    image: Image,
    analysis: Analysis,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
    days: int,
) -> None:
    """An upload whose row never came, and renders and outputs of rows that are gone, kept as long as what was deleted;
    what is not ours stays.
    """
    lost = [
        f"images/{some_id()}",
        f"ml_outputs/{some_id()}/heatmap.png",
        f"renders/analyses/{some_id()}/masks-1-distinct.png",
        f"renders/images/{some_id()}/0123456789abcdef/0/1-2",
        f"renders/images/{some_id()}/0123456789abcdef/base",
    ]
    kept = ["images/readme.txt", f"ml_outputs/{analysis.id}/unknown.png", f"renders/images/{image.id}/x.webp"]
    for key in lost + kept:
        put(app, key)
    app.config["ML_RETENTION_DAYS"] = days
    clock.advance(days=days or 30, hours=-1)
    assert sweep("lost-files") == []
    clock.advance(hours=2)
    assert sweep("lost-files") == [
        f"lost-files: 1 file of images/{some_id()}",
        f"lost-files: 2 files of renders/images/{some_id()}",
        f"lost-files: 1 file of ml_outputs/{some_id()}",
        f"lost-files: 1 file of renders/analyses/{some_id()}",
    ]
    assert set(files(app)) == {*kept, f"images/{image.id}"}


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_the_files_of_another_database_stay(
    app: Flask, image: Image, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FEW", 2)
    for n in range(3):
        put(app, f"images/{UUID(int=n)}")
    put(app, f"ml_outputs/{some_id()}/heatmap.png")
    clock.advance(days=31)
    before = files(app)
    for more in ([], ["--dry-run"]):
        result = app.test_cli_runner().invoke(args=["sweep", "lost-files", *more])
        assert result.exit_code == 1 and "Not done: lost-files." in result.output
    assert files(app) == before


@pytest.mark.parametrize("app", ["local"], indirect=True)
@pytest.mark.parametrize("place", ["images/{}", "renders/images/{}/x", "ml_outputs/{}/x.png"])
def test_the_files_of_an_empty_database_stay(app: Flask, world: World, clock: FixedClock, place: str) -> None:
    key = place.format(some_id())
    put(app, key)
    clock.advance(days=999)
    for more in ([], ["--dry-run"]):
        result = app.test_cli_runner().invoke(args=["sweep", "lost-files", *more])
        assert result.exit_code == 1 and "Not done: lost-files." in result.output
    assert files(app) == [key]


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_nothing_is_lost_before_the_first_image(app: Flask, sweep: Callable[..., list[str]]) -> None:
    assert sweep("lost-files") == []


def test_pictures_of_annotations_that_are_gone(
    app: Flask,
    world: World,
    analysis: Analysis,
    pipeline: Pipeline,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
) -> None:
    held = store(pipeline, analysis, [box()])[0]
    revision = world.reload(analysis).revision
    here = f"renders/analyses/{analysis.id}"
    gone = [f"{some_id()}-{'a1' * 16}.png", f"{some_id()}.txt", f"snapshot-{revision - 1}-0123abcd.npz"]
    kept = [f"{held}-{'a1' * 16}.png", f"{held}.txt", "masks-1-distinct.png", "masks.txt"]
    kept += [f"snapshot-{revision}-0123abcd.npz"]
    for name in gone + kept:
        put(app, f"{here}/{name}")
    clock.advance(days=2)
    assert sweep("lost-files") == [f"lost-files: 3 files of {here}"]
    assert {key for key in files(app) if key.startswith(here)} == {f"{here}/{name}" for name in kept}


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_half_written_files(instance: Path, app: Flask, sweep: Callable[..., list[str]]) -> None:
    incoming = instance / "storage" / ".incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    for name, hours in (("old", 25), ("new", 23)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - hours * 3600,) * 2)
    assert sweep("lost-files") == ["lost-files: 1 half-written file"]
    assert [file.name for file in incoming.iterdir()] == ["new"]


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_used_nonces(
    app: Flask,
    world: World,
    clock: FixedClock,
    sweep: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(retention, "ROWS", 2)
    with app.app_context():
        for n in range(7):
            until = clock() + timedelta(minutes=1 if n == 3 else -1)
            db.session.add(UsedNonce(scope=f"key{n % 2}", value=f"{n}", expires_at=until))
        db.session.commit()
    assert sweep("used-nonces") == ["used-nonces: 6 used nonces"]
    with app.app_context():
        assert db.session.scalars(db.select(UsedNonce.value)).all() == ["3"]


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_what_time_ends(
    app: Flask, world: World, image: Image, sweep: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of it, each once; what is not due stays as it is."""
    monkeypatch.setitem(app.config, "ML_LEASE_RETRY_ATTEMPTS", 1)
    monkeypatch.setitem(app.config, "ML_PIPELINE_PULL_ENABLED", True)
    moment = now()
    lost = world.analysis(image, "processing", lease_epoch=1, lease_expires_at=moment - timedelta(seconds=1))
    held = world.analysis(image, "processing", lease_epoch=1, lease_expires_at=moment + timedelta(hours=1))
    waiting = world.analysis(image, created_at=moment - timedelta(days=8))
    silent = world.analysis(image, "processing", updated_at=moment - timedelta(days=2))
    with monkeypatch.context() as patched:
        patched.setitem(app.config, "ML_ANALYSIS_ENABLED", False)
        assert sweep("overdue") == [], "nobody can be heard of"
    assert sweep("overdue") == [
        f"overdue: analysis {lost.id}, expired lease: failed",
        f"overdue: analysis {waiting.id}, stale queued: canceled",
        f"overdue: analysis {silent.id}, stale processing: failed",
    ]
    states = [world.reload(one).status for one in (lost, held, waiting, silent)]
    assert states == ["failed", "processing", "canceled", "failed"]
    (again,) = world.rows(Analysis, retry_of_id=lost.id)
    assert (again.status, again.attempt) == ("queued", 2)


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_a_task_that_fails_leaves_the_others_alone(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: bool) -> Any:
        raise StorageUnavailable
        yield

    tasks = {
        "first": background.Task(1, failing),
        "second": background.Task(1, lambda _: (said for said in ["done"])),
    }
    monkeypatch.setattr("app.background.TASKS", tasks)
    result = app.test_cli_runner().invoke(args=["sweep"])
    assert result.exit_code == 1
    assert "second: done" in result.output and "Not done: first." in result.output


@pytest.mark.parametrize("app", ["local"], indirect=True)
def test_no_such_task(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["sweep", "everything"])
    assert result.exit_code == 2 and "lost-files" in result.output
