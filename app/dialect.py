"""Where SQLite and PostgreSQL differ: how connections are set up, how a transaction begins, what is tried again.

SQLite allows one writer. A transaction that reads first and writes later fails at once with "database is locked"
when another wrote in between, whatever the busy timeout, so whatever may write begins with BEGIN IMMEDIATE.
"""

import random
import time
from typing import Any

from flask import Flask, g, has_request_context, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from app.extensions import db

BUSY_TIMEOUT_MS = 15_000
TRIES = 3
# serialization_failure and deadlock_detected: PostgreSQL undid the transaction, and the same one may now succeed
RETRYABLE = frozenset({"40001", "40P01"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def prepare(engine: Engine) -> None:
    """Installs the listeners of the engine's dialect."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _set_up_postgresql)


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    reads_only = has_request_context() and not g.get("writes", request.method not in SAFE_METHODS)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _set_up_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET timezone = 'UTC'")
    connection.commit()


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
