"""HTTP as a busy pipeline speaks it: kept-alive connections, bodies and signatures made before the clock starts."""

import hashlib
import hmac
import http.client
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import orjson


class Wrong(Exception):
    """A server did not answer what it must, so nothing that was measured means anything."""


class Skipped(Wrong):
    """A measure needs what this server does not have or allow; the text says what."""


def raise_first(failures: Sequence[Exception]) -> None:
    """What threads ran into, as Wrong: a thread has nobody to say it to, and what it did not do took no time."""
    for failure in failures:
        if isinstance(failure, Wrong):
            raise failure
        raise Wrong(f"a thread ended with {failure!r}") from failure


def expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        raise Wrong(f"{what} is {seen!r}, expected {wanted!r}")


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self, status: int = 200) -> Any:
        """The parsed body. Raises Wrong when the status is another."""
        if self.status != status:
            raise Wrong(
                f"status {self.status}, expected {status}: {self.body[:300].decode('utf-8', 'replace')}"
            )
        return orjson.loads(self.body)


IDLE_SECONDS = 5.0  # well below what any server keeps an idle connection for


class Connection:
    """One kept-alive connection; it opens with the first request, and anew after a pause.

    `waited` are the seconds from the last request to the first bytes of its answer, which the server then has made.
    """

    waited = 0.0

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.http = kind(parts.hostname or "", parts.port, timeout=120)
        self.used_at = time.monotonic()

    def send(self, request: Request) -> Answer:
        """Raises Wrong when there is no answer."""
        if time.monotonic() - self.used_at > IDLE_SECONDS:
            self.close()
        try:
            started = time.perf_counter()
            self.http.request(request.method, request.path, request.body, request.headers)
            response = self.http.getresponse()
            self.waited = time.perf_counter() - started
            answer = Answer(response.status, response.read())
        except (OSError, http.client.HTTPException) as reason:
            raise Wrong(f"{request.method} {request.path} got no answer: {reason!r}") from reason
        self.used_at = time.monotonic()
        return answer

    def close(self) -> None:
        self.http.close()


@dataclass
class Target:
    """A server, with what it takes to be let in. `connection` is for whatever needs no more than one.

    `cookie` is that of a person's session, where one has signed in; without it no page can be asked for.
    """

    name: str
    url: str
    secret: str
    api_key: str
    cookie: str = ""

    def __post_init__(self) -> None:
        self.connection = Connection(self.url)

    def signed(self, method: str, path: str, body: bytes) -> Request:
        """Signed now: good for the server's skew, five minutes unless it is set otherwise."""
        moment = str(int(time.time()))
        digest = hmac.new(self.secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {"X-ML-Timestamp": moment, "X-ML-Signature": f"sha256={digest}"}
        return Request(method, path, body, {"Content-Type": "application/json", **headers})

    def reading(self, path: str) -> Request:
        return Request("GET", path, headers={"X-API-Key": self.api_key})

    def page(self, path: str) -> Request:
        """As the page of a person asks for a part of itself."""
        return Request("GET", path, headers={"Cookie": self.cookie, "HX-Request": "true"})

    def send(self, method: str, path: str, value: Any, status: int = 200) -> Any:
        return self.connection.send(self.signed(method, path, orjson.dumps(value))).json(status)

    def read(self, path: str) -> Any:
        return self.connection.send(self.reading(path)).json()
