"""POST /admin/exports/{id}/delete, and what the background deletes: the file goes with the row."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from flask import Flask

from app.models import Analysis, AuditEvent, Export
from tests.cast import Person
from tests.factories import World, some_id
from tests.fakes import FixedClock
from tests.support.kept_exports import EXPORTS, file_of, get, kept_files, on_both_storages, press, run


@on_both_storages
def test_deleting_takes_the_file_along(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export], token: Any
) -> None:
    export = ask()
    data = {"csrf_token": token(admin)}
    admin.client.post(f"{EXPORTS}/{export.id}/delete", data=data)
    assert world.count(Export) == 1, "it is not written yet"
    run(app)
    assert kept_files(app)
    assert "has been deleted" in press(admin, export, "delete")
    assert world.count(Export) == 0 and kept_files(app) == []
    [event] = world.rows(AuditEvent, action="export.deleted")
    assert event.before["filename"] == export.filename


@on_both_storages
def test_it_goes_when_its_time_is_over(
    app: Flask, world: World, admin: Person, said: Analysis, clock: FixedClock, ask: Callable[..., Export]
) -> None:
    export = ask()
    run(app)
    assert get(world, export.id).expires_at == clock() + timedelta(days=7)
    clock.advance(days=7, seconds=-1)
    assert run(app, "kept-exports") == [] and kept_files(app)
    clock.advance(seconds=1)
    would = run(app, "kept-exports", dry_run=True)
    assert kept_files(app) and world.count(Export) == 1
    assert run(app, "kept-exports") == would == [f"export {export.id}, {export.filename}"]
    assert world.count(Export) == 0 and kept_files(app) == []
    assert admin.client.get(file_of(export)).status_code == 404
    assert world.count(AuditEvent, action="export.purged") == 1


@on_both_storages
def test_files_of_no_export_are_lost_files(
    app: Flask, world: World, said: Analysis, clock: FixedClock, ask: Callable[..., Export]
) -> None:
    export = ask()
    run(app)
    lost = f"exports/{some_id()}/1"
    app.extensions["storage"].put(lost, b"x", "text/csv")
    clock.advance(days=40)
    assert run(app, "lost-files") == [f"1 file of {lost[:-2]}"]
    assert kept_files(app) == [f"exports/{export.id}/1"]
