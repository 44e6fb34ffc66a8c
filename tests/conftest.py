"""The fixtures: databases, apps, the cast, a fixed clock, S3, a served Loupe and a browser.

Which tests run on which database, and that CI lets none be skipped, is in tests/support/selection.py.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.cast", "tests.factories", "tests.html", "tests.support")
pytest_plugins = ["tests.support.selection"]

import requests
from flask import Flask
from playwright.sync_api import Browser, Page
from sqlalchemy import event

from app import create_app
from app.extensions import db
from app.models import Analysis, Image, Project
from tests.cast import SECRET, Person, Pipeline, pipeline_in_process
from tests.factories import World
from tests.fakes import FixedClock
from tests.html import LintClient
from tests.support import browser as browsers
from tests.support import database as databases
from tests.support import s3 as s3_server
from tests.support import server as servers
from tests.support.selection import IN_CI

collect_ignore = [] if databases.KIND == "postgresql" else ["test_prepared.py", "test_single.py"]
# the files of tests are thrown away, but each one is synced first: in memory, where a machine has so many bytes of it
# to spare, a third of the time goes
MEMORY, ROOM = Path("/dev/shm"), 8 << 30
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)
ENVIRON = {
    "SECRET_KEY": "test-secret-key-0123456789abcdef",
    "ML_CALLBACK_HMAC_SECRET": SECRET,
    # the suite asks more within a minute than pipelines do
    "RATE_LIMIT_PIPELINE_PER_IP": "1000000/minute",
    "RATE_LIMIT_PIPELINE_PER_KEY": "1000000/minute",
    "ML_PIPELINE_PULL_ENABLED": "true",
}

# --- the database ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def instance() -> Iterator[Path]:
    """An instance folder with nothing in it."""
    with tempfile.TemporaryDirectory(prefix="loupe-instance-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def database_server() -> Iterator[databases.Server]:
    with databases.running_server() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(database_server: databases.Server, instance: Path) -> Iterator[databases.Database]:
    with databases.migrated(database_server, "main", ENVIRON, instance) as database:
        yield database


@pytest.fixture
def database(migrated_database: databases.Database, instance: Path) -> Iterator[databases.Database]:
    """Empty at the start of each test."""
    yield migrated_database
    migrated_database.clear()
    remove_files(instance)


def remove_files(instance: Path) -> None:
    for file in (instance / "storage").rglob("*"):
        if file.is_file():
            file.unlink()


# --- apps --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def apps() -> Iterator[dict[frozenset[tuple[str, str]], Flask]]:
    """Every app made so far, by its settings: making one takes longer than most tests."""
    made: dict[frozenset[tuple[str, str]], Flask] = {}
    yield made
    for app in made.values():
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def make_app(
    apps: dict[frozenset[tuple[str, str]], Flask], database: databases.Database, instance: Path
) -> Iterator[Callable[..., Flask]]:
    """make_app(ML_ANALYSIS_ENABLED="false", …): an app with these settings, on the database of the test.

    Apps are used again, so a test that changes the configuration or the extensions of one finds them put back.
    """
    used: list[tuple[Flask, dict[str, Any], dict[str, Any]]] = []

    def make(**settings: str) -> Flask:
        environ = {**ENVIRON, "DATABASE_URL": database.url, **settings}
        key = frozenset(environ.items())
        if key not in apps:
            apps[key] = create_app(environ, instance_path=str(instance))
            apps[key].test_client_class = LintClient
        app = apps[key]
        used.append((app, dict(app.config), dict(app.extensions)))
        return app

    yield make
    for app, config, extensions in reversed(used):
        app.config.clear()
        app.config.update(config)
        app.extensions.update(extensions)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> LintClient:
    """A browser that nobody has signed in with."""
    return LintClient(app, app.response_class)


@pytest.fixture
def clock(app: Flask) -> FixedClock:
    """The app's clock, standing still at 2026-03-04 12:00 UTC: clock.set(moment), clock.advance(seconds)."""
    fixed = FixedClock()
    app.extensions["clock"] = fixed
    return fixed


@pytest.fixture
def count_queries(app: Flask) -> Callable[[], contextlib.AbstractContextManager[list[str]]]:
    """with count_queries() as statements: …   then len(statements)."""

    @contextlib.contextmanager
    def counting() -> Iterator[list[str]]:
        statements: list[str] = []

        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            statements.append(statement)

        with app.app_context():
            engine = db.engine
        event.listen(engine, "before_cursor_execute", note)
        try:
            yield statements
        finally:
            event.remove(engine, "before_cursor_execute", note)

    return counting


@pytest.fixture
def at_once() -> Callable[[list[Callable[[], Any]]], list[Any]]:
    """at_once([call, …]): every call in a thread of its own, started together; their results in order."""

    def run(calls: list[Callable[[], Any]]) -> list[Any]:
        start = Barrier(len(calls))

        def call(one: Callable[[], Any]) -> Any:
            start.wait(10)
            return one()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(call, calls))

    return run


# --- the cast ----------------------------------------------------------------------------------------------------


@pytest.fixture
def world(app: Flask) -> World:
    """Makes rows: world.person(), world.project(), world.image(), world.analysis(), …"""
    return World(app)


@pytest.fixture
def owner(world: World) -> Person:
    return world.person("owner@example.org")


@pytest.fixture
def editor(world: World) -> Person:
    return world.person("editor@example.org")


@pytest.fixture
def viewer(world: World) -> Person:
    return world.person("viewer@example.org")


@pytest.fixture
def stranger(world: World) -> Person:
    """Has an account, and nothing to do with `project`."""
    return world.person("stranger@example.org")


@pytest.fixture
def admin(world: World) -> Person:
    return world.person("admin@example.org", role="admin")


@pytest.fixture
def project(world: World, owner: Person, editor: Person, viewer: Person) -> Project:
    """Has the owner, the editor and the viewer for members."""
    return world.project("Leaves", owner=owner, editor=editor, viewer=viewer)


@pytest.fixture
def image(world: World, project: Project) -> Image:
    """64 × 48 pixels, in `project`."""
    return world.image(project)


@pytest.fixture
def analysis(world: World, image: Image) -> Analysis:
    """Processing, on `image`, without annotations."""
    return world.analysis(image, "processing")


@pytest.fixture
def pipeline(app: Flask) -> Pipeline:
    return pipeline_in_process(app)


# --- the world outside -------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    with s3_server.served() as endpoint:
        yield endpoint


@pytest.fixture
def s3(s3_endpoint: str) -> Iterator[s3_server.Bucket]:
    """An empty bucket: .endpoint .name .client (boto3) .environ (the settings for make_app)."""
    with s3_server.new_bucket(s3_endpoint) as bucket:
        yield bucket


@dataclass(frozen=True)
class LiveServer:
    """A served Loupe with a database of its own. `world` makes rows there; `pipeline` signs over HTTP."""

    gunicorn: servers.Gunicorn
    world: World
    environ: dict[str, str]
    instance: Path

    @property
    def url(self) -> str:
        return self.gunicorn.url

    @property
    def pipeline(self) -> Pipeline:
        def send(method: str, path: str, body: bytes, headers: Any) -> requests.Response:
            return requests.request(method, self.url + path, data=body, headers=dict(headers), timeout=60)

        return Pipeline(send, lambda: int(self.world.app.extensions["clock"]().timestamp()))

    def api(self, person: Person, method: str, path: str, **kwargs: Any) -> requests.Response:
        headers = {"X-API-Key": person.key, **kwargs.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=60, **kwargs)


@pytest.fixture(scope="session")
def _serve(database_server: databases.Server) -> Iterator[Callable[..., LiveServer]]:
    """Starts servers, each with a database and an instance folder of its own."""
    with contextlib.ExitStack() as stack:
        started: list[LiveServer] = []

        def serve(**settings: str) -> LiveServer:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loupe-live-")))
            environ = {**ENVIRON, **settings}
            name = f"live{len(started)}"
            database = stack.enter_context(databases.migrated(database_server, name, environ, folder))
            environ["DATABASE_URL"] = database.url
            app = create_app(environ, instance_path=str(folder))
            stack.callback(dispose, app)
            gunicorn = stack.enter_context(servers.served(environ, folder))
            started.append(LiveServer(gunicorn, World(app), environ, folder))
            return started[-1]

        yield serve


def dispose(app: Flask) -> None:
    with app.app_context():
        db.engine.dispose()


@pytest.fixture(scope="session")
def _live_server(_serve: Callable[..., LiveServer]) -> LiveServer:
    return _serve()


@pytest.fixture
def live_server(_live_server: LiveServer) -> Iterator[LiveServer]:
    """Two real gunicorn processes over an empty database: .url .world .pipeline .api(person, …) .gunicorn.memory()."""
    yield replace(_live_server)
    database = databases.Database(_live_server.environ["DATABASE_URL"])
    database.clear()
    database.close()
    remove_files(_live_server.instance)


@pytest.fixture
def serve(_serve: Callable[..., LiveServer]) -> Callable[..., LiveServer]:
    """serve(MAX_REQUEST_BYTES="…"): another server with other settings; it ends with the session."""
    return _serve


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = browsers.executable()
    if path is None and IN_CI:
        pytest.fail("no Chromium: CI must have one")
    if path is None:
        pytest.skip(
            "THE BROWSER TESTS DID NOT RUN: no Chromium here (Debian: apt-get install chromium-headless-shell)"
        )
    with browsers.launched(path) as running:
        yield running


@pytest.fixture(scope="session")
def node() -> str:
    """Where Node is, which runs JavaScript without a browser."""
    path = shutil.which("node")
    if path is None and IN_CI:
        pytest.fail("no Node: CI must have one")
    if path is None:
        pytest.skip("THE JAVASCRIPT TESTS DID NOT RUN: no Node here (Debian: apt-get install nodejs)")
    return path


@pytest.fixture
def pages(browser: Browser, live_server: LiveServer) -> Iterator[browsers.Pages]:
    """pages.open(java_script_enabled=False, color_scheme="dark", width=390, …); fails on errors on the console."""
    opened = browsers.Pages(browser, live_server.url)
    yield opened
    opened.close()
    assert not opened.problems, "\n".join(opened.problems)


@pytest.fixture
def page(pages: browsers.Pages) -> Page:
    """1280 × 800 pixels, on the live server, nobody signed in."""
    return pages.open()
