"""Loupe as it is really served: gunicorn with deploy/gunicorn.conf.py on a free port, in its own processes."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Gunicorn:
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def memory(self) -> int:
        """Bytes resident in all workers together."""
        return sum(worker.memory_info().rss for worker in self.workers())


@contextlib.contextmanager
def served(environ: Mapping[str, str], instance: Path) -> Iterator[Gunicorn]:
    """`environ` is the whole environment of the app, but for PATH; its instance folder is `instance`."""
    port, log = free_port(), instance / "gunicorn.log"
    wsgi = instance / "live_wsgi.py"
    wsgi.write_text(f"from app import create_app\n\napp = create_app(instance_path={str(instance)!r})\n")
    command = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"]
    command += ["--pythonpath", str(instance), "live_wsgi:app"]
    environment = {"PATH": os.environ["PATH"], "PORT": str(port), "PYTHONWARNINGS": "error"}
    # nothing happens by itself, but where that is what a test is about
    environment |= {"BACKGROUND_LOOP": "false", **environ}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    server = Gunicorn(process, port, log)
    try:
        _wait_until_healthy(server)
        yield server
    finally:
        _end(process)


def _wait_until_healthy(server: Gunicorn) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server did not come up:\n{server.log.read_text()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    # SIGINT is gunicorn's quick end: no waiting for kept-alive connections
    process.send_signal(signal.SIGINT)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
