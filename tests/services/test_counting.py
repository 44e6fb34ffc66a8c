"""Kept numbers: found along the ids of projects, counted without keeping anybody from writing, also by two at once."""

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app import background
from app.extensions import db
from app.models import Project, ProjectCount
from app.models.columns import now
from app.services import counting
from app.services.counting import Count
from tests.factories import World
from tests.fakes import FixedClock

PROJECTS, LARGE = 7, (0, 3, 6)


@pytest.fixture
def several(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Project]:
    """Three of them count as large, and two are looked at in a step."""
    monkeypatch.setattr(counting, "COUNTED", 1)
    monkeypatch.setattr(counting, "PROJECTS", 2)
    made = [world.project(f"{n}") for n in range(PROJECTS)]
    for n, project in enumerate(made):
        for _ in range(2 if n in LARGE else 1):
            world.image(project)
    return made


def find_large(app: Flask, *, dry_run: bool = False) -> int:
    """How many steps it took."""
    with app.app_context():
        return len(list(background.steps(background.TASKS["large-projects"], dry_run=dry_run)))


def kept(world: World) -> dict[Any, int]:
    return {row.project_id: row.images for row in world.rows(ProjectCount)}


def test_large_projects_are_found_a_few_in_each_step(
    app: Flask, world: World, several: list[Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = -(-PROJECTS // 2) + len(LARGE)
    assert find_large(app, dry_run=True) == steps and kept(world) == {}
    assert find_large(app) == steps
    assert kept(world) == {several[n].id: 2 for n in LARGE}
    world.image(several[1])
    assert find_large(app) == steps - len(LARGE) + 1
    assert kept(world) == {several[n].id: 2 for n in (*LARGE, 1)}
    monkeypatch.setattr(counting, "COUNTED", 2)
    assert find_large(app, dry_run=True) == 4 and len(kept(world)) == 4
    find_large(app)
    assert kept(world) == {}


def test_looking_and_counting_keep_nobody_from_writing(app: Flask, several: list[Project]) -> None:
    """SQLite has one writer: what only reads does not begin as if it were that."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
        find_large(app, dry_run=True)
        if db.engine.dialect.name == "sqlite":
            assert "BEGIN" in asked and "BEGIN IMMEDIATE" not in asked
        asked.clear()
        find_large(app)
        event.remove(db.engine, "before_cursor_execute", note)
        if db.engine.dialect.name == "sqlite":
            at = [n for n, statement in enumerate(asked) if statement == "BEGIN IMMEDIATE"]
            assert len(at) == len(LARGE)
            assert all(asked[n + 1].startswith("INSERT INTO project_counts") for n in at)


@pytest.mark.parametrize("was_there", [False, True])
def test_two_count_the_same_at_once(
    app: Flask, world: World, several: list[Project], clock: FixedClock, was_there: bool
) -> None:
    """The loop of a process, and `flask sweep` beside it: the second waits for the first, and what is newer stays."""
    project_id = several[0].id
    if was_there:
        find_large(app)
    failed: list[Exception] = []
    first, second = clock() + timedelta(seconds=2), clock() + timedelta(seconds=1)

    def beside() -> None:
        try:
            with app.app_context():
                counting._keep(project_id, second)
                db.session.commit()
        except Exception as error:  # whatever it is
            failed.append(error)

    with app.app_context():
        counting._keep(project_id, first)
        other = Thread(target=beside)
        other.start()
        other.join(0.5)
        assert other.is_alive(), "it did not wait"
        db.session.commit()
        other.join(20)
    assert failed == [] and not other.is_alive()
    (row,) = world.rows(ProjectCount, project_id=project_id)
    assert row.images == 2 and row.counted_at == first


def test_a_number_that_was_counted_a_while_ago_is_about(world: World, several: list[Project]) -> None:
    with world.app.app_context():
        counting._keep(several[0].id, moment := now())
        db.session.commit()
        ids = [several[0].id, several[1].id]
        for age, about in ((timedelta(minutes=5), False), (timedelta(minutes=5, seconds=1), True)):
            large, small = counting.totals_of(ids, moment + age).values()
            assert large.images == Count(2, about=about) and large.counted_at == moment
            assert small.images == Count(1) and small.counted_at is None
            assert counting.added([large.images, small.images]) == Count(3, about=about)
            assert counting.added([large.images, Count(1, more=True)]) == Count(3, more=True, about=about)
