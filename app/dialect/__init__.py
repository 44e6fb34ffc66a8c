"""Where SQLite and PostgreSQL differ, and nowhere else: connections, how a transaction begins, sending and reading many
rows, the clock of leases, what is tried again."""

from app.dialect.columns import read_columns
from app.dialect.connections import AT_ONE_MOMENT, READING, TIME_LIMITS, lift_time_limits, prepare, probe
from app.dialect.gathering import Told, as_list, with_each
from app.dialect.reading import (
    derived,
    found_by_key,
    in_each,
    is_beyond,
    is_none_of,
    is_one_of,
    keep_to_order,
    look_for_text,
    octets,
    parts_in_order,
    prefer_indexes,
    read_often,
    rows_in_order,
    table_of,
)
from app.dialect.sending import insert_missing, insert_rows
from app.dialect.single import Single
from app.dialect.swap import Swap, version_of
from app.dialect.transactions import RetryingFlask, clock, clock_column, hold

__all__ = [
    "AT_ONE_MOMENT",
    "READING",
    "TIME_LIMITS",
    "RetryingFlask",
    "Single",
    "Swap",
    "Told",
    "as_list",
    "clock",
    "clock_column",
    "derived",
    "found_by_key",
    "hold",
    "in_each",
    "insert_missing",
    "insert_rows",
    "is_beyond",
    "is_none_of",
    "is_one_of",
    "keep_to_order",
    "lift_time_limits",
    "look_for_text",
    "octets",
    "parts_in_order",
    "prefer_indexes",
    "prepare",
    "probe",
    "read_columns",
    "read_often",
    "rows_in_order",
    "table_of",
    "version_of",
    "with_each",
]
