"""How the two are connected to and how their transactions begin.

SQLite allows one writer. A transaction that reads first and writes later fails at once with "database is locked"
when another wrote in between, whatever the busy timeout, so whatever may write begins with BEGIN IMMEDIATE.
"""

import time
from collections.abc import Sequence
from functools import partial
from select import POLLIN, poll
from typing import Any, cast

from flask import g, has_request_context, request
from sqlalchemy import Connection, Dialect, Engine, create_engine, event, text
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.dialect import prepared
from app.dialect.sending import copy

BUSY_TIMEOUT_MS = 15_000
# How long PostgreSQL may take to let us in (seconds), and how long a network may swallow what we send (milliseconds)
# before the connection counts as lost. Without these a machine that vanished is waited for a quarter of an hour.
PATIENCE = {"connect_timeout": 3, "tcp_user_timeout": 5000, "keepalives_idle": 10, "keepalives_interval": 5}
ASKED_AFTER_SECONDS = 1.0  # in the pool, until a connection is asked whether it lives
READING = "reading"  # the execution option of a connection that writes nothing
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# what ends a session of PostgreSQL that takes long, whoever set it: us, the role, the database or the server
TIME_LIMITS = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
# All statements of the transaction see the same state of the database. A transaction of SQLite always does.
AT_ONE_MOMENT = {"sqlite": {}, "postgresql": {"isolation_level": "REPEATABLE READ"}}
# A statement that is alone needs no transaction: PostgreSQL is spared BEGIN and ROLLBACK, two of three round trips.
SINGLE = "single"  # the execution option of a connection over which SQLite is asked one statement only
ALONE: dict[str, dict[str, Any]] = {
    "sqlite": {SINGLE: True},
    "postgresql": {"isolation_level": "AUTOCOMMIT"},
}


def prepare(engine: Engine) -> None:
    """Installs the listeners of the engine's dialect."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "do_connect", _connect_postgresql)
        event.listen(engine, "connect", _set_up_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
        event.listen(engine, "do_execute", copy)
        event.listen(engine, "reset", _end_autocommit)
        event.listen(engine, "checkin", _note_when)
        event.listen(engine, "checkout", partial(_refuse_dead, engine.dialect))


def probe(engine: Engine) -> None:
    """Returns when the database answers. Raises SQLAlchemyError, within a few seconds.

    It asks over a connection of its own: those of the pool may all be waiting behind what hangs.
    """
    own = create_engine(engine.url, poolclass=NullPool)
    prepare(own)
    with own.connect() as connection:
        connection.execute(text("SELECT 1"))


def _connect_postgresql(
    _dialect: object, _record: object, arguments: Sequence[Any], parameters: dict[str, Any]
) -> prepared.Connection:
    """What DATABASE_URL says for itself stays."""
    return prepared.Connection.connect(*arguments, **{**PATIENCE, **parameters})


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
    if connection.get_execution_options().get(SINGLE, False):
        return
    connection.exec_driver_sql("BEGIN" if _only_reads(connection) else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    driver = cast(Any, connection.connection.dbapi_connection)
    prepared.begin(driver, _only_reads(connection) and not driver.autocommit)


def _only_reads(connection: Connection) -> bool:
    asked = has_request_context() and not g.get("writes", request.method not in SAFE_METHODS)
    return asked or bool(connection.get_execution_options().get(READING, False))


def _set_up_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET timezone = 'UTC'")
    connection.commit()


def _end_autocommit(connection: Any, *_: object) -> None:
    """However whoever had it came to leave it: see single.py."""
    if connection.autocommit:
        connection.autocommit = False


def _note_when(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["laid_down_at"] = time.monotonic()


def _refuse_dead(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """A connection that died while it lay in the pool is replaced before it is used, as are all of its age.

    What a server says when it ends has arrived by then, and nothing else is ever there to be read: in 3 us a look at
    the socket tells as much as a question in 0.2 ms, but for a machine or a network that vanished. Whoever asks often
    finds that out with the statement itself; what lay for longer is asked.
    """
    laid_down_at = record.info.get("laid_down_at")
    if laid_down_at is None:  # new
        return
    try:
        socket = poll()
        socket.register(connection.fileno(), POLLIN)
        if socket.poll(0):
            raise InvalidatePoolError
        if time.monotonic() - laid_down_at > ASKED_AFTER_SECONDS:
            dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def lift_time_limits(connection: Connection) -> None:
    """For a migration, which takes as long as the tables are large. Nobody else gets this connection afterwards.

    How long it waits for a lock stays: whoever comes while it waits for a table waits behind it.
    """
    if connection.dialect.name == "sqlite":
        return
    connection.detach()
    lift = text("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = ANY(:names)")
    connection.execute(lift, {"names": list(TIME_LIMITS)})  # not every version has all of them
    connection.commit()
