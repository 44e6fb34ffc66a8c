"""What `make run` does once everything is installed: prepares instance/, serves, and lets the example pipeline work.

1. generates the secrets that nobody has set into instance/secrets.env
2. migrates the database and makes the demo project (both change nothing the second time)
3. starts gunicorn, with its log in instance/loupe.log, and, when it answers, the example pipeline, which speaks to it
   over HTTP like any other
4. passes SIGTERM, SIGINT and SIGHUP on, waits for both and ends with gunicorn's exit code

HOST and PORT say where to listen. Nothing is written outside the project's folder.
"""

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
INSTANCE = ROOT / "instance"
SECRETS = INSTANCE / "secrets.env"
CREDENTIALS = INSTANCE / "demo.env"
LOG = INSTANCE / "loupe.log"
LARGEST_LOG, LAST_LINES = 10_000_000, 20
PIPELINE_PYTHON = ROOT / ".venv-pipeline" / "bin" / "python"
GENERATED = ("SECRET_KEY", "ML_CALLBACK_HMAC_SECRET", "ML_KEY_ENCRYPTION_KEYS")
START_SECONDS = 60
PIPELINE_PAUSE_SECONDS = 3


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    os.chdir(ROOT)
    os.umask(0o077)
    host, port = os.environ.get("HOST") or "127.0.0.1", os.environ.get("PORT") or "8000"
    if reason := cannot_listen(host, port):
        say(reason)
        return 1
    environment = service_environment(host, port)
    ensure_secrets()
    children = Children()
    for command in (["db", "upgrade"], demo_command()):
        flask = [sys.executable, "-m", "flask", "--app", "wsgi", *command]
        if code := subprocess.run(flask, env=environment).returncode:
            say(f"`flask {command[0]}` ended with {code}; Loupe was not started.")
            return code
    say(f"The log of the server is {LOG.relative_to(ROOT)}.")
    server = [sys.executable, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "wsgi:app"]
    with open_log() as log:
        gunicorn = children.start(server, environment, log)
    if wait_until_healthy(gunicorn, host, int(port)):
        say(f"\n  Loupe is at {address(host, port)}\n  Ctrl-C ends it; the data stays in {INSTANCE.name}/.\n")
        watch_pipeline(children, gunicorn, address(host, port))
    if code := children.wait(gunicorn):
        say(f"The server ended with {code}. The last lines of its log:\n{last_lines()}")
    return code


class Children:
    """The processes started here. A signal is passed on to all of them, once gently and then at once.

    Each is in a process group of its own, so that Ctrl-C reaches them through here only, and in order.
    """

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[bytes]] = []
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self.stop)

    def start(
        self, command: list[str], environment: dict[str, str], log: IO[bytes] | None = None
    ) -> subprocess.Popen[bytes]:
        """`log` takes what the process says; without it that comes to the terminal."""
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
        )
        self.started.append(process)
        if self.stopping:
            process.terminate()
        return process

    def stop(self, number: int, _frame: FrameType | None) -> None:
        if not self.started:
            raise SystemExit(128 + number)
        passed_on = signal.SIGQUIT if self.stopping else signal.SIGTERM
        self.stopping = True
        for process in self.started:
            process.send_signal(passed_on)

    def wait(self, gunicorn: subprocess.Popen[bytes]) -> int:
        """Gunicorn's exit code, after every other process has been ended and reaped."""
        code = gunicorn.wait()
        for process in self.started:
            process.terminate()
            process.wait()
        return code if code >= 0 else 128 - code


def cannot_listen(host: str, port: str) -> str | None:
    """A sentence saying why the address cannot be had, or None."""
    if not port.isdigit() or not 0 < int(port) < 65536:
        return f"PORT must be a number from 1 to 65535, not {port!r}."
    try:
        family, _, _, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            probe.listen()
    except OSError as error:
        return (
            f"Cannot listen on {host} port {port}: {error.strerror or error}.\n"
            "Stop what listens there, or choose another port:  make run PORT=8001"
        )
    return None


def service_environment(host: str, port: str) -> dict[str, str]:
    # a .env file that happens to lie around is none of our settings
    return {**os.environ, "HOST": host, "PORT": port, "FLASK_SKIP_DOTENV": "1"}


def ensure_secrets() -> None:
    """Writes what neither the environment nor the file has; instance/ and the file are open to their owner only."""
    INSTANCE.mkdir(mode=0o700, exist_ok=True)
    INSTANCE.chmod(0o700)
    known = read_env(SECRETS)
    missing = [name for name in GENERATED if not os.environ.get(name, "").strip() and not known.get(name)]
    if not missing:
        return
    exclusive = 0 if SECRETS.exists() else os.O_CREAT | os.O_EXCL
    file = os.open(SECRETS, os.O_WRONLY | os.O_APPEND | exclusive, 0o600)
    with os.fdopen(file, "w") as lines:
        lines.write("" if exclusive else "\n")  # the last line there may not be ended
        lines.writelines(f"{name}={secrets.token_urlsafe(48)}\n" for name in missing)
    say(f"Generated {' and '.join(missing)} into {SECRETS.relative_to(ROOT)}.")


def read_env(path: Path) -> dict[str, str]:
    """The NAME=VALUE lines of a file; none when there is no file."""
    if not path.is_file():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if not line.startswith("#"))
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def demo_command() -> list[str]:
    images, credentials = ROOT / "scripts" / "demo_images", CREDENTIALS.relative_to(ROOT)
    return ["demo", "--images", str(images.relative_to(ROOT)), "--credentials", str(credentials)]


def open_log() -> IO[bytes]:
    """The log, to be written on; one that has grown large is put aside first, in the place of the one before."""
    if LOG.exists() and LOG.stat().st_size > LARGEST_LOG:
        LOG.replace(LOG.with_suffix(".log.1"))
    return LOG.open("ab")


def last_lines() -> str:
    with LOG.open("rb") as log:
        log.seek(max(0, LOG.stat().st_size - 16_384))
        return "\n".join(log.read().decode("utf-8", "replace").splitlines()[-LAST_LINES:])


def reachable(host: str) -> str:
    """The host to connect to, where the one listened on means every interface."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


def address(host: str, port: str) -> str:
    host = reachable(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def wait_until_healthy(gunicorn: subprocess.Popen[bytes], host: str, port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while gunicorn.poll() is None and time.monotonic() < deadline:
        if is_healthy(host, port):
            return True
        time.sleep(0.1)
    if gunicorn.poll() is None:
        say(f"Loupe did not answer on /healthz within {START_SECONDS} seconds.")
        gunicorn.terminate()
    return False


def is_healthy(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(reachable(host), port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def start_pipeline(children: Children, url: str) -> subprocess.Popen[bytes] | None:
    """The example pipeline in its own environment, or None where it cannot work; the server serves all the same."""
    known = read_env(SECRETS) | os.environ
    if known.get("ML_ANALYSIS_ENABLED", "").strip().lower() in ("0", "false", "no", "off"):
        say("ML analyses are switched off, so the example pipeline is not started.")
        return None
    key = read_env(CREDENTIALS).get("API_KEY")
    secret = os.environ.get("ML_CALLBACK_HMAC_SECRET") or read_env(SECRETS).get("ML_CALLBACK_HMAC_SECRET")
    if not PIPELINE_PYTHON.exists() or not key or not secret or children.stopping:
        say("The example pipeline is not started: its environment, its key or the signing secret is missing.")
        return None
    # it is a stranger to the service: of its settings it gets what any pipeline would, and nothing else
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    environment |= {"LOUPE_URL": url, "API_KEY": key, "ML_CALLBACK_HMAC_SECRET": secret}
    # its libraries keep caches, by default in the home folder
    environment["HOME"] = str(PIPELINE_PYTHON.parent.parent)
    command = [str(PIPELINE_PYTHON), "scripts/example_pipeline.py", "--pause", str(PIPELINE_PAUSE_SECONDS)]
    say("The example pipeline has started; what it sees appears in the demo project.")
    return children.start(command, environment)


def watch_pipeline(children: Children, gunicorn: subprocess.Popen[bytes], url: str) -> None:
    """Runs the example pipeline to its end and says how it went, unless the server ends before."""
    pipeline = start_pipeline(children, url)
    while pipeline and pipeline.poll() is None and gunicorn.poll() is None:
        time.sleep(0.2)
    if pipeline is None or children.stopping or gunicorn.poll() is not None:
        return
    if pipeline.returncode == 0:
        say("The example pipeline is done: open the demo project to see what it saw.")
    else:
        say(f"The example pipeline ended with {pipeline.returncode}; the server goes on without it.")


if __name__ == "__main__":
    sys.exit(main())
