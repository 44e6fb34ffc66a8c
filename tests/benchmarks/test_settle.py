"""What was written is settled before lists of it are timed, as each database needs it."""

from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event

from benchmarks.lists import settle
from tests.support.database import KIND, Database


def test_nothing_is_left_to_be_counted_or_written(database: Database, tmp_path: Path) -> None:
    """Of SQLite in a file of its own: what it counts stays in the file, and every plan of later tests goes by it."""
    url = database.url if KIND == "postgresql" else f"sqlite:///{tmp_path / 'own.sqlite'}"
    said: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    engine = create_engine(url)
    event.listen(engine, "before_cursor_execute", hear)
    settle(engine)
    engine.dispose()
    assert said == (["VACUUM ANALYZE", "CHECKPOINT"] if KIND == "postgresql" else ["ANALYZE"])
