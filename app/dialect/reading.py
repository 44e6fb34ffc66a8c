"""Statements that find their rows along an index on both of them, and rows as the driver has them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Connection,
    Select,
    SQLColumnExpression,
    String,
    Subquery,
    TableValuedAlias,
    and_,
    any_,
    bindparam,
    cast,
    func,
    select,
    true,
    tuple_,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import FunctionElement

from app.dialect.connections import ALONE
from app.dialect.single import Single
from app.extensions import db


def prefer_indexes(connection: Connection) -> None:
    """For the rest of the transaction PostgreSQL sorts nothing that an index has in order.

    It does so where it takes what is left for little, as it does with an analysis that came since it counted the table:
    each page of 1,000 then read all of the 100,000 that were left, in 120 ms instead of 2.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL enable_sort = off")


def keep_to_order() -> None:
    """For the rest of the transaction PostgreSQL reads along an index in its order, and not all that it finds there.

    It does the latter where it takes a project for small, of which it knows nothing (migration 0011). A page of a
    project of 20,000 analyses then read all that was in a status. A sort that is needed all the same is
    done, and up to version 17 counts as so dear that it would be compiled first.
    """
    _set_locally("enable_sort = off", "enable_bitmapscan = off", "jit = off")


def look_for_text(*, gathers: bool) -> None:
    """For the rest of the transaction PostgreSQL looks for a text among the names of a project alone.

    For the first thousand of a small project it would read the whole table, where they may all be at the end: a
    text that is common took 37 ms instead of 4. Where it `gathers`, it may also take the index of the parts of all
    names, which is in no order (migration 0014).
    """
    gathering = "DEFAULT" if gathers else "off"
    _set_locally("enable_sort = off", "enable_seqscan = off", f"enable_bitmapscan = {gathering}", "jit = off")


def _set_locally(*settings: str) -> None:
    if db.engine.dialect.name == "postgresql":
        told = "; ".join(f"SET LOCAL {one}" for one in settings)
        db.session.connection().exec_driver_sql(told)


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


def alone() -> Connection:
    """A connection beside the session's, whose statements are each alone. Whoever asks for it closes it."""
    connection = db.engine.connect()
    try:
        return connection.execution_options(**ALONE[connection.dialect.name])
    except BaseException:  # a connection that was lost just now
        connection.close()
        raise


def read_often(statement: Select[Any], values: Mapping[str, Any]) -> Sequence[Sequence[Any]]:
    """The rows of one of the few statements that last as long as the process and are asked again and again. It needs
    nothing of the session's transaction and is not seen by it."""
    if db.engine.dialect.name == "sqlite":
        with alone() as connection:
            return connection.execute(statement, values).all()
    with closing(Single()) as connection:
        return connection.rows(statement, values)


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


def in_each(read: Callable[[Any], Select[Any]], texts: Sequence[str]) -> Subquery:
    """What `read` selects for each of these texts, one after the other; it may have an order and a LIMIT.

    PostgreSQL plans the one statement for all: a page of a list in any status takes 2.1 instead of 5.0 ms, most of
    which went into the plans of five. SQLite, which has no LATERAL, puts them together.
    """
    if db.engine.dialect.name == "sqlite":
        return union_all(*(select(read(one).subquery()) for one in texts)).subquery()
    each = table_of(texts)
    part = read(each.c.value).correlate(each).lateral()
    return select(part).select_from(each.join(part, true())).subquery()


def table_of(texts: Sequence[str]) -> TableValuedAlias:
    """A row for each of these texts, with the column `value`. SQLAlchemy compiles VALUES anew every time."""
    if db.engine.dialect.name == "sqlite":
        return func.json_each(type_coerce(list(texts), JSON)).table_valued("value")
    return func.unnest(cast(list(texts), ARRAY(String))).table_valued("value").render_derived()


def is_beyond(
    key: Any, row_id: Any, place: ColumnElement[Any], place_id: ColumnElement[Any], *, below: bool
) -> ColumnElement[bool]:
    """Whether the two are more than those of a place, or `below` it, as they stand in an index.

    SQLite enters an index of an expression at a value, but not at a row of values, and so is told the value too.
    Without that the last page by name reads all that comes before: 100,000 images in 113 ms instead of 0.8.
    """
    here, there = tuple_(key, row_id), tuple_(place, place_id)
    beyond = here < there if below else here > there
    if db.engine.dialect.name == "sqlite" and isinstance(key, FunctionElement):
        return and_(key <= place if below else key >= place, beyond)
    return beyond


def is_one_of(key: InstrumentedAttribute[Any], name: str) -> ColumnElement[bool]:
    """Whether a key is one of the list that is the parameter of this name.

    To PostgreSQL they go as one array: psycopg parses a statement of more than 50 parameters anew every time. What a
    statement about 60 images took of Python went from 1.9 to 1.5 ms.
    """
    if db.engine.dialect.name == "sqlite":
        return key.in_(bindparam(name, expanding=True))
    return key == any_(bindparam(name, type_=ARRAY(key.type)))


def is_none_of(
    value: SQLColumnExpression[Any], key: SQLColumnExpression[Any], *few: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether no row that is one of those few has this key.

    PostgreSQL makes a join of an EXISTS, but would look through a list of many for every row. SQLite makes a list once,
    but would ask an EXISTS for every row. A group of 100,000 analyses, where 200 images were deleted, is counted in 20
    instead of 21 ms on PostgreSQL (one of 20,000 in 7 instead of 13 where 60,000 were), in 46 instead of 82 on SQLite.
    """
    if db.engine.dialect.name == "sqlite":
        return value.not_in(select(key).where(*few))
    return ~select(key).where(key == value, *few).exists()
