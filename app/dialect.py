"""Where SQLite and PostgreSQL differ: connections, how a transaction begins, sending and reading many rows, the
clock of leases, what is tried again.

SQLite allows one writer. A transaction that reads first and writes later fails at once with "database is locked"
when another wrote in between, whatever the busy timeout, so whatever may write begins with BEGIN IMMEDIATE.
"""

import random
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
from flask import Flask, g, has_request_context, request
from flask.typing import ResponseReturnValue
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    REAL,
    ColumnElement,
    Connection,
    Engine,
    Integer,
    Select,
    SQLColumnExpression,
    String,
    Table,
    cast,
    column,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    text,
    true,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.extensions import db

Rows: TypeAlias = NDArray[np.void]

BUSY_TIMEOUT_MS = 15_000
TRIES = 3
# How long PostgreSQL may take to let us in (seconds), and how long a network may swallow what we send (milliseconds)
# before the connection counts as lost. Without these a machine that vanished is waited for a quarter of an hour.
PATIENCE = {"connect_timeout": 3, "tcp_user_timeout": 5000, "keepalives_idle": 10, "keepalives_interval": 5}
# serialization_failure and deadlock_detected: PostgreSQL undid the transaction, and the same one may now succeed
RETRYABLE = frozenset({"40001", "40P01"})
READING = "reading"  # the execution option of a connection that writes nothing
COPYING = "copying"  # the execution option that asks for COPY in place of INSERT
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# what ends a session of PostgreSQL that takes long, whoever set it: us, the role, the database or the server
TIME_LIMITS = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
# All statements of the transaction see the same state of the database. A transaction of SQLite always does.
AT_ONE_MOMENT = {"sqlite": {}, "postgresql": {"isolation_level": "REPEATABLE READ"}}


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
    asked = has_request_context() and not g.get("writes", request.method not in SAFE_METHODS)
    reads_only = asked or connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _set_up_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET timezone = 'UTC'")
    connection.commit()


def rows_in_order(connection: Connection, statement: Select[Any]) -> Sequence[tuple[Any, ...]]:
    """The rows of a statement that goes along an index, as the driver has them, in two thirds of the time.

    For the rest of the transaction PostgreSQL sorts nothing that an index has in order. It does so where it takes what
    is left for little, as it does with an analysis that came since it counted the table: each page of 1,000 then read
    all of the 100,000 that were left, in 120 ms instead of 2.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
    with closing(connection.execute(statement)) as result:
        rows: Sequence[tuple[Any, ...]] = result.cursor.fetchall()
        return rows


def keep_to_order(keep: bool = True) -> None:
    """For the rest of the transaction PostgreSQL reads along an index in its order, and not all that it finds there.

    It does the latter where it takes a project for small, of which it knows nothing (migration 0011). A page of a
    project of 20,000 analyses then read all that was in a status. A sort that is needed all the same is
    done, and up to version 17 counts as so dear that it would be compiled first.
    """
    if db.engine.dialect.name == "postgresql":
        names, value = ("enable_sort", "enable_bitmapscan", "jit"), "off" if keep else "DEFAULT"
        db.session.connection().exec_driver_sql("; ".join(f"SET LOCAL {name} = {value}" for name in names))


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


def insert_missing(model: type[Any], columns: Mapping[str, Any]) -> bool:
    """Inserts a row unless there is one with its primary key; whether it did. Waits for whoever inserts the same."""
    inserts: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[db.engine.dialect.name]
    table: Table = inspect(model).local_table
    statement = inserts(table).values(**columns).on_conflict_do_nothing().returning(*table.primary_key)
    return db.session.execute(statement).first() is not None


def found_by_key(
    columns: Sequence[Any], among: ColumnElement[bool], key: ColumnElement[Any], values: Sequence[Any]
) -> Select[Any]:
    """The rows that are `among` those, and whose `key` is one of `values`; the two are a unique index.

    PostgreSQL does not know how large an analysis has become since it last counted, takes it for small, and reads all
    of it for every batch. So there each row is looked up by itself, along the unique index; that this is worth it
    even where everything was small, migration 0006 tells it.
    """
    if db.engine.dialect.name == "sqlite":
        return select(*columns).where(among, key.in_(values))
    wanted = func.unnest(cast(values, ARRAY(key.type))).table_valued("value").render_derived()
    each = select(*columns).where(among, key == wanted.c.value).limit(1).lateral()
    return select(each).select_from(wanted.join(each, true()))


def is_none_of(
    value: SQLColumnExpression[Any], key: SQLColumnExpression[Any], *few: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether no row that is one of those few has this key.

    PostgreSQL makes a join of an EXISTS, but would look through a list of many for every row. SQLite makes a list once,
    but would ask an EXISTS for every row.
    """
    if db.engine.dialect.name == "sqlite":
        return value.not_in(select(key).where(*few))
    return ~select(key).where(key == value, *few).exists()


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


def read_columns(
    statement: Select[Any], name: str, dtype: np.dtype[np.void]
) -> tuple[Rows, tuple[str | None, ...]]:
    """The rows of a statement as an array, a million a second, in any order; no column may be NULL but `name`.

    `name` is the statement's column of text: in the array stands its place in the tuple of texts that comes with it.
    Read over a connection of its own, in a transaction that ends here, as the database is at one moment of it.
    """
    options = {READING: True, **AT_ONE_MOMENT[db.engine.dialect.name]}
    with db.engine.connect().execution_options(**options) as connection:
        reading = _read_sqlite if connection.dialect.name == "sqlite" else _read_postgresql
        return reading(connection, statement, name, dtype)


def _read_sqlite(
    connection: Connection, statement: Select[Any], name: str, dtype: np.dtype[np.void]
) -> tuple[Rows, tuple[str | None, ...]]:
    """The driver's rows go straight into the array; the texts are numbered by a function that SQLite calls."""
    places: dict[str | None, int] = {}
    driver: Any = connection.connection.driver_connection
    driver.create_function("place_of", 1, lambda text: places.setdefault(text, len(places)))
    columns: list[ColumnElement[Any]] = [
        func.place_of(one) if one.name == name else one for one in statement.selected_columns
    ]
    numbered = statement.with_only_columns(*columns)
    rows = np.fromiter(driver.execute(_literal(numbered, connection)), dtype=dtype)
    driver.create_function("place_of", 1, None)
    return rows, tuple(places)


def _read_postgresql(
    connection: Connection, statement: Select[Any], name: str, dtype: np.dtype[np.void]
) -> tuple[Rows, tuple[str | None, ...]]:
    """COPY in binary form: every row has the same bytes, so that all of them are read as one array at once.

    https://www.postgresql.org/docs/current/sql-copy.html: a header of 19 bytes, for each row the number of its
    columns (2 bytes) and for each column its length (4 bytes) and its value, big end first; -1 (2 bytes) ends it.
    """
    text_column = statement.selected_columns[name]
    texts = connection.scalars(statement.with_only_columns(text_column).distinct()).all()
    numbered = _numbered(statement, text_column, {text: place for place, text in enumerate(texts)}, dtype)
    # the driver's own way of writing %, which is not asked to fill anything in here
    asked = _literal(numbered, connection).replace("%%", "%")
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(f"COPY ({asked}) TO STDOUT (FORMAT BINARY)") as copy:
        sent = b"".join(copy)
    names, parts = list(dtype.names or ()), [("columns", ">i2")]
    for one in names:
        parts += [(f"length of {one}", ">i4"), (one, dtype[one].newbyteorder(">").str)]
    sent_as = np.dtype(parts)
    rows = np.frombuffer(sent, dtype=sent_as, offset=19, count=(len(sent) - 21) // sent_as.itemsize)
    return rows[names].astype(dtype), tuple(texts)


def _numbered(
    statement: Select[Any],
    name: ColumnElement[Any],
    places: Mapping[str | None, int],
    dtype: np.dtype[np.void],
) -> Select[Any]:
    """The statement with the place of each text instead of the text, and every column as wide as the dtype says."""
    rows = [(text, place) for text, place in places.items() if text is not None] or [("", -1)]
    numbers = values(column("text", String), column("place", Integer), name="places").data(rows)
    place = func.coalesce(numbers.c.place, places.get(None, -1))
    wide = {"i": Integer, "f": REAL}
    columns: list[ColumnElement[Any]] = [
        cast(place if one is name else one, wide[dtype[i].kind])
        for i, one in enumerate(statement.selected_columns)
    ]
    joined = statement.with_only_columns(*columns, maintain_column_froms=True)
    return joined.outerjoin(numbers, numbers.c.text == name)


def _literal(statement: Select[Any], connection: Connection) -> str:
    """The statement with its values in it, as a driver takes it that is asked past SQLAlchemy."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
    return str(compiled)
