"""Statements that are each alone, sent to PostgreSQL by the driver itself, over a connection of the engine's pool.

SQLAlchemy puts each into words once. What it does around sending one takes three times what the driver takes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, cast

from sqlalchemy import Dialect, Select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeEngine

from app.dialect import prepared
from app.extensions import db

Processes = tuple[tuple[Any, Callable[[Any], Any]], ...]  # each with the parameter or the place it is for


class Single:
    """A connection in autocommit: PostgreSQL is spared BEGIN and ROLLBACK, two of three round trips. `close` gives it
    back, and nothing can be asked over it then.

    What the database refuses is raised as SQLAlchemy's error, and listeners of `before_cursor_execute` are told of each
    statement.
    """

    def __init__(self) -> None:
        self._engine = db.engine
        self._errors = self._engine.dialect.loaded_dbapi.Error
        try:
            self._pooled = self._engine.raw_connection()
            self._driver = cast(Any, self._pooled.driver_connection)
            self._driver.autocommit = True  # until it is laid down, see connections.py
            prepared.begin(self._driver, only_reads=False)
        except self._errors as error:
            self._raise(error, None, None)

    def rows(self, statement: Select[Any], values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """The statement is one of the few that last as long as the process. It selects columns that have a type, which
        the driver need not be asked for, and no parameter of it stands for several."""
        words = _in_words(statement, self._engine.dialect)
        sent = words.sent(values)
        try:
            cursor = self._driver.cursor()
            for listener in self._engine.dispatch.before_cursor_execute:
                listener(None, cursor, words.text, sent, None, False)
            rows = cursor.execute(words.text, sent).fetchall()
        except self._errors as error:
            self._raise(error, words.text, sent)
        except Exception:  # of something that cannot be sent, or be read
            raise
        except BaseException as error:  # what the database was about to say would be taken for another answer
            self._pooled.invalidate(error)
            raise
        return words.got(rows)

    def close(self) -> None:
        self._driver = None
        self._pooled.close()

    def _raise(self, error: Any, text: str | None, sent: Any) -> NoReturn:
        dialect = self._engine.dialect
        is_lost = text is not None and dialect.is_disconnect(error, self._driver, None)
        if is_lost:  # as are others of its age; SQLAlchemy does the same
            self._engine.pool._invalidate(self._pooled, error)
        raise DBAPIError.instance(
            text,
            sent,
            error,
            self._errors,
            hide_parameters=self._engine.hide_parameters,
            connection_invalidated=is_lost,
            dialect=dialect,
        ) from error


@dataclass(frozen=True)
class _Words:
    text: str
    fixed: Mapping[str, Any]
    processes: Processes
    result_processes: Processes

    def sent(self, values: Mapping[str, Any]) -> dict[str, Any]:
        sent = {**self.fixed, **values}
        for name, process in self.processes:
            sent[name] = process(sent[name])
        return sent

    def got(self, rows: list[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        if not self.result_processes:
            return rows
        made = [list(row) for row in rows]
        for row in made:
            for place, process in self.result_processes:
                row[place] = process(row[place])
        return [tuple(row) for row in made]


@lru_cache(64)
def _in_words(statement: Select[Any], dialect: Dialect) -> _Words:
    compiled: Any = statement.compile(dialect=dialect)
    if compiled.post_compile_params:
        raise TypeError("a parameter that stands for several is put into words each time")
    sent = ((name, _process(one.type, dialect, "bind")) for one, name in compiled.bind_names.items())
    got = enumerate(_process(one.type, dialect, "result") for one in statement.selected_columns)
    return _Words(
        compiled.string,
        {name: compiled.params[name] for one, name in compiled.bind_names.items() if not one.required},
        tuple((name, process) for name, process in sent if process),
        tuple((place, process) for place, process in got if process),
    )


def _process(kind: TypeEngine[Any], dialect: Dialect, way: str) -> Callable[[Any], Any] | None:
    own = kind.dialect_impl(dialect)
    return own.bind_processor(dialect) if way == "bind" else own.result_processor(dialect, None)
