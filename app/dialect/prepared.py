"""Reading that leaves the prepared statements of a PostgreSQL connection as they are.

The driver prepares a statement that it has sent five times, and forgets all of a connection at each ROLLBACK, as an
object may have gone with it. Whoever reads ended the transaction so, and the few statements that are asked alone and
again and again (single.py) were read and planned anew after every page: a kept overlay takes 0.8 of the time without
that. So a transaction that only reads is READ ONLY, which PostgreSQL holds it to, and ends with COMMIT.
"""

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

PREPARED_AFTER = 5
"""Executions of a statement, as the driver has it."""


class Connection(psycopg.Connection[Any]):
    """As the driver makes it, but for what ends a transaction that could not change anything."""

    def rollback(self) -> None:
        if self.read_only and self.pgconn.transaction_status == TransactionStatus.INTRANS:
            self.commit()
        else:  # it may have written, a statement of it failed, or there is none
            super().rollback()


def begin(connection: Connection, only_reads: bool) -> None:
    """How the transaction begins that the next statement opens; where it may write, as the server has it.

    One that only reads prepares nothing itself: how lists are read depends on their values and on what is set for the
    transaction, and a plan that is kept would know neither.
    """
    wanted = only_reads or None
    if connection.read_only is not wanted:
        connection.read_only = wanted
        connection.prepare_threshold = None if only_reads else PREPARED_AFTER
