"""Clients that ask without end, each in its own thread, and remember every answer."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

PAUSE = (
    0.02  # between two requests of a client, so that a server that refuses quickly is not asked in a mad loop
)
CUT = 0  # the status of an answer that began and did not come to its end


@dataclass(frozen=True)
class Answer:
    kind: str
    started: float
    seconds: float
    status: int
    retry_after: str | None = None
    content_type: str = ""
    text: str = ""


Ask = Callable[[requests.Session], requests.Response]


@dataclass
class Load:
    answers: list[Answer] = field(default_factory=list)
    broken: list[BaseException] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def client(self, kind: str, ask: Ask) -> None:
        try:
            with requests.Session() as session:
                while not self.ended.is_set():
                    self.answers.append(one(kind, ask, session))
                    self.ended.wait(PAUSE)
        except BaseException as error:
            self.broken.append(error)

    def of(self, kind: str, since: float = 0) -> list[Answer]:
        return [answer for answer in self.answers if answer.kind == kind and answer.started >= since]

    def wait_for_success(self, kinds: set[str], since: float, within: float) -> float:
        """Seconds until every kind of request that began after the moment has succeeded."""
        while time.monotonic() < since + within:
            if all(any(answer.status in (200, 201) for answer in self.of(kind, since)) for kind in kinds):
                return time.monotonic() - since
            time.sleep(PAUSE)
        raise AssertionError(f"no success of every kind within {within} s: {self.answers[-20:]}")


def one(kind: str, ask: Ask, session: requests.Session) -> Answer:
    started = time.monotonic()
    try:
        answer = ask(session)
    except requests.exceptions.ChunkedEncodingError:
        return Answer(kind, started, time.monotonic() - started, CUT)
    type_, wait = answer.headers["Content-Type"], answer.headers.get("Retry-After")
    text = answer.text if answer.status_code != 200 else ""
    return Answer(kind, started, time.monotonic() - started, answer.status_code, wait, type_, text)


def slow_get(port: int, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """An answer that has begun. The rest waits until somebody reads on: the socket takes no more than a little."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.sock = socket.socket()
    connection.sock.settimeout(30)
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    connection.sock.connect(("127.0.0.1", port))
    connection.request("GET", path, headers={**headers, "Connection": "close"})
    return connection.getresponse()


@contextmanager
def under_load(clients: list[tuple[str, Ask]]) -> Iterator[Load]:
    load = Load()
    threads = [threading.Thread(target=load.client, args=client) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        load.ended.set()
        for thread in threads:
            thread.join(60)
    assert not load.broken, load.broken
