"""The migrations, on the database of this run: one head, the same tables as the models, and a way back."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import Connection, MetaData, column, event, insert, inspect, select, table, text

from app import create_app, dialect
from app.extensions import db
from app.models import Analysis, Group, Image, Project
from app.services import groups
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


# SQLAlchemy reads no index of an expression back from SQLite; that of PostgreSQL is compared
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_upgrading_an_empty_database_gives_the_models(empty: Flask) -> None:
    with empty.app_context():
        flask_migrate.upgrade(directory=str(DIRECTORY))
        with db.engine.connect() as connection:
            known = empty.extensions["migrate"].configure_args
            context = MigrationContext.configure(connection, opts={"compare_type": True, **known})
            assert compare_metadata(context, db.metadata) == []
        assert tables() == {*db.metadata.tables, "alembic_version"}


def test_downgrading_takes_everything_away_and_upgrading_brings_it_back(empty: Flask) -> None:
    with empty.app_context():
        flask_migrate.upgrade(directory=str(DIRECTORY))
        flask_migrate.downgrade(directory=str(DIRECTORY), revision="base")
        assert tables() <= {"alembic_version"}
        flask_migrate.upgrade(directory=str(DIRECTORY))
        assert tables() == {*db.metadata.tables, "alembic_version"}


# --- tables with rows in them ------------------------------------------------------------------------------------

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
AT_0006 = {
    Project: ("id", "name", "description", "created_at"),
    Image: (
        *("id", "project_id", "filename", "content_type", "size_bytes", "sha256", "width", "height"),
        *("exif_orientation", "storage_path", "created_at", "deleted_at"),
    ),
    Analysis: (
        *("id", "image_id", "model_name", "model_version", "status", "priority", "group_id", "created_at"),
        *("updated_at", "annotation_count", "next_position", "revision", "deleted_at"),
    ),
}


def add(model: type[Any], number: int, **given: Any) -> None:
    """A row as the tables had it at 0006; what is not given is true to its type."""
    columns = [inspect(model).local_table.c[name] for name in AT_0006[model]]
    plain = {int: 1, str: "x", UUID: UUID(int=number), object: FIRST + timedelta(hours=number)}
    values = {one.name: None if one.nullable else plain[one.type.python_type] for one in columns}
    there = table(model.__tablename__, *(column(one.name, one.type) for one in columns))
    with db.engine.begin() as connection:
        connection.execute(insert(there).values(**values | given))


def dump() -> dict[str, list[str]]:
    """Every row of every table, as the database has them, whatever the models say."""
    metadata = MetaData()
    with db.engine.connect() as connection:
        metadata.reflect(connection)
        return {
            name: sorted(repr(row._mapping) for row in connection.execute(select(found)))
            for name, found in metadata.tables.items()
            if name != "alembic_version"
        }


def test_analyses_find_their_groups_and_leave_them_again(empty: Flask) -> None:
    """Down and up again nothing else of the rows is another."""
    named = ["night", "night", None, "", "gone", "gone"]
    deleted = [FIRST, None, None, None, FIRST, FIRST]
    with empty.app_context():
        flask_migrate.upgrade(directory=str(DIRECTORY), revision="0006")
        for project in (1, 2):
            add(Project, project)
            for image in (project * 10, project * 10 + 1):
                gone = {"deleted_at": FIRST} if image % 10 else {}
                add(Image, image, project_id=UUID(int=project), **gone)
                for n, (name, moment) in enumerate(zip(named, deleted, strict=True)):
                    columns = {"status": "queued", "group_id": name, "deleted_at": moment}
                    add(Analysis, image * 10 + n, image_id=UUID(int=image), **columns)
        before = dump()
        assert len(before["ml_analyses"]) == 24

        for _ in range(2):
            flask_migrate.upgrade(directory=str(DIRECTORY))
            made = {
                (one.project_id.int, one.group_id): (one.id, one.created_at)
                for one in db.session.scalars(select(Group))
            }
            assert set(made) == {(project, name) for project in (1, 2) for name in ("night", "", "gone")}
            for project in (1, 2):
                firsts = [FIRST + timedelta(hours=project * 100 + n) for n in (0, 3, 4)]
                assert [made[project, name][1] for name in ("night", "", "gone")] == firsts
            for one in db.session.scalars(select(Analysis)):
                key = (one.id.int // 100, one.group_id)
                assert one.group_row_id == (made[key][0] if one.group_id is not None else None)
                assert (one.project_id, one.image_created_at) == (one.image.project_id, one.image.created_at)
            counts = groups.counts([made[1, name][0] for name in ("night", "", "gone")])
            assert [one.total for one in counts.values()] == [1, 1, 0]
            db.session.rollback()

            flask_migrate.downgrade(directory=str(DIRECTORY), revision="0006")
            assert dump() == before


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

    def test_a_database_without_trigrams_has_all_but_their_index(
        empty: Flask, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whoever owns the tables and not the database may not create the extension."""
        role = f"loupe_test_{os.getpid()}_tables"
        become = partial(_become, role)
        with empty.app_context():
            with db.engine.begin() as connection:
                connection.execute(text(f"CREATE ROLE {role}"))
                connection.execute(text(f"GRANT ALL ON SCHEMA public TO {role}"))
            event.listen(db.engine, "begin", become)
            try:
                flask_migrate.upgrade(directory=str(DIRECTORY))
            finally:
                event.remove(db.engine, "begin", become)
                with db.engine.begin() as connection:
                    found = {index["name"] for index in inspect(connection).get_indexes("data_instances")}
                    connection.execute(text(f"DROP OWNED BY {role}"))
                    connection.execute(text(f"DROP ROLE {role}"))
        assert "ix_data_instances_deleted" in found and "ix_data_instances_name_parts" not in found
        assert "no index for parts of file names" in caplog.text

    def test_an_index_that_was_made_before_the_upgrade_is_taken_as_it_is(
        empty: Flask, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = "ON data_instances USING gin (filename gin_trgm_ops) WHERE deleted_at IS NULL"
        with empty.app_context():
            flask_migrate.upgrade(directory=str(DIRECTORY), revision="0013")
            with db.engine.begin() as connection:
                connection.execute(text("CREATE EXTENSION pg_trgm"))
                connection.execute(text(f"CREATE INDEX ix_data_instances_name_parts {made}"))
            flask_migrate.upgrade(directory=str(DIRECTORY), revision="0014")
            with db.engine.connect() as connection:
                assert MigrationContext.configure(connection).get_current_revision() == "0014"
        assert "no index for parts" not in caplog.text

    def _become(role: str, connection: Connection) -> None:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
