"""POST /admin/exports/{id}/cancel: before it is written, and meanwhile."""

from collections.abc import Callable

import pytest
from flask import Flask

from app import exporter
from app.models import Analysis, AuditEvent, Export
from tests.cast import Person
from tests.factories import World
from tests.support.kept_exports import get, kept_files, on_both_storages, press, run, stepwise


def test_what_waits_can_be_canceled(
    app: Flask, world: World, admin: Person, said: Analysis, ask: Callable[..., Export]
) -> None:
    export = ask()
    assert "has been canceled" in press(admin, export, "cancel")
    assert run(app) == [] and get(world, export.id).state == "canceled"
    assert world.count(AuditEvent, action="export.canceled") == 1


@on_both_storages
@pytest.mark.parametrize("at", ["between", "at the end"])
def test_what_is_written_can_be_canceled(
    app: Flask,
    world: World,
    admin: Person,
    large: Export,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    """Whoever writes it stops, and leaves no file."""
    monkeypatch.setattr(exporter, "BEAT_EVERY", 0 if at == "between" else 3600)
    with app.app_context():
        steps = stepwise()
        next(steps), next(steps)
    assert get(world, large.id).state == "running"
    press(admin, large, "cancel")  # with a context, and so a transaction, of its own
    with app.app_context():
        assert list(filter(None, steps)) == []
    kept = get(world, large.id)
    assert (kept.state, kept.storage_path) == ("canceled", None) and kept_files(app) == []
    assert world.count(AuditEvent, action="export.finished") == 0
