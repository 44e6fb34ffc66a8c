"""What the tests of kept exports ask of one: its row, its files, and the background's next step with it."""

from collections.abc import Generator
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask

from app import background
from app.dialect import clock as shared_clock
from app.extensions import db
from app.models import Export
from tests.cast import Person
from tests.factories import World

EXPORTS, NEW, KEPT = "/admin/exports", "/admin/exports/new", "/admin/exports/kept"

on_both_storages = pytest.mark.parametrize(
    "app", ["local", pytest.param("s3", marks=pytest.mark.soak)], indirect=True
)


def get(world: World, export_id: UUID) -> Export:
    with world.app.app_context():
        row = db.session.get_one(Export, export_id)
        db.session.expunge(row)
        return row


def run(app: Flask, task: str = "exports", *, dry_run: bool = False) -> list[str]:
    """What the task says, as the loop runs it."""
    with app.app_context():
        return [said for said in background.steps(background.TASKS[task], dry_run=dry_run) if said]


def stepwise() -> Generator[str]:
    """The task that writes exports, as far as the test takes it; within an app context."""
    return background.steps(background.TASKS["exports"])


def file_of(export: Export) -> str:
    return f"{EXPORTS}/{export.id}/file"


def kept_files(app: Flask) -> list[str]:
    return [found.key for found in app.extensions["storage"].listed("exports/")]


def run_out(app: Flask, export: Export) -> None:
    """As if whoever writes it had not been heard of for the time of a lease."""
    date_back(app, export, "lease_expires_at")


def due_now(app: Flask, export: Export) -> None:
    """As if what put it off were long ago."""
    date_back(app, export, "due_at")


def date_back(app: Flask, export: Export, column: str) -> None:
    """To a second ago."""
    with app.app_context():
        setattr(db.session.get_one(Export, export.id), column, shared_clock() - timedelta(seconds=1))
        db.session.commit()


def press(admin: Person, export: Export, button: str) -> str:
    """The page after it."""
    address = f"{EXPORTS}/{export.id}/{button}"
    answer = admin.client.submit(EXPORTS, address)
    assert answer.status_code == 303
    return str(admin.client.get(EXPORTS).text)
