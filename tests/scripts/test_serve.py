"""scripts/serve.py, what `make run` runs: in a copy of the project, over a real socket."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.support.server import ROOT, free_port

PARTS = ("app", "migrations", "templates", "static", "scripts", "deploy", "wsgi.py")
SETTINGS = {"PATH": os.environ["PATH"]}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project without anybody's data; the pipeline's environment is there when `make` has made it."""
    for part in PARTS:
        whole = ROOT / part
        if whole.is_dir():
            shutil.copytree(
                whole, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", ".ruff_cache")
            )
        else:
            shutil.copy(whole, tmp_path / part)
    if (ROOT / ".venv-pipeline").exists():
        (tmp_path / ".venv-pipeline").symlink_to(ROOT / ".venv-pipeline")
    return tmp_path


def command(copy: Path) -> list[str]:
    return [sys.executable, str(copy / "scripts" / "serve.py")]


@contextmanager
def serving(copy: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    environment = {**SETTINGS, "PORT": str(port), "PYTHONUNBUFFERED": "1"}
    log = (copy / "serve.log").open("w+")
    with log, subprocess.Popen(command(copy), env=environment, stdout=log, stderr=log, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def wait_for(copy: Path, text: str, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        log = (copy / "serve.log").read_text() if (copy / "serve.log").exists() else ""
        if text in log:
            return log
        time.sleep(0.1)
    raise AssertionError(f"{text!r} was not said:\n{log}")


def test_the_first_start_makes_everything_and_the_second_keeps_it(copy: Path) -> None:
    port = free_port()
    with serving(copy, port) as first:
        log = wait_for(copy, f"Loupe is at http://127.0.0.1:{port}")
        assert requests.get(f"http://127.0.0.1:{port}/sign-in", timeout=10).status_code == 200
    assert first.returncode == 0
    assert log.count("Password:") == 1
    assert "The log of the server is instance/loupe.log" in log
    assert '"message"' not in log
    lines = [json.loads(line) for line in (copy / "instance" / "loupe.log").read_text().splitlines()]
    assert [line["status"] for line in lines if line.get("route") == "/sign-in"] == [200]
    secrets = (copy / "instance" / "secrets.env").read_text()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (copy / "instance").iterdir()}
    assert (copy / "instance").stat().st_mode & 0o777 == 0o700
    assert {modes["secrets.env"], modes["demo.env"], modes["loupe.sqlite"], modes["loupe.log"]} == {0o600}

    with serving(copy, port) as second:
        log = wait_for(copy, f"Loupe is at http://127.0.0.1:{port}")
    assert second.returncode == 0
    assert "Password:" not in log
    assert (copy / "instance" / "secrets.env").read_text() == secrets


@pytest.mark.soak
def test_a_signal_ends_the_server_and_the_pipeline(copy: Path) -> None:
    if not (copy / ".venv-pipeline").exists():
        pytest.skip("the pipeline's environment is not there (make .venv-pipeline/installed)")
    port = free_port()
    with serving(copy, port) as process:
        wait_for(copy, "queued (created)")
        running = children_of(process.pid)
        assert len(running) == 2
    assert process.returncode == 0
    assert not [pid for pid in running if Path(f"/proc/{pid}").exists()]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_port_in_use_is_said_before_anything_is_made(copy: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            command(copy), env={**SETTINGS, "PORT": str(port)}, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 1
    assert f"port {port}" in ended.stdout
    assert "make run PORT=" in ended.stdout
    assert not (copy / "instance").exists()


def test_secrets_that_somebody_set_are_not_generated(copy: Path) -> None:
    """Each is made only where neither the environment nor the file has it."""
    code = "import serve; serve.ensure_secrets()"
    own = {**SETTINGS, "PYTHONPATH": str(copy / "scripts"), "SECRET_KEY": "a-key-of-ones-own-0123456789"}
    subprocess.run([sys.executable, "-c", code], env=own, check=True, capture_output=True)
    file = copy / "instance" / "secrets.env"
    made = [line.partition("=")[0] for line in file.read_text().split()]
    assert made == ["ML_CALLBACK_HMAC_SECRET", "ML_KEY_ENCRYPTION_KEYS"]
    before = file.read_text()
    del own["SECRET_KEY"]
    subprocess.run([sys.executable, "-c", code], env=own, check=True, capture_output=True)
    assert file.read_text().startswith(before)
    assert [line.partition("=")[0] for line in file.read_text().split()] == [
        "ML_CALLBACK_HMAC_SECRET",
        "ML_KEY_ENCRYPTION_KEYS",
        "SECRET_KEY",
    ]


@pytest.mark.soak
def test_a_server_that_ends_with_an_error_says_why(copy: Path) -> None:
    """And a log that has grown large is put aside at the start."""
    (copy / "instance").mkdir()
    (copy / "instance" / "loupe.log").write_bytes(b"x" * 10_000_001)
    environment = {**SETTINGS, "PORT": str(free_port()), "GUNICORN_CMD_ARGS": "--no-such-option"}
    ended = subprocess.run(command(copy), env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "The last lines of its log" in ended.stdout
    assert "unrecognized arguments: --no-such-option" in ended.stdout
    assert (copy / "instance" / "loupe.log.1").stat().st_size == 10_000_001
    assert (copy / "instance" / "loupe.log").stat().st_size < 10_000
