"""How the database means to read, found out by asking it."""

from collections.abc import Callable
from typing import Any

from flask import Flask
from sqlalchemy import event

from app.extensions import db


def refresh_statistics(app: Flask) -> None:
    """What any database knows of its tables after a while, without what tests before have left in them."""
    with app.app_context(), db.engine.connect() as connection:
        how = "ANALYZE" if connection.dialect.name == "sqlite" else "VACUUM (ANALYZE)"
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(how)


def plan_of(app: Flask, read: Callable[[], object]) -> str:
    """The plan for the last statement that `read` executes, as text, with what it set for its transaction."""
    return plans_of(app, read)[-1]


def plans_of(app: Flask, read: Callable[[], object]) -> list[str]:
    """The same for each of its statements."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", note)
        try:
            read()
        finally:
            event.remove(db.engine, "before_cursor_execute", note)
        db.session.rollback()
        how = "EXPLAIN QUERY PLAN" if db.engine.dialect.name == "sqlite" else "EXPLAIN"
        plans: list[str] = []
        with db.engine.connect() as connection:
            for statement, parameters in asked:
                if statement.startswith("SET LOCAL"):
                    connection.exec_driver_sql(statement)
                elif not statement.startswith("BEGIN"):
                    lines = connection.exec_driver_sql(f"{how} {statement}", parameters).all()
                    plans.append("\n".join(str(line[-1]) for line in lines))
    return plans


def check_walks(plan: str, table: str, index: str) -> None:
    """It goes along this index, and neither sorts nor reads the whole table."""
    assert index in plan, plan
    for bad in ("TEMP B-TREE", "Sort", f"Seq Scan on {table}", f"SCAN {table}\n", "Bitmap"):
        assert bad not in f"{plan}\n", plan
