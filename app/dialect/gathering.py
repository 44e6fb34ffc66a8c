"""What belongs to each row of a page, as a part of one statement."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    FromClause,
    Label,
    Select,
    String,
    func,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by

from app.extensions import db


class Told(NamedTuple):
    """What is told of some rows: totals, and the first so many texts in an order, as a column of this name: a list, or
    None where there are none."""

    totals: Sequence[Label[Any]]
    name: str
    text: ColumnElement[str]
    order: Sequence[ColumnElement[Any]]
    most: Any


def with_each(
    columns: Sequence[Any],
    start: FromClause,
    of_it: Select[*tuple[Any, ...]],
    tell: Callable[[Any], Told],
) -> Select[Any]:
    """These columns of `start`, and for each row of it what `tell` makes of the columns of `of_it`, which is correlated
    with it.

    For PostgreSQL they are aggregates side by side, so that all is read once: the cards of a page take 2.9 ms, by a
    window over the analyses of all its images 3.64. SQLite, which has no LATERAL, and an order in an aggregate only
    since 3.44, is asked for each.
    """
    if db.engine.dialect.name == "sqlite":
        some = of_it.subquery()
        told = tell(some.c)
        first = select(told.text.label("text")).order_by(*told.order).limit(told.most).subquery()
        listed = as_list(first.c.text).scalar_subquery().label(told.name)
        each = [select(one).select_from(some).scalar_subquery().label(one.name) for one in told.totals]
        return select(*columns, *each, listed).select_from(start)
    # with an OFFSET it finds them first: for the order in the aggregate it would walk along all by time instead
    told = tell(of_it.offset(0).subquery().c)
    every = func.array_agg(aggregate_order_by(told.text, *told.order), type_=ARRAY(String))
    both = select(*told.totals, every[1 : told.most].label(told.name)).lateral()
    return select(*columns, *both.c).select_from(start.join(both, true()))


def as_list(column: ColumnElement[str]) -> Select[Any]:
    """The texts of a column as one list; None or an empty one where there are none."""
    if db.engine.dialect.name == "sqlite":
        return select(func.json_group_array(column, type_=JSON))
    return select(func.array_agg(column, type_=ARRAY(String)))
