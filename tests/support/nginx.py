"""A real nginx with deploy/nginx.conf, as whoever runs the tests, on a free port, in a folder of its own."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.server import ROOT, free_port

START_SECONDS = 10
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def executable() -> str | None:
    """Debian has it where only root's path leads."""
    return shutil.which("nginx", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))


@contextlib.contextmanager
def served(path: str, upstream: int, folder: Path) -> Iterator[str]:
    """Its address. The shipped file is used as it is, but for the two ports."""
    port = free_port()
    site = (ROOT / "deploy" / "nginx.conf").read_text()
    for shipped, here in (("listen 80;", f"listen 127.0.0.1:{port};"), (":8000;", f":{upstream};")):
        assert site.count(shipped) == 1
        site = site.replace(shipped, here)
    (folder / "loupe.conf").write_text(site)
    (folder / "nginx.conf").write_text(_main(folder))
    command = [path, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    log = folder / "nginx.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_until_it_listens(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _main(folder: Path) -> str:
    """What a distribution's nginx.conf would say around it."""
    places = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in TEMPORARY)
    return f"""{"user root;" if os.geteuid() == 0 else ""}
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
{places}
    include {folder}/loupe.conf;
}}
"""


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nginx did not come up:\n{log.read_text()}")
