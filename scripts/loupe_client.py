"""A small client of Loupe's API for pipelines: signing, HTTP, retries. Standard library only.

Calls that change something are signed (`send`), reading is done with a user's key (`read`), and
files go to the address that a presign call answered (`upload`).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, NamedTuple

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
LONGEST_WAIT = 30.0


class Refused(Exception):
    """The server answered, and not with a 2xx; `problem` is its problem+json."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(describe(status, problem))

    @property
    def code(self) -> str:
        return str(self.problem.get("code", ""))


class Unreachable(Exception):
    """No answer after every attempt."""


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def describe(status: int, problem: Mapping[str, Any]) -> str:
    """One line for a person: status, code, detail and the first field errors."""
    text = f"{status} {problem.get('code', '')}: {problem.get('detail') or problem.get('title', '')}"
    errors = problem.get("errors")
    return f"{text} {json.dumps(errors)[:600]}" if errors else text


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The value of X-ML-Signature: HMAC-SHA256 over `{timestamp}.{body}`, of the body as sent."""
    message = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key or the signature to another address."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirects)


@dataclass(frozen=True)
class Client:
    base_url: str
    secret: str = ""
    api_key: str = ""
    attempts: int = 6
    timeout: float = 60.0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def send(self, method: str, path: str, payload: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """A signed JSON request. Signed anew for each attempt, so that a late retry is not too old."""
        body = json.dumps(payload, allow_nan=False).encode()

        def fresh_headers() -> dict[str, str]:
            timestamp = str(int(self.clock()))
            return {
                **(headers or {}),
                "Content-Type": "application/json",
                "X-ML-Timestamp": timestamp,
                "X-ML-Signature": sign(self.secret, timestamp, body),
            }

        return self._retry(method, self.base_url + path, body, fresh_headers)

    def read(self, path: str) -> Answer:
        """A GET with the user's key (a plain signature does not authorise GET)."""
        return self._retry("GET", self.base_url + path, None, lambda: {"X-API-Key": self.api_key})

    def upload(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """PUT to a presigned address: the signature is in the address, no other proof is sent."""
        return self._retry("PUT", url, body, lambda: dict(headers))

    def _retry(
        self, method: str, url: str, body: bytes | None, fresh_headers: Callable[[], dict[str, str]]
    ) -> Answer:
        for attempt in range(1, self.attempts + 1):
            try:
                return self._once(method, url, body, fresh_headers())
            except Refused as refusal:
                if refusal.status not in RETRIED_STATUSES or attempt == self.attempts:
                    raise
                wait = refusal.problem.get("_retry_after")
            except (OSError, http.client.HTTPException) as error:
                if attempt == self.attempts:
                    raise Unreachable(f"{method} {url.partition('?')[0]}: {error}") from error
                wait = None
            self.sleep(backoff(attempt) if wait is None else min(wait, LONGEST_WAIT))
        raise ValueError("attempts must be at least 1")

    def _once(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        request = urllib.request.Request(url, data=body, headers=headers, method=method)
        try:
            with _opener.open(request, timeout=self.timeout) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, problem_of(error.headers, error.read())) from None


def problem_of(headers: Message, body: bytes) -> dict[str, Any]:
    """The problem+json of an answer; of another kind of answer (a proxy's page), its first words."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"code": "", "detail": body[:200].decode("utf-8", "replace")}
    retry_after = (headers.get("Retry-After") or "").strip()
    if retry_after.isdigit():
        problem["_retry_after"] = float(retry_after)
    return problem


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: half a second, doubling, with jitter so that workers spread."""
    return float(min(0.5 * 2 ** (attempt - 1), LONGEST_WAIT) * random.uniform(0.75, 1.25))


def newest_secret(setting: str) -> str:
    """The server's setting may list several secrets, newest first; a client signs with the newest."""
    return setting.split(",")[0].strip()
