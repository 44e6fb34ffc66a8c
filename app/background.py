"""What happens by itself: sweeping, in one of the processes at a time, and by `flask sweep`.

To add a task: its line in `TASKS`. A task is a function of `dry_run` that gives steps: what it did or would do, a short
text each, or None when it has nothing to say but lets other tasks go first. Each step is a transaction: it is
committed (on a dry run rolled back) before the task goes on, so what follows a `yield` happens after the commit. Two
processes may run the same task at once, where one was thought dead and `flask sweep` beside the loop, so a task asks
under the lock of a row whether it is still meant.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from secrets import token_hex
from threading import Event, Thread
from uuid import UUID

from flask import Flask, current_app

from app import deliveries, exporter, storage
from app.extensions import db
from app.services import artifacts, counting, groups, overdue, placing, retention, turns, webhooks

TURN = "background"
TURN_SECONDS = 60  # a holder that was not heard of for so long has lost its turn
ASKED_EVERY = 15  # seconds: whoever has the turn says so again, and the others ask for it
LOOKED_EVERY = 1  # second
STOPPED_WITHIN = 5  # seconds
KEPT_UNKNOWN_DAYS = 30  # files that belong to no row, where what was deleted is kept for ever
PURGED_LATER = timedelta(minutes=1)  # than it can be restored, also by a machine whose clock is behind
DELIVERING_SECONDS = 10  # of webhooks, in one go

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """`every` so many seconds, for the first time `first` seconds after the loop's start.

    It then rests for `rests` times as long as its steps took, where that is more.
    """

    every: int
    run: Callable[[bool], retention.Steps]
    first: int = 0
    rests: int = 0


def _purge(dry_run: bool) -> retention.Steps:
    if days := current_app.config["ML_RETENTION_DAYS"]:
        storage.current().check()  # while it is away, the rows wait for it too
        before = _now() - timedelta(days=days) - PURGED_LATER
        yield from retention.purge(before, storage.current(), dry_run=dry_run)


def _abandoned_uploads(dry_run: bool) -> retention.Steps:
    storage.current().check()  # what cannot be read is not gone
    yield from retention.abandoned_uploads(_too_old_to_come(), storage.current(), dry_run=dry_run)


def _lost_files(dry_run: bool) -> retention.Steps:
    """What no row names is kept as long as what was deleted, so that an older copy of the database finds its files."""
    days = current_app.config["ML_RETENTION_DAYS"] or KEPT_UNKNOWN_DAYS
    before = _too_old_to_come()
    unknown_before = min(before, _now() - timedelta(days=days))
    yield from retention.lost_files(before, unknown_before, storage.current(), dry_run=dry_run)


def _overdue(dry_run: bool) -> retention.Steps:
    if not current_app.config["ML_ANALYSIS_ENABLED"]:
        return  # nobody can be heard of meanwhile
    for kind in overdue.kinds(current_app.config):
        for analysis_id in kind.due():
            if dry_run or kind.end(analysis_id, _uploaded(analysis_id)):
                yield f"analysis {analysis_id}, {kind.name}: {kind.ends_as}"


def _uploaded(analysis_id: UUID) -> dict[str, artifacts.Found]:
    """What the storage holds of an analysis; nothing is held in the database while it is asked."""
    wanted = artifacts.paths(analysis_id)
    db.session.rollback()
    return artifacts.look_up_if_possible(wanted, storage.current())


def _used_nonces(dry_run: bool) -> retention.Steps:
    yield from retention.used_nonces(_now(), dry_run=dry_run)


def _webhooks(dry_run: bool) -> retention.Steps:
    """For a while; an attempt without an answer ends it, so that the other tasks need not wait for many. A dry run has
    nothing to say, as nobody knows what a receiver would answer.
    """
    until = time.monotonic() + DELIVERING_SECONDS
    while not dry_run and time.monotonic() < until:
        outcome = deliveries.deliver_next()
        if outcome is None or outcome.status is None:
            return
        yield None


def _webhook_log(dry_run: bool) -> retention.Steps:
    yield from retention.webhook_log(_now() - webhooks.KEPT, dry_run=dry_run)


def _kept_exports(dry_run: bool) -> retention.Steps:
    storage.current().check()  # while it is away, the rows wait for it too
    yield from retention.exports(_now(), storage.current(), dry_run=dry_run)


def _groups(dry_run: bool) -> retention.Steps:
    yield from groups.give_rows(dry_run=dry_run)


def _placing(dry_run: bool) -> retention.Steps:
    yield from placing.place_all(dry_run=dry_run)


def _counting(dry_run: bool) -> retention.Steps:
    yield from counting.count_large(_now(), dry_run=dry_run)


def _large_projects(dry_run: bool) -> retention.Steps:
    yield from counting.find_large(_now(), dry_run=dry_run)


def _now() -> datetime:
    moment: datetime = current_app.extensions["clock"]()
    return moment


def _too_old_to_come() -> datetime:
    """What is from before cannot be on its way any more: a day, or as long as a signed address can be used."""
    lives = timedelta(seconds=current_app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"])
    return _now() - max(timedelta(days=1), lives)


TASKS: dict[str, Task] = {
    "overdue": Task(10, _overdue),
    "purge": Task(3600, _purge),
    "abandoned-uploads": Task(3600, _abandoned_uploads),
    # not at once: somebody who restores a backup has a day to see that it is the wrong one
    "lost-files": Task(24 * 3600, _lost_files, first=24 * 3600),
    "groups": Task(10, _groups),
    "placing": Task(10, _placing),
    "counting": Task(30, _counting),
    "large-projects": Task(30, _large_projects, rests=counting.RESTS),
    "used-nonces": Task(300, _used_nonces),
    "webhooks": Task(5, _webhooks),
    "webhook-log": Task(3600, _webhook_log),
    "exports": Task(5, exporter.write_due),
    "kept-exports": Task(3600, _kept_exports),
}


def steps(task: Task, *, dry_run: bool = False) -> Generator[str]:
    """Runs a task in the app's context: what it does as it is done, "" where it only lets others go first.

    Closed before the end, it lets the task put away what it was at, which is a step as well.
    """
    end = db.session.rollback if dry_run else db.session.commit
    try:
        with closing(task.run(dry_run)) as run:
            for said in run:
                end()
                yield said or ""
    except GeneratorExit:
        end()
        raise
    finally:
        db.session.rollback()


# --- the loop ----------------------------------------------------------------------------------------------------


class Loop:
    """Does the tasks when they are due, while it is this process's turn."""

    def __init__(self, app: Flask, tasks: Mapping[str, Task] | None = None) -> None:
        self.app = app
        self.tasks = TASKS if tasks is None else tasks
        self.holder = f"{socket.gethostname()[:32]}-{os.getpid()}-{token_hex(4)}"
        self._has_turn, self._asked_at = False, float("-inf")
        self._due_at = {name: time.monotonic() + task.first for name, task in self.tasks.items()}
        self._begun: set[str] = set()
        self._ending = Event()
        self._thread = Thread(target=self._run, name="background", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends it after the step it is at, and gives the turn to another; what takes longer is left to its fate."""
        self._ending.set()
        self._thread.join(STOPPED_WITHIN)

    def _run(self) -> None:
        while not self._ending.wait(LOOKED_EVERY):
            self.look()
        if self._has_turn:
            self._guarded("the turn was not given back", self._give_back)

    def look(self) -> None:
        """Does what is due, if it is this process's turn; it keeps its turn also while nothing is."""
        for name, task in self.tasks.items():
            if name not in self._begun and self._may_go_on() and time.monotonic() >= self._due_at[name]:
                self._due_at[name] = time.monotonic() + task.every
                self._guarded(f"sweeping stopped: {name}", partial(self._do, name, task))

    def _do(self, name: str, task: Task) -> None:
        self._begun.add(name)
        began, others = time.monotonic(), 0.0
        try:
            with self.app.app_context(), closing(steps(task)) as done:
                for said in done:
                    if said:
                        _log.info("swept (%s): %s", name, said)
                    turned = time.monotonic()
                    self.look()  # leases and webhooks need not wait until a long task is over
                    others += time.monotonic() - turned
                    if not self._may_go_on():
                        return
        finally:
            self._begun.remove(name)
            ended = time.monotonic()
            self._due_at[name] = max(self._due_at[name], ended + task.rests * (ended - began - others))

    def _may_go_on(self) -> bool:
        """Whether it is this process's turn and nobody told it to end. Now and then it asks, or says that it lives."""
        if time.monotonic() >= self._asked_at + ASKED_EVERY:
            self._asked_at, self._has_turn = time.monotonic(), False
            self._guarded("the turn could not be asked for", self._take)
        return self._has_turn and not self._ending.is_set()

    def _take(self) -> None:
        with self.app.app_context():
            taken = turns.take(TURN, self.holder, TURN_SECONDS)
            db.session.commit()
        self._has_turn = taken

    def _give_back(self) -> None:
        with self.app.app_context():
            turns.give_back(TURN, self.holder)
            db.session.commit()

    def _guarded(self, failure: str, act: Callable[[], None]) -> None:
        """What goes wrong is said and ends nothing: the same is tried again when it is due."""
        try:
            act()
        except Exception:
            _log.exception(failure)


def start(app: Flask) -> Loop | None:
    """The loop of this process; None when the settings say that there is none."""
    if not app.config["BACKGROUND_LOOP"]:
        return None
    loop = Loop(app)
    loop.start()
    return loop
