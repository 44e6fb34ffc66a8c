"""What a transaction holds without a row, the clock of leases, and what is tried again."""

import random
import time
from datetime import UTC, datetime
from typing import Any

from flask import Flask, request
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, func, null, select
from sqlalchemy.exc import DBAPIError

from app.extensions import db

TRIES = 3
# serialization_failure and deadlock_detected: PostgreSQL undid the transaction, and the same one may now succeed
RETRYABLE = frozenset({"40001", "40P01"})


def hold(*subjects: str) -> None:
    """From here to the end of the transaction nobody else is past this line with one of these hex digests.

    For what no row stands for yet. SQLite has one writer, and whatever writes holds it from its first statement on.
    """
    if db.engine.dialect.name == "sqlite":
        return
    for subject in sorted(set(subjects)):  # one order for everybody, so that no two wait for each other
        number = int.from_bytes(bytes.fromhex(subject[:16]), signed=True)
        db.session.execute(select(func.pg_advisory_xact_lock(number)))


def clock() -> datetime:
    """The time by which leases run out: the one clock that all processes share, PostgreSQL's own and not that of the
    transaction's start. With SQLite all of them are on one machine, and it is that machine's."""
    if db.engine.dialect.name == "sqlite":
        return datetime.now(UTC)
    moment: datetime = db.session.execute(select(func.clock_timestamp())).scalar_one()
    return moment


def clock_column() -> ColumnElement[Any]:
    """The same as a column of a statement; NULL on SQLite, where `clock` asks nobody."""
    return null() if db.engine.dialect.name == "sqlite" else func.clock_timestamp()


class RetryingFlask(Flask):
    """Runs the view again, in a new transaction, when PostgreSQL chose its transaction as the one to give way.

    The guards are not run again: who is asking does not change, and the body has been read and kept. A view that takes
    images commits one by one, so it is not run again.
    """

    def dispatch_request(self) -> ResponseReturnValue:
        several = hasattr(self.view_functions.get(request.endpoint or ""), "takes_images")
        for _ in range(0 if several else TRIES - 1):
            try:
                return super().dispatch_request()
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in RETRYABLE:
                    raise
                db.session.rollback()
                time.sleep(random.uniform(0.01, 0.1))  # so that two that met do not meet again
        return super().dispatch_request()
