"""app/exporter.py, which writes what was asked for: others write too, it is stopped, storages are away or full."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app import background, exporter
from app.bundles import writing
from app.bundles.writing import least_manifest
from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, Annotation, AuditEvent, Export, ExportState, Image, Project
from app.models.columns import now
from app.services import kept_exports
from tests.cast import Person
from tests.factories import World
from tests.fakes import BrokenStorage, fill_temporary_folder
from tests.support.crowds import crowd
from tests.support.kept_exports import (
    EXPORTS,
    due_now,
    file_of,
    get,
    kept_files,
    on_both_storages,
    run,
    run_out,
    stepwise,
)

AWAY = StorageUnavailable("The disk of the server cannot be used.")


def test_of_two_processes_one_writes_it(
    app: Flask, world: World, said: Analysis, ask: Callable[..., Export], at_once: Callable[..., list[Any]]
) -> None:
    asked = [ask() for _ in range(3)]
    told = at_once([lambda: run(app)] * 2)
    assert sorted(told[0] + told[1]) == sorted(f"export {export.id}: written" for export in asked)
    assert {get(world, export.id).attempt for export in asked} == {1}
    assert len(kept_files(app)) == world.count(AuditEvent, action="export.finished") == 3


@on_both_storages
def test_a_process_that_was_abandoned_is_followed_by_another(
    app: Flask,
    world: World,
    admin: Person,
    large: Export,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes back when the other has finished, and changes nothing any more."""
    monkeypatch.setattr(exporter, "BEAT_EVERY", 0)
    with app.app_context():
        steps = stepwise()
        next(steps), next(steps)
        assert run(app) == [], "its lease lasts"
        run_out(app, large)
        assert run(app) == [f"export {large.id}: written"]
        done = get(world, large.id)
        assert list(filter(None, steps)) == []
    kept = get(world, large.id)
    assert (kept.state, kept.attempt, kept.storage_path) == ("done", 2, f"exports/{large.id}/2")
    assert (kept.finished_at, kept.sha256) == (done.finished_at, done.sha256)
    assert kept_files(app) == [kept.storage_path]
    whole = admin.client.get(file_of(large)).data
    assert hashlib.sha256(whole).hexdigest() == kept.sha256
    assert world.count(AuditEvent, action="export.finished") == 1


def test_what_ends_its_processes_is_given_up(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    for _ in range(kept_exports.MOST_ATTEMPTS):
        with app.app_context():
            assert kept_exports.claim(now()) is not None
            db.session.commit()
        run_out(app, export)
    assert run(app) == [f"export {export.id}: given up"]
    kept = get(world, export.id)
    assert (kept.state, kept.error) == ("failed", kept_exports.ABANDONED)
    assert kept_exports.ABANDONED in admin.client.get(EXPORTS).text
    assert kept_files(app) == [] and run(app) == []


@on_both_storages
@pytest.mark.parametrize("taken", [1, 3])
def test_whoever_is_told_to_stop_hands_it_back(
    app: Flask, world: World, admin: Person, large: Export, taken: int
) -> None:
    """However often, and whether it has just begun or is in the midst of it: it is no attempt."""
    for _ in range(kept_exports.MOST_ATTEMPTS + 1):
        with app.app_context():
            steps = stepwise()
            assert [next(steps) for _ in range(taken)] == [""] * taken
            assert get(world, large.id).state == "running"
            steps.close()
        kept = get(world, large.id)
        assert (kept.state, kept.attempt, kept.error, kept.lease_expires_at) == ("queued", 0, None, None)
    assert run(app) == [f"export {large.id}: written"], "at once"
    assert get(world, large.id).attempt == 1 and kept_files(app) == [f"exports/{large.id}/1"]
    assert admin.client.get(file_of(large)).json["annotation_count"] == 1200
    assert app.extensions["storage"].clear_partial(now() + timedelta(days=1)) == 0


def test_a_loop_that_is_stopped_leaves_it_to_the_next(app: Flask, world: World, large: Export) -> None:
    files = app.extensions["storage"]
    begun, stopped = threading.Event(), threading.Event()

    class Slow:
        """Takes its time with the first block, until the loop has been told to end."""

        def writer(self, *args: Any) -> Any:
            writer = files.writer(*args)
            write = writer.write

            def wait(chunk: bytes) -> None:
                begun.set()
                assert stopped.wait(60)
                write(chunk)

            writer.write = wait
            return writer

    app.extensions["storage"] = Slow()
    loop = background.Loop(app, {"exports": background.TASKS["exports"]})
    loop.start()
    assert begun.wait(60)
    loop._ending.set()
    stopped.set()
    loop.stop()
    kept = get(world, large.id)
    assert (kept.state, kept.attempt) == ("queued", 0)
    app.extensions["storage"] = files
    assert run(app) == [f"export {large.id}: written"]


def test_whoever_is_told_to_stop_too_late_hands_back_nothing(app: Flask, world: World, large: Export) -> None:
    """It was thought dead, and another writes it."""
    with app.app_context():
        late = stepwise()
        next(late), next(late)
        run_out(app, large)
        with app.app_context():
            other = kept_exports.claim(now())
            db.session.commit()
        late.close()
    kept = get(world, large.id)
    assert other is not None and other.attempt == 2
    assert (kept.state, kept.attempt) == ("running", 2)


def test_a_storage_that_is_away_is_tried_again_and_then_it_has_failed(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export, storage = ask(), app.extensions["storage"]
    app.extensions["storage"] = BrokenStorage(AWAY)
    for attempt in range(1, kept_exports.MOST_ATTEMPTS):
        with app.app_context():  # told to stop meanwhile, which does not count
            steps = stepwise()
            next(steps), steps.close()
        assert run(app) == [f"export {export.id}: put off"]
        assert run(app) == [], "not at once"
        kept = get(world, export.id)
        assert (kept.state, kept.attempt) == ("queued", attempt)
        assert "is tried again: The disk" in admin.client.get(EXPORTS).text
        due_now(app, export)
    assert run(app) == [f"export {export.id}: failed"]
    app.extensions["storage"] = storage
    due_now(app, export)
    assert run(app) == []
    text = admin.client.get(EXPORTS).text
    assert "cannot be used." in text and "tried again" not in text
    [event] = world.rows(AuditEvent, action="export.failed")
    assert event.after == {"error": AWAY.detail, "attempts": 5}


def test_a_storage_that_comes_back_gets_the_file(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export, storage = ask(), app.extensions["storage"]
    app.extensions["storage"] = BrokenStorage(AWAY)
    assert run(app) == [f"export {export.id}: put off"]
    app.extensions["storage"] = storage
    due_now(app, export)
    assert run(app) == [f"export {export.id}: written"]
    kept = get(world, export.id)
    assert (kept.state, kept.error, kept.attempt) == ("done", None, 2)
    assert admin.client.get(file_of(export)).json["annotation_count"] == 3


@pytest.mark.parametrize("form", ["coco", "yolo", "everything"])
def test_no_room_for_what_waits_is_said_and_tried_again(
    app: Flask,
    world: World,
    admin: Person,
    project: Project,
    said: Analysis,
    ask: Callable[..., Export],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    export = ask(format=form, project=str(project.id))
    with monkeypatch.context() as full:
        fill_temporary_folder(full)
        assert run(app) == [f"export {export.id}: put off"]
    kept = get(world, export.id)
    assert (kept.state, kept.attempt) == ("queued", 1) and kept_files(app) == []
    assert "is tried again: The temporary folder" in admin.client.get(EXPORTS).text
    due_now(app, export)
    assert run(app) == [f"export {export.id}: written"]


def test_what_cannot_be_written_fails_at_once_and_the_next_is_written(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export], caplog: Any
) -> None:
    broken, whole = ask(), ask()
    with app.app_context():
        db.session.get_one(Export, broken.id).format = "of a later version"
        db.session.commit()
    assert run(app) == [f"export {broken.id}: failed", f"export {whole.id}: written"]
    assert "KeyError" in str(get(world, broken.id).error)
    assert any(record.exc_info for record in caplog.records if str(broken.id) in record.getMessage())


def test_a_bundle_that_is_too_long_fails_at_once(
    app: Flask,
    world: World,
    admin: Person,
    said: Analysis,
    image: Image,
    ask: Callable[..., Export],
    count_queries: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where that is known beforehand, by what was there when it was asked for, no annotation is read."""
    for less in (1, 0):
        export = ask(format="bundle")
        world.analysis(image, "completed")
        least = least_manifest(3 * (len(world.rows(Analysis)) - 1), 0)
        monkeypatch.setattr(writing, "MOST_MANIFEST", least - less)
        with count_queries() as statements:
            assert run(app) == [f"export {export.id}: failed"]
        assert any("FROM ml_annotations" in one for one in statements) == (less == 0)
        kept = get(world, export.id)
        assert (kept.state, kept.attempt) == ("failed", 1) and kept_files(app) == []
        assert "too long" in str(kept.error)


def test_other_tasks_go_between_the_blocks(app: Flask, world: World, large: Export) -> None:
    ran: list[str] = []

    def often(_: bool) -> Iterator[str | None]:
        ran.append("often")
        yield None

    tasks = {"exports": background.TASKS["exports"], "often": background.Task(0, often)}
    background.Loop(app, tasks).look()
    assert len(ran) > 4 and [row.state for row in world.rows(Export)] == [ExportState.DONE]


def test_nothing_is_held_in_the_database_while_it_is_written(
    app: Flask, database: Any, world: World, large: Export, project: Project
) -> None:
    with app.app_context():
        pool: Any = db.engine.pool
        steps = stepwise()
        for n, _ in enumerate(steps):
            assert pool.checkedout() == 0
            with database.engine.begin() as connection:
                change = db.update(Project).where(Project.id == project.id)
                assert connection.execute(change.values(description=f"{n}")).rowcount == 1
    assert world.reload(project).description == f"{n}"


def test_annotations_that_are_gone_make_no_whole_file(
    app: Flask, world: World, image: Image, ask: Callable[..., Export]
) -> None:
    """They may have been purged meanwhile: the next attempt leaves out what is deleted by then."""
    analysis, export = crowd(world, image, 3), ask()
    with app.app_context():
        db.session.execute(db.delete(Annotation).where(Annotation.analysis_id == analysis.id))
        db.session.commit()
    assert run(app) == [f"export {export.id}: put off"]
    found = get(world, export.id)
    assert found.error is not None and "have been deleted" in found.error
    assert kept_files(app) == []
