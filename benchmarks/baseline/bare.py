"""What every route of the bare baseline has: the database, the signature, JSON."""

import hashlib
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Response, abort, request
from sqlalchemy import Engine, create_engine, event

AUTOCOMMIT = (
    "X-Autocommit"  # the header of a request whose change takes one round trip to PostgreSQL, not three
)
# what SQLite has under Loupe: how it keeps its log, what it syncs, how long it waits for another writer
PRAGMAS = ("busy_timeout=15000", "journal_mode=WAL", "synchronous=NORMAL")


@dataclass(frozen=True)
class Bare:
    """`mark` is how the driver writes a parameter. Of the engine nothing is used but its pool."""

    engine: Engine
    mark: str
    secret: bytes

    @classmethod
    def from_environ(cls) -> "Bare":
        engine = create_engine(os.environ["DATABASE_URL"], pool_reset_on_return=None)
        is_sqlite = engine.dialect.name == "sqlite"
        event.listen(engine, "connect", _set_up_sqlite if is_sqlite else _set_up_postgresql)
        return cls(engine, "?" if is_sqlite else "%s", os.environ["ML_CALLBACK_HMAC_SECRET"].encode())

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """A connection as the driver has it. Each statement is its own transaction, without BEGIN or COMMIT."""
        pooled = self.engine.raw_connection()
        try:
            yield pooled.driver_connection
        finally:
            pooled.close()

    @contextmanager
    def changing(self) -> Iterator[Any]:
        """The same in a transaction, which the driver of PostgreSQL begins unless it is told not to: three round trips.
        In autocommit where the request says so; to SQLite a statement by itself is one, and the quicker way."""
        alone = self.engine.dialect.name == "sqlite" or AUTOCOMMIT in request.headers
        with self.connected() as connection, nullcontext() if alone else connection.transaction():
            yield connection

    def body(self) -> Any:
        """The parsed body, once its signature is checked."""
        raw, moment = request.get_data(), request.headers["X-ML-Timestamp"].encode()
        right = "sha256=" + hmac.new(self.secret, moment + b"." + raw, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(right, request.headers["X-ML-Signature"]):
            abort(401)
        return orjson.loads(raw)


def answer(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), content_type="application/json")


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # which is how its driver says autocommit
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _set_up_postgresql(connection: Any, _record: object) -> None:
    connection.autocommit = True
    connection.execute("SET timezone = 'UTC'")  # times are sent without a zone
