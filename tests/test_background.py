"""The background loop: what a step is, whose turn it is, and that nothing ends it but being told to."""

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from app import background
from app.background import TASKS, TURN, TURN_SECONDS, Loop, Task
from app.dialect import clock as shared_clock
from app.extensions import db
from app.models import Project
from app.models.turns import Turn
from app.services import turns
from tests.factories import World


def turn_of(app: Flask) -> Turn:
    with app.app_context():
        row = db.session.get_one(Turn, TURN)
        db.session.expunge(row)
        return row


def take(app: Flask, holder: str) -> bool:
    with app.app_context():
        taken = turns.take(TURN, holder, TURN_SECONDS)
        db.session.commit()
        return taken


def run_out(app: Flask) -> None:
    """As if the holder had not been heard of for its whole time."""
    with app.app_context():
        db.session.get_one(Turn, TURN).expires_at = shared_clock() - timedelta(seconds=1)
        db.session.commit()


# --- whose turn it is ---


def test_one_has_the_turn_until_it_was_not_heard_of(app: Flask, world: World) -> None:
    assert take(app, "one") and not take(app, "two")
    assert take(app, "one"), "it is still there"
    left = turn_of(app).expires_at - shared_clock_of(app)
    assert timedelta(seconds=TURN_SECONDS - 5) < left <= timedelta(seconds=TURN_SECONDS)
    run_out(app)
    assert take(app, "two") and not take(app, "one")
    assert turn_of(app).holder == "two"


def shared_clock_of(app: Flask) -> Any:
    with app.app_context():
        return shared_clock()


def test_giving_back_is_for_the_holder(app: Flask) -> None:
    assert take(app, "one")
    with app.app_context():
        assert not turns.give_back(TURN, "two")
        assert turns.give_back(TURN, "one")
        db.session.commit()
    assert take(app, "two")


def test_of_many_who_ask_at_once_one_gets_it(app: Flask, at_once: Callable[..., list[Any]]) -> None:
    """Also where nobody ever asked before."""
    names = [f"holder {n}" for n in range(8)]
    taken = at_once([lambda name=name: take(app, name) for name in names])
    assert taken.count(True) == 1
    assert turn_of(app).holder == names[taken.index(True)]
    run_out(app)
    assert at_once([lambda name=name: take(app, f"next {name}") for name in names]).count(True) == 1


# --- steps ---


def test_each_step_is_a_transaction(app: Flask, world: World) -> None:
    def task(dry_run: bool) -> Iterator[str | None]:
        for name in ("Leaves", "Moss"):
            db.session.add(Project(name=name, description=""))
            yield name
            assert not db.session().in_transaction()
        db.session.add(Project(name="never said", description=""))

    with app.app_context():
        for dry_run, number in ((True, 0), (False, 2)):
            assert list(background.steps(Task(1, task), dry_run=dry_run)) == ["Leaves", "Moss"]
            assert db.session.scalar(db.select(db.func.count()).select_from(Project)) == number
            db.session.rollback()


def test_a_step_that_fails_takes_nothing_with_it(app: Flask, world: World) -> None:
    def task(dry_run: bool) -> Iterator[str | None]:
        db.session.add(Project(name="Leaves", description=""))
        yield "Leaves"
        db.session.add(Project(name="Moss", description=""))
        db.session.flush()
        raise RuntimeError("broken")

    with app.app_context():
        done = background.steps(Task(1, task))
        assert next(done) == "Leaves"
        with pytest.raises(RuntimeError):
            next(done)
    assert [row.name for row in world.rows(Project)] == ["Leaves"]


# --- the loop ---


@pytest.fixture
def counted() -> tuple[list[str], dict[str, Task]]:
    """What ran, and two tasks, of which the first fails."""
    ran: list[str] = []

    def failing(_: bool) -> Iterator[str | None]:
        ran.append("failing")
        raise RuntimeError("broken")
        yield

    def working(_: bool) -> Iterator[str | None]:
        ran.append("working")
        yield "one thing"

    return ran, {"failing": Task(0, failing), "working": Task(0, working)}


def test_a_task_that_fails_is_said_and_ends_nothing(
    app: Flask, counted: tuple[list[str], dict[str, Task]], caplog: pytest.LogCaptureFixture
) -> None:
    ran, tasks = counted
    caplog.set_level(logging.INFO, "app.background")
    loop = Loop(app, tasks)
    for _ in range(2):
        loop.look()
    assert ran.count("working") == 2 and ran.index("failing") < ran.index("working")
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.message for record in failed] == ["sweeping stopped: failing"] * ran.count("failing")
    assert all(record.exc_info for record in failed)
    assert "swept (working): one thing" in caplog.messages


def test_a_task_waits_until_it_is_due(app: Flask, counted: tuple[list[str], dict[str, Task]]) -> None:
    ran, tasks = counted
    loop = Loop(app, {"working": Task(3600, tasks["working"].run)})
    for _ in range(3):
        loop.look()
    assert ran == ["working"]


def test_a_task_that_may_wait_does(
    app: Flask, counted: tuple[list[str], dict[str, Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = [1000.0]
    monkeypatch.setattr("app.background.time", SimpleNamespace(monotonic=lambda: moment[0]))
    loop = Loop(app, {"working": Task(10, counted[1]["working"].run, first=60)})
    for moment[0] in (1000, 1059, 1060, 1069, 1070):
        loop.look()
    assert counted[0] == ["working"] * 2


def test_no_file_is_lost_in_the_first_day_of_a_process() -> None:
    assert [name for name, task in TASKS.items() if task.first] == ["lost-files"]
    assert TASKS["lost-files"].first == 24 * 3600


def test_short_tasks_go_between_the_steps_of_a_long_one(app: Flask) -> None:
    ran = []

    def long(_: bool) -> Iterator[str | None]:
        for n in range(3):
            ran.append(f"long {n}")
            yield None

    def often(_: bool) -> Iterator[str | None]:
        ran.append("often")
        yield None

    Loop(app, {"long": Task(3600, long), "often": Task(0, often)}).look()
    assert ran == ["long 0", "often", "long 1", "often", "long 2", "often", "often"]


def test_the_turn_is_kept_while_nothing_is_due(
    app: Flask, counted: tuple[list[str], dict[str, Task]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "ASKED_EVERY", 0)
    loop = Loop(app, {"working": Task(3600, counted[1]["working"].run)})
    loop.look()
    run_out(app)
    loop.look()
    assert counted[0] == ["working"] and not take(app, "another")


def test_without_the_turn_nothing_is_done(app: Flask, counted: tuple[list[str], dict[str, Task]]) -> None:
    ran, tasks = counted
    assert take(app, "another")
    Loop(app, tasks).look()
    assert ran == []
    run_out(app)
    Loop(app, tasks).look()
    assert ran[:2] == ["failing", "working"]


def test_whoever_lost_the_turn_stops_after_the_step_it_is_at(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process that was stopped for minutes and goes on."""
    monkeypatch.setattr(background, "ASKED_EVERY", 0)
    done = []

    def task(_: bool) -> Iterator[str | None]:
        for n in range(5):
            if n == 2:
                run_out(app)
                assert take(app, "another")
            done.append(n)
            yield f"{n}"

    Loop(app, {"task": Task(1, task)}).look()
    assert done == [0, 1, 2]


def test_a_task_rests_for_as_long_as_its_own_steps_ask_for(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others that were done between them do not count."""
    moment = 1000.0
    monkeypatch.setattr(background, "time", SimpleNamespace(monotonic=lambda: moment))

    def takes(seconds: float) -> Callable[[bool], Iterator[str | None]]:
        def task(_: bool) -> Iterator[str | None]:
            nonlocal moment
            for _step in range(2):
                moment += seconds
                yield None

        return task

    tasks = {
        "rests": Task(30, takes(2), rests=100),
        "short": Task(30, takes(0.1)),
        "long": Task(30, takes(5)),
    }
    loop = Loop(app, tasks)
    loop.look()
    assert loop._due_at["rests"] == pytest.approx(moment + 400)
    assert loop._due_at["short"] < moment + 30 and TASKS["large-projects"].rests == 100


def test_a_database_that_is_away_is_said_and_asked_again(
    app: Flask,
    counted: tuple[list[str], dict[str, Task]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran, tasks = counted
    monkeypatch.setattr(background, "ASKED_EVERY", 0)
    loop = Loop(app, {"working": tasks["working"]})
    with monkeypatch.context() as patched:
        patched.setattr(turns, "take", lambda *_: 1 / 0)
        loop.look()
    assert ran == [] and "the turn could not be asked for" in caplog.messages
    loop.look()
    assert ran == ["working"]


def test_it_ends_after_the_step_it_is_at_and_gives_the_turn_back(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "LOOKED_EVERY", 0.01)
    begun, go_on, done = Event(), Event(), []

    def task(_: bool) -> Iterator[str | None]:
        for n in range(5):
            begun.set()
            go_on.wait(10)
            done.append(n)
            yield None

    loop = Loop(app, {"task": Task(3600, task)})
    loop.start()
    assert begun.wait(10)
    assert turn_of(app).holder == loop.holder
    loop._ending.set()
    go_on.set()
    loop.stop()
    assert not loop._thread.is_alive()
    assert done == [0] and turn_of(app).holder is None


def test_it_can_be_switched_off(make_app: Callable[..., Flask]) -> None:
    assert background.start(make_app(BACKGROUND_LOOP="false")) is None
