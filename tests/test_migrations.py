"""The migrations, on the database of this run: one head, the same tables as the models, and a way back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Connection, event, inspect, text

from app import create_app, dialect
from app.extensions import db
from tests.conftest import ENVIRON
from tests.support.database import KIND, Server

DIRECTORY = Path(__file__).parent.parent / "migrations"


@pytest.fixture
def empty(database_server: Server, tmp_path: Path) -> Iterator[Flask]:
    """An app over a database without a single table."""
    url = database_server.create("migrations")
    app = create_app({**ENVIRON, "DATABASE_URL": url}, instance_path=str(tmp_path))
    yield app
    with app.app_context():
        db.engine.dispose()
    database_server.drop("migrations")


def tables() -> set[str]:
    return set(inspect(db.engine).get_table_names())


def test_there_is_one_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(DIRECTORY))
    assert len(ScriptDirectory.from_config(config).get_heads()) == 1


def test_upgrading_an_empty_database_gives_the_models(empty: Flask) -> None:
    with empty.app_context():
        flask_migrate.upgrade(directory=str(DIRECTORY))
        with db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, db.metadata) == []
        assert tables() == {*db.metadata.tables, "alembic_version"}


def test_downgrading_takes_everything_away_and_upgrading_brings_it_back(empty: Flask) -> None:
    with empty.app_context():
        flask_migrate.upgrade(directory=str(DIRECTORY))
        flask_migrate.downgrade(directory=str(DIRECTORY), revision="base")
        assert tables() <= {"alembic_version"}
        flask_migrate.upgrade(directory=str(DIRECTORY))
        assert tables() == {*db.metadata.tables, "alembic_version"}


if KIND == "postgresql":  # SQLite limits no statement's time

    def test_a_migration_takes_as_long_as_it_takes(empty: Flask) -> None:
        """What ends the sessions of others in time does not end it, but for the wait for a lock; their limits stay."""
        asked = ("lock_timeout", *dialect.TIME_LIMITS)
        statement = text("SELECT name, setting FROM pg_settings WHERE name = ANY(:names)")

        def limits(connection: Connection) -> dict[str, str]:
            rows = connection.execute(statement, {"names": list(asked)}).all()
            return {row.name: row.setting for row in rows}

        def note(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
            if "CREATE TABLE analysis_groups" in statement:
                seen.append(limits(connection))

        seen: list[dict[str, str]] = []
        with empty.app_context():
            with db.engine.begin() as connection:
                for name in limits(connection):
                    connection.execute(text(f'ALTER DATABASE "{db.engine.url.database}" SET {name} = 29000'))
            db.engine.dispose()
            event.listen(db.engine, "after_cursor_execute", note)
            flask_migrate.upgrade(directory=str(DIRECTORY))
            with db.engine.connect() as connection:
                of_others = limits(connection)
        expected = dict.fromkeys(of_others, "29000") | {"lock_timeout": "5000", "statement_timeout": "30000"}
        assert of_others == expected
        assert seen == [dict.fromkeys(of_others, "0") | {"lock_timeout": "5000"}]
