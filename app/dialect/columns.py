"""Very many rows as one array."""

from collections.abc import Mapping
from contextlib import closing
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    ARRAY,
    REAL,
    ColumnElement,
    Connection,
    Integer,
    LargeBinary,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal,
    select,
)

from app.dialect.connections import AT_ONE_MOMENT, SINGLE
from app.extensions import db

Rows: TypeAlias = NDArray[np.void]
ROWS_AT_ONCE = 2**16  # go into one value when columns are read


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
    packed = select(part).group_by(rows.c[0] // ROWS_AT_ONCE)
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
