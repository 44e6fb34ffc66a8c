"""Very many rows as arrays, one for each column."""

from collections.abc import Mapping
from contextlib import closing
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import REAL, ColumnElement, Connection, Integer, LargeBinary, Select, cast, func, literal

from app.dialect.reading import alone
from app.extensions import db

Columns: TypeAlias = dict[str, NDArray[Any]]
ID = np.dtype("V16")
"""Of a column of ids: their bytes."""
ROWS_AT_ONCE = 2**16  # go into one value when very many are read


class _Places(dict[str | None, int]):
    """Texts, numbered as they come."""

    def __missing__(self, text: str | None) -> int:
        self[text] = place = len(self)
        return place


def read_columns(
    statement: Select[Any], values: Mapping[str, Any], name: str, dtype: np.dtype[np.void], *, many: bool
) -> tuple[Columns, tuple[str | None, ...]]:
    """The columns of a statement as arrays, named and typed as the dtype says, a million rows in two seconds, in any
    order; no column may be NULL but `name`.

    `name` is the statement's column of text: its array has its place in the tuple of texts that comes with it. The
    statement is made once, with `values` for its parameters. Read over a connection of its own, as the database is at
    one moment. Where there may be `many` rows, they come in parts by their first column, which has whole numbers.
    """
    places = _Places()
    with _connection(many) as connection:
        if connection.dialect.name == "sqlite":
            statement = _with_places(statement, name)
            return _read_sqlite(connection, statement, values, dtype, places), tuple(places)
        statement = _packed(statement, name, dtype, many)
        return _read_postgresql(connection, statement, values, dtype, places), tuple(places)


def _connection(many: bool) -> Connection:
    """PostgreSQL sends each part of many rows when it is asked for, by a cursor, which takes a transaction: all the
    texts at once are as much memory as the arrays, or ten times that where they are long."""
    if many and db.engine.dialect.name == "postgresql":
        return db.engine.connect().execution_options(stream_results=True, max_row_buffer=1)
    return alone()


def _read_sqlite(
    connection: Connection,
    statement: Select[Any],
    values: Mapping[str, Any],
    dtype: np.dtype[np.void],
    places: _Places,
) -> Columns:
    """The driver's rows go straight into an array; the texts are numbered by a function that SQLite calls."""
    driver: Any = connection.connection.driver_connection
    driver.create_function("place_of", 1, places.__getitem__)
    names = dtype.names or ()
    sent_as = np.dtype([(one, "S32" if dtype[one] == ID else dtype[one].str) for one in names])
    with closing(connection.execute(statement, values)) as result:
        sent: Any = result.cursor
        rows = np.fromiter(sent, dtype=sent_as)
    driver.create_function("place_of", 1, None)
    return {one: _read_digits(rows[one]) if dtype[one] == ID else rows[one] for one in names}


def _read_digits(ids: NDArray[np.bytes_]) -> NDArray[np.void]:
    return np.frombuffer(bytes.fromhex(ids.tobytes().decode()), dtype=ID)


@cache
def _with_places(statement: Select[Any], name: str) -> Select[Any]:
    columns = (func.place_of(one) if one.name == name else one for one in statement.selected_columns)
    return statement.with_only_columns(*columns)


def _read_postgresql(
    connection: Connection,
    statement: Select[Any],
    values: Mapping[str, Any],
    dtype: np.dtype[np.void],
    places: _Places,
) -> Columns:
    """Each column comes as one value of bytes that the database puts together, that of texts as one array of them.

    A row of `COPY … (FORMAT BINARY)` came by itself: of 500,000 in 3.1 s, 1 s of it ours. So they take 1.0 and 0.1.
    With all columns in one value, and the texts asked for before and numbered by a join, 2,000 took twice as long.
    """
    columns = {one: [np.empty(0, dtype[one])] for one in dtype.names or ()}
    with closing(connection.execute(statement, values)) as result:
        for part in result:
            for one, value in zip(columns, part, strict=True):
                columns[one].append(_read_part(value, dtype[one], places))
    return {one: np.concatenate(parts) for one, parts in columns.items()}


def _read_part(part: list[str | None] | bytes | None, dtype: np.dtype[Any], places: _Places) -> NDArray[Any]:
    """None is what no rows are together."""
    if isinstance(part, list):
        return np.fromiter(map(places.__getitem__, part), dtype)
    return np.frombuffer(part or b"", dtype.newbyteorder(">")).astype(dtype)


@cache
def _packed(statement: Select[Any], name: str, dtype: np.dtype[np.void], many: bool) -> Select[Any]:
    """The statement with those values for its columns, made once."""
    columns = statement.selected_columns
    sent: list[Any] = [
        func.array_agg(one) if one.name == name else _joined(one, dtype[n].kind)
        for n, one in enumerate(columns)
    ]
    packed = statement.with_only_columns(*sent)
    # one value takes 1 GB at the most, and twice its bytes on its way here; few rows need not be sorted for that
    return packed.group_by(columns[0] // ROWS_AT_ONCE) if many else packed


def _joined(column: ColumnElement[Any], kind: str) -> ColumnElement[bytes]:
    """The bytes of all values, big end first."""
    if kind == "V":
        sent = func.uuid_send(column)
    else:
        sent = func.int4send(cast(column, Integer)) if kind == "i" else func.float4send(cast(column, REAL))
    return func.string_agg(sent, literal(b"", LargeBinary), type_=LargeBinary)
