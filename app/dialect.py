"""Where SQLite and PostgreSQL differ: connections, how a transaction begins, sending many rows, what is tried again.

SQLite allows one writer. A transaction that reads first and writes later fails at once with "database is locked"
when another wrote in between, whatever the busy timeout, so whatever may write begins with BEGIN IMMEDIATE.
"""

import random
import time
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

from flask import Flask, g, has_request_context, request
from flask.typing import ResponseReturnValue
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Engine,
    Select,
    String,
    Table,
    cast,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    true,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.extensions import db

BUSY_TIMEOUT_MS = 15_000
TRIES = 3
# How long PostgreSQL may take to let us in (seconds), and how long a network may swallow what we send (milliseconds)
# before the connection counts as lost. Without these a machine that vanished is waited for a quarter of an hour.
PATIENCE = {"connect_timeout": 3, "tcp_user_timeout": 5000, "keepalives_idle": 10, "keepalives_interval": 5}
# serialization_failure and deadlock_detected: PostgreSQL undid the transaction, and the same one may now succeed
RETRYABLE = frozenset({"40001", "40P01"})
COPYING = "copying"  # the execution option that asks for COPY in place of INSERT
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def prepare(engine: Engine) -> None:
    """Installs the listeners of the engine's dialect."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _limit_patience)
        event.listen(engine, "connect", _set_up_postgresql)
        event.listen(engine, "do_executemany", _copy)


def probe(engine: Engine) -> None:
    """Returns when the database answers. Raises SQLAlchemyError, within a few seconds.

    It asks over a connection of its own: those of the pool may all be waiting behind what hangs.
    """
    own = create_engine(engine.url, poolclass=NullPool)
    prepare(own)
    with own.connect() as connection:
        connection.execute(text("SELECT 1"))


def _limit_patience(
    _dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]
) -> None:
    """What DATABASE_URL says for itself stays."""
    for name, value in PATIENCE.items():
        parameters.setdefault(name, value)


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


def insert_rows(table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Inserts the rows, which all have the same columns, in one statement; on PostgreSQL with COPY, at half the cost.

    In the session's transaction; raises what an INSERT would.
    """
    db.session.connection().execute(insert(table), rows, execution_options={COPYING: True})


def _copy(cursor: Any, _statement: str, parameters: Sequence[dict[str, Any]], context: Any) -> bool:
    """Sends the rows of an INSERT with COPY where `insert_rows` asked for it; whether it did.

    It takes the place of one call on the driver inside SQLAlchemy's own execution: what comes here has been through
    the types of the columns, and what is raised here is wrapped and told from a lost connection as after any other.
    """
    if not context.execution_options.get(COPYING):
        return False
    prepare, names = context.identifier_preparer, list(parameters[0])
    columns = ", ".join(map(prepare.quote, names))
    target, values = prepare.format_table(context.compiled.statement.table), itemgetter(*names)
    try:
        with cursor.copy(f"COPY {target} ({columns}) FROM STDIN") as copy:
            for row in parameters:
                copy.write_row(values(row))
    except context.dialect.loaded_dbapi.Error as error:
        if error.diag.context:  # quotes the row, and what was sent must not come into the log
            error.args = (str(error).partition(error.diag.context)[0],)
        raise
    return True


def found_by_key(
    columns: Sequence[Any], among: ColumnElement[bool], key: ColumnElement[str], values: Sequence[str]
) -> Select[Any]:
    """The rows that are `among` those, and whose `key` is one of `values`; the two are a unique index.

    PostgreSQL does not know how large an analysis has become since it last counted, takes it for small, and reads all
    of it for every batch. So there each row is looked up by itself, along the unique index.
    """
    if db.engine.dialect.name == "sqlite":
        return select(*columns).where(among, key.in_(values))
    wanted = func.unnest(cast(values, ARRAY(String))).table_valued("value").render_derived()
    each = select(*columns).where(among, key == wanted.c.value).limit(1).lateral()
    return select(each).select_from(wanted.join(each, true()))


def hold(*subjects: str) -> None:
    """From here to the end of the transaction nobody else is past this line with one of these hex digests.

    For what no row stands for yet. SQLite has one writer, and whatever writes holds it from its first statement on.
    """
    if db.engine.dialect.name == "sqlite":
        return
    for subject in sorted(set(subjects)):  # one order for everybody, so that no two wait for each other
        number = int.from_bytes(bytes.fromhex(subject[:16]), signed=True)
        db.session.execute(select(func.pg_advisory_xact_lock(number)))


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
