"""Where SQLite and PostgreSQL differ: connections, how a transaction begins, sending and reading many rows, the
clock of leases, what is tried again.

SQLite allows one writer. A transaction that reads first and writes later fails at once with "database is locked"
when another wrote in between, whatever the busy timeout, so whatever may write begins with BEGIN IMMEDIATE.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import cache, partial
from select import POLLIN, poll
from typing import Any, TypeAlias

import numpy as np
import orjson
from flask import Flask, g, has_request_context, request
from flask.typing import ResponseReturnValue
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    JSON,
    REAL,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Executable,
    Integer,
    LargeBinary,
    Row,
    Select,
    SQLColumnExpression,
    String,
    Table,
    bindparam,
    cast,
    create_engine,
    event,
    func,
    inspect,
    literal,
    null,
    select,
    text,
    true,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.types import TypeEngine

from app.extensions import db

Rows: TypeAlias = NDArray[np.void]

BUSY_TIMEOUT_MS = 15_000
TRIES = 3
ROWS_AT_ONCE = 2**16  # go into one value when columns are read
# How long PostgreSQL may take to let us in (seconds), and how long a network may swallow what we send (milliseconds)
# before the connection counts as lost. Without these a machine that vanished is waited for a quarter of an hour.
PATIENCE = {"connect_timeout": 3, "tcp_user_timeout": 5000, "keepalives_idle": 10, "keepalives_interval": 5}
# serialization_failure and deadlock_detected: PostgreSQL undid the transaction, and the same one may now succeed
RETRYABLE = frozenset({"40001", "40P01"})
ASKED_AFTER_SECONDS = 1.0  # in the pool, until a connection is asked whether it lives
READING = "reading"  # the execution option of a connection that writes nothing
COPYING = "copying"  # the execution option of a COPY
AS_LINES = " WITH (FORMAT csv, NULL 'null', ESCAPE E'\\\\', ENCODING 'UTF8')"
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
        event.listen(engine, "do_connect", _limit_patience)
        event.listen(engine, "connect", _set_up_postgresql)
        event.listen(engine, "do_execute", _copy)
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
    if connection.get_execution_options().get(SINGLE, False):
        return
    asked = has_request_context() and not g.get("writes", request.method not in SAFE_METHODS)
    reads_only = asked or connection.get_execution_options().get(READING, False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def _set_up_postgresql(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '5s'; SET statement_timeout = '30s'; SET timezone = 'UTC'")
    connection.commit()


def _note_when(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info["laid_down_at"] = time.monotonic()


def _refuse_dead(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
    """A connection that died while it lay in the pool is replaced before it is used, as are all of its age.

    What a server says when it ends has arrived by then, and nothing else is ever there to be read: a look at the socket
    tells as much as a question, but for a machine or a network that vanished. Whoever asks often finds
    that out with the statement itself; what lay for longer is asked.
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


def prefer_indexes(connection: Connection) -> None:
    """For the rest of the transaction PostgreSQL sorts nothing that an index has in order.

    It does so where it takes what is left for little, as it does with an analysis that came since it counted the table:
    each page of 1,000 then read all of the 100,000 that were left, in 120 ms instead of 2.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_sort = off")


def parts_in_order(
    connection: Connection,
    statement: Select[Any],
    size: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows of a statement that goes along an index, as the driver has them, in two thirds of the time.

    `size` at a time, and no more of them are objects of Python at once; all in one part without.
    """
    prefer_indexes(connection)
    with closing(connection.execute(statement, values)) as result:
        cursor: Any = result.cursor
        while rows := cursor.fetchmany(size) if size else cursor.fetchall():
            yield rows


def rows_in_order(
    connection: Connection, statement: Select[Any], values: Mapping[str, Any] | None = None
) -> Sequence[tuple[Any, ...]]:
    """The same at once."""
    return next(parts_in_order(connection, statement, values=values), ())


def derived(statement: Select[Any], columns: Callable[[Any], Sequence[ColumnElement[Any]]]) -> Select[Any]:
    """A statement that has an order and a LIMIT, in that order, with the columns which are made of its own.

    PostgreSQL makes them of every row that it sorts, and each as often as others name it, unless a subquery with a
    LIMIT is between: data or its weight takes 1.6 instead of 2.2 µs, a page of 1,000 by confidence out of 100,000 takes
    69 instead of 150 ms. SQLite is quicker without: 2.0 instead of 2.4 µs.
    """
    if db.engine.dialect.name == "sqlite":
        return statement.with_only_columns(*columns(statement.selected_columns))
    return select(*columns(statement.subquery().c))


def octets(text: ColumnElement[str]) -> ColumnElement[int]:
    """How long a text is: its bytes, which PostgreSQL need not count; in SQLite its characters."""
    return func.length(text) if db.engine.dialect.name == "sqlite" else func.octet_length(text)


def keep_to_order(keep: bool = True) -> None:
    """For the rest of the transaction PostgreSQL reads along an index in its order, and not all that it finds there.

    It does the latter where it takes a project for small, of which it knows nothing (migration 0011). A page of a
    project of 20,000 analyses then read all that was in a status. A sort that is needed all the same is
    done, and up to version 17 counts as so dear that it would be compiled first.
    """
    if db.engine.dialect.name == "postgresql":
        names, value = ("enable_sort", "enable_bitmapscan", "jit"), "off" if keep else "DEFAULT"
        db.session.connection().exec_driver_sql("; ".join(f"SET LOCAL {name} = {value}" for name in names))


def read_alone(statement: Select[Any], values: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """The rows of one statement that needs nothing of the session's transaction and is not seen by it."""
    with db.engine.connect() as connection:
        connection.execution_options(**ALONE[connection.dialect.name])
        return connection.execute(statement, values).all()


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


def insert_rows(
    table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]], same: Mapping[str, Any]
) -> None:
    """Inserts rows of the columns `names`, and with them the columns `same`, whose value they share, in one statement.

    A row holds texts, whole and finite numbers and None, as the types of the columns would make them for the driver: of
    an id its hexadecimal digits, of JSON its text. It begins and ends with a text. In `same` are values of the types.
    In the session's transaction; raises what an INSERT would.
    """
    connection = db.session.connection()
    fixed = tuple(_sent(table.c[name].type, value, connection) for name, value in same.items())
    prepare = connection.dialect.identifier_preparer
    columns = ", ".join(prepare.quote(name) for name in (*names, *same))
    target = f"{prepare.format_table(table)} ({columns})"
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * (len(names) + len(same)))
        whole = [row + fixed for row in rows]
        connection.exec_driver_sql(f"INSERT INTO {target} VALUES ({marks})", whole)
        return
    lines = _as_lines(rows, fixed)
    how = "" if lines is None else AS_LINES
    sent = (lines, [row + fixed for row in rows] if lines is None else ())
    connection.exec_driver_sql(f"COPY {target} FROM STDIN{how}", sent, execution_options={COPYING: True})


def _sent(kind: TypeEngine[Any], value: Any, connection: Connection) -> Any:
    """What the driver is given for a value of this type."""
    process = kind.dialect_impl(connection.dialect).bind_processor(connection.dialect)
    return process(value) if process else value


def _as_lines(rows: Sequence[tuple[Any, ...]], fixed: tuple[Any, ...]) -> bytes | None:
    """The rows as JSON, all at once: COPY reads that as CSV, once each row has a line of its own. A row takes 1.3 µs of
    this process, where it took 9 with SQLAlchemy's types and psycopg's lines.

    None where that is not certain: what ends a row stands within a text as well, a text has control characters, which
    CSV does not write as JSON does, or there is no JSON of a value.
    """
    end = b'",' + orjson.dumps(fixed)[1:-1]
    try:
        lines = orjson.dumps(rows)[2:-2].replace(b'"],["', end + b'\n"')
    except orjson.JSONEncodeError:
        return None
    if lines.count(b"\n") != len(rows) - 1:
        return None
    # an escape is of a quote, or else of a backslash: two of them, from the left, are one
    others = lines.count(b"\\") != lines.count(b'\\"')
    if others and b"\\" in lines.replace(b"\\\\", b"").replace(b'\\"', b""):
        return None
    return lines + end[1:]


def _copy(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Sends rows with COPY where `insert_rows` asked for it; whether it did.

    It takes the place of one call on the driver inside SQLAlchemy's own execution, so that what is raised here is
    wrapped and told from a lost connection as after any other.
    """
    if not context.execution_options.get(COPYING):
        return False
    lines, rows = parameters
    try:
        with cursor.copy(statement) as copy:
            if lines is not None:
                copy.write(lines)
            for row in rows:
                copy.write_row(row)
    except context.dialect.loaded_dbapi.Error as error:
        if error.diag.context:  # quotes the row, and what was sent must not come into the log
            error.args = (str(error).partition(error.diag.context)[0],)
        raise
    return True


def insert_missing(model: type[Any], columns: Mapping[str, Any]) -> bool:
    """Inserts a row unless there is one with its primary key; whether it did. Waits for whoever inserts the same."""
    statement = _insert_missing(inspect(model).local_table, db.engine.dialect.name)
    return db.session.connection().execute(statement, columns).first() is not None


@cache
def _insert_missing(table: Table, database: str) -> Executable:
    inserts: Any = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[database]
    statement: Executable = inserts(table).on_conflict_do_nothing().returning(*table.primary_key)
    return statement


def found_by_key(
    columns: Sequence[Any], among: ColumnElement[bool], key: ColumnElement[Any], values: Any
) -> Select[Any]:
    """The rows that are `among` those, and whose `key` is one of `values`, a list or the parameter for one; the two
    are a unique index. The values go as one JSON list, however many they are. Call `prefer_indexes` before.

    PostgreSQL takes an analysis that came since it last counted for a single row, for which any index is as good, and
    then reads all of it for every value: 1.3 s for 1,000 in one of 10,000. So each is looked up by itself, and in the
    order that only the unique index has: between two ends, as what equals one value has no order to ask for.
    """
    if db.engine.dialect.name == "sqlite":
        listed = func.json_each(type_coerce(values, JSON)).table_valued("value")
        return select(*columns).where(among, key.in_(select(listed.c.value)))
    wanted = func.json_array_elements_text(cast(values, JSON)).table_valued("value").render_derived()
    value = cast(wanted.c.value, key.type)
    each = select(*columns).where(among, key.between(value, value)).order_by(key).limit(1).lateral()
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


def clock_column() -> ColumnElement[Any]:
    """The same as a column of a statement; NULL on SQLite, where `clock` asks nobody."""
    return null() if db.engine.dialect.name == "sqlite" else func.clock_timestamp()


class RetryingFlask(Flask):
    """Runs the view again, in a new transaction, when PostgreSQL chose its transaction as the one to give way.

    The guards are not run again: who is asking does not change, and the body has been read and kept. A view that takes
    images commits one by one, so it is not run again.
    """

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """None of ours is a coroutine; Flask would look at ten functions in every request."""
        return func

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
    statement: Select[Any], values: Mapping[str, Any], name: str, dtype: np.dtype[np.void]
) -> tuple[Rows, tuple[str | None, ...]]:
    """The rows of a statement as an array, a million in two seconds, in any order; no column may be NULL but `name`.

    `name` is the statement's column of text: in the array stands its place in the tuple of texts that comes with it.
    The statement is made once, with `values` for its parameters. Read over a connection of its own, in a transaction
    that ends here, as the database is at one moment of it.
    """
    options = {SINGLE: True, **AT_ONE_MOMENT[db.engine.dialect.name]}
    with db.engine.connect().execution_options(**options) as connection:
        reading = _read_sqlite if connection.dialect.name == "sqlite" else _read_postgresql
        return reading(connection, statement, values, name, dtype)


def _read_sqlite(
    connection: Connection,
    statement: Select[Any],
    values: Mapping[str, Any],
    name: str,
    dtype: np.dtype[np.void],
) -> tuple[Rows, tuple[str | None, ...]]:
    """The driver's rows go straight into the array; the texts are numbered by a function that SQLite calls."""
    places: dict[str | None, int] = {}
    driver: Any = connection.connection.driver_connection
    driver.create_function("place_of", 1, lambda text: places.setdefault(text, len(places)))
    with closing(connection.execute(_with_places(statement, name), values)) as result:
        sent: Any = result.cursor
        rows = np.fromiter(sent, dtype=dtype)
    driver.create_function("place_of", 1, None)
    return rows, tuple(places)


@cache
def _with_places(statement: Select[Any], name: str) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [
        func.place_of(one) if one.name == name else one for one in statement.selected_columns
    ]
    return statement.with_only_columns(*columns)


def _read_postgresql(
    connection: Connection,
    statement: Select[Any],
    values: Mapping[str, Any],
    name: str,
    dtype: np.dtype[np.void],
) -> tuple[Rows, tuple[str | None, ...]]:
    """Every row as the same few bytes, put together by the database, so that all of them are read as one array at once.

    A row of `COPY … (FORMAT BINARY)` came by itself: of 500,000 in 3.1 s, 1 s of it ours. So they take 1.0 and 0.03.
    """
    distinct, packed = _packed(statement, name, dtype)
    texts = connection.scalars(distinct, values).all()
    nothing = texts.index(None) if None in texts else -1
    parts = connection.scalars(packed, {**values, "texts": texts, "nothing": nothing})
    sent_as = np.dtype([(one, dtype[one].newbyteorder(">").str) for one in dtype.names or ()])
    return np.frombuffer(b"".join(parts), dtype=sent_as).astype(dtype), tuple(texts)


@cache
def _packed(statement: Select[Any], name: str, dtype: np.dtype[np.void]) -> tuple[Select[Any], Select[Any]]:
    """Two statements, made once: the texts; and the bytes of the rows, big end first, in values of so many rows."""
    text_column = statement.selected_columns[name]
    rows = _numbered(statement, text_column, dtype).subquery()
    sent = [
        (func.int4send if dtype[n].kind == "i" else func.float4send)(column, type_=LargeBinary)
        for n, column in enumerate(rows.c)
    ]
    whole: ColumnElement[Any] = sent[0]
    for one in sent[1:]:
        whole = whole.concat(one)
    # one value takes 1 GB at the most, and twice its bytes on its way here
    part = func.string_agg(whole, literal(b"", LargeBinary), type_=LargeBinary)
    packed = select(part).group_by(rows.c[0] / ROWS_AT_ONCE)
    return statement.with_only_columns(text_column).distinct(), packed


def _numbered(statement: Select[Any], name: ColumnElement[Any], dtype: np.dtype[np.void]) -> Select[Any]:
    """The statement with the place in `texts` instead of the text, and every column as wide as the dtype says."""
    texts = func.unnest(cast(bindparam("texts"), ARRAY(String)))
    numbers = texts.table_valued("text", with_ordinality="place").render_derived(name="places")
    place = func.coalesce(numbers.c.place - 1, bindparam("nothing", type_=Integer))
    wide = {"i": Integer, "f": REAL}
    columns: list[ColumnElement[Any]] = [
        cast(place if one is name else one, wide[dtype[i].kind]).label(f"column_{i}")
        for i, one in enumerate(statement.selected_columns)
    ]
    joined = statement.with_only_columns(*columns, maintain_column_froms=True)
    return joined.outerjoin(numbers, numbers.c.text == name)
