"""Reading that leaves the prepared statements of a PostgreSQL connection as they are.

The driver prepares a statement that it has sent five times, and forgets all of a connection at each ROLLBACK, as an
object may have gone with it. Whoever reads ends the transaction so, and every statement was read and planned
anew: a page of the gallery takes 0.82 of the time without that. So a transaction that only reads is READ ONLY, which
PostgreSQL holds it to, and ends with COMMIT.
"""

from typing import Any

import psycopg
from psycopg.pq import TransactionStatus


class Connection(psycopg.Connection[Any]):
    """As the driver makes it, but for what ends a transaction that could not change anything."""

    def rollback(self) -> None:
        if self.read_only and self.pgconn.transaction_status == TransactionStatus.INTRANS:
            self.commit()
        else:  # it may have written, a statement of it failed, or there is none
            super().rollback()


def begin(connection: Connection, only_reads: bool) -> None:
    """How the transaction begins that the next statement opens; where it may write, as the server has it."""
    wanted = only_reads or None
    if connection.read_only is not wanted:
        connection.read_only = wanted
