"""How gunicorn serves Loupe, and why each setting is what it is. Used by `make run` and on any server.

From the environment: HOST and PORT (where to listen), WEB_CONCURRENCY (number of processes).
"""

import os
from pathlib import Path

_host = os.environ.get("HOST") or "127.0.0.1"
_port = os.environ.get("PORT") or "8000"
# given outright: with PORT set and nothing else, gunicorn would listen on every interface
bind = [f"[{_host}]:{_port}" if ":" in _host else f"{_host}:{_port}"]

# Threads, because requests wait for the database and the object store; SQLite's wait for a lock blocks a whole
# process, so greenlets are no choice there. Two processes use two cores, and SQLite in WAL mode serves both.
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = 8

# A process that has not moved for this long is replaced. It does not limit a request: those run in threads.
timeout = 60
# How long requests may finish after SIGTERM: a large bulk or upload takes seconds, not minutes.
graceful_timeout = 30
# Longer than a pipeline's or a browser's pause between two requests; an idle connection holds no thread.
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

# No line for each request: the page polls and pipelines are busy. Switch it on with
# GUNICORN_CMD_ARGS="--access-logfile -". The format leaves out the query, which holds signatures.
accesslog = None
access_log_format = '%(h)s "%(m)s %(U)s" %(s)s %(b)s bytes %(M)s ms'
errorlog = "-"
loglevel = "info"
