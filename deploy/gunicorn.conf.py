"""How gunicorn serves Loupe, and why each setting is what it is. Used by `make run` and on any server.

From the environment: HOST and PORT (where to listen), WEB_CONCURRENCY (number of processes).
"""

import gc
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

# Loaded from its file: `import app.logs` would bring the whole program into the master process, and the workers that
# SIGHUP starts would then be copies of the old code.
_spec = importlib.util.spec_from_file_location("logs", Path(__file__).parent.parent / "app" / "logs.py")
assert _spec and _spec.loader
_logs = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_logs)

_host = os.environ.get("HOST") or "127.0.0.1"
_port = os.environ.get("PORT") or "8000"
# given outright: with PORT set and nothing else, gunicorn would listen on every interface
bind = [f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"]

# A thread belongs to a request from its first byte on, however slowly it comes: put nginx.conf in front.
# Threads, because requests wait for the database and the object store; SQLite's wait for a lock blocks a whole
# process, so greenlets are no choice there. Two processes use two cores, and SQLite in WAL mode serves both.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = 8

# A process that has not moved for this long is replaced. It does not limit a request: those run in threads.
timeout = 60
# How long requests may finish after SIGTERM: a large bulk or upload takes seconds, not minutes.
graceful_timeout = 30
# Longer than a pipeline's or a browser's pause between two requests, and than nginx keeps a connection to us (10 s, so
# that it is never we who close one that nginx is about to use). An idle connection holds no thread.
keepalive = 15

# The longest address we make is a signed URL of local storage, under 1,500 bytes.
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190

# Nobody's X-Forwarded-… is believed here. Behind a proxy the application reads them itself, as many hops as
# TRUSTED_PROXIES says; the default would believe whatever runs on the same machine.
forwarded_allow_ips = ""

# Each process makes its own connections: a database connection must never be shared across a fork.
preload_app = False
# Memory does not grow with requests, and a restart would cut off the uploads beside it.
max_requests = 0

# The heartbeat file is touched every second; on a busy disk that alone can block. /dev/shm is memory.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
# The control socket would be written into the home folder.
control_socket_disable = True


class logger_class(Logger):  # type: ignore[misc]  # a setting of gunicorn, by its name
    """What gunicorn says, in the same JSON lines as the application and on the same standard error."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        _logs.take_over()
        for handler in self.error_log.handlers:
            handler.setFormatter(_logs.JsonLines())

    def warning(self, msg: object, *args: object, **kwargs: Any) -> None:
        """A request that cannot be read is not repeated: it may hold a key or a signature."""
        kind = sys.exc_info()[0]
        if kind is not None and str(msg).startswith("Invalid request from ip="):
            msg = f"{str(msg).partition(': ')[0]}: {kind.__name__}"
        super().warning(msg, *args, **kwargs)

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        """Without the query of the address, which may hold a signature."""
        plain = (argument.partition("?")[0] if isinstance(argument, str) else argument for argument in args)
        super().exception(msg, *plain, **kwargs)


# gunicorn's own line for each request stays off: the application writes one, with who asked and by which route, and
# without the query, which holds signatures.
accesslog = None
errorlog = "-"
# "info" tells when processes start and end; "debug" tells of every connection.
loglevel = "info"


def post_worker_init(worker: Any) -> None:
    """The program itself never becomes garbage; looking through it at every collection would cost a large bulk about a
    tenth of its time. Nor does most of a bulk, which makes ten thousand objects and keeps them to its end: looking
    for garbage after every 700, as Python does, would cost it another fortieth. Each process has a background loop,
    and one of them its turn."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    from app import background  # not above: this file is read in the master process, see there

    worker.loop = background.start(worker.wsgi)


def worker_exit(_server: object, worker: Any) -> None:
    """The turn goes to another process at once, and not only when it has run out."""
    if loop := getattr(worker, "loop", None):
        loop.stop()
