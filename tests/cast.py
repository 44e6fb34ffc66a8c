"""Who acts in the tests: people, each with a signed-in browser and a key, and the pipeline, which signs."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from flask import Flask
from werkzeug.test import TestResponse

from tests.html import LintClient

PASSWORD = "correct horse battery"
SECRET = "test-pipeline-secret-0123456789abcdef"


@dataclass(frozen=True)
class Person:
    """`client` is this person's browser, signed in through the form; `api` asks with the key and no cookies."""

    app: Flask
    id: UUID
    email: str
    key: str
    password: str = PASSWORD

    @cached_property
    def client(self) -> LintClient:
        client = LintClient(self.app, self.app.response_class)
        answer = client.submit("/sign-in", "/sign-in", {"email": self.email, "password": self.password})
        assert answer.status_code == 303, f"{self.email} could not sign in: {answer.status_code}"
        return client

    def api(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        """`kwargs` are those of Werkzeug's test client: json, data, query_string, headers, …"""
        headers = {"X-API-Key": self.key, **kwargs.pop("headers", {})}
        client = self.app.test_client(use_cookies=False)
        return client.open(path, method=method, headers=headers, **kwargs)


def plain_signature(body: bytes, timestamp: str, secret: str = SECRET) -> str:
    """Written from the contract alone, so that it shares no mistake with the server."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


# sends (method, path, body, headers) and gives the answer: to an app in this process, or over HTTP
Send = Callable[[str, str, bytes, Mapping[str, str]], Any]


@dataclass(frozen=True)
class Pipeline:
    """Signs every request with the plain scheme, unless told otherwise.

    `json` is what to send; `raw` are the very bytes instead. `timestamp` and `secret` go into the signature,
    `sign=False` leaves it out, and `headers` go over everything.
    """

    send: Send
    now: Callable[[], int]
    secret: str = SECRET

    def request(
        self,
        method: str,
        path: str,
        json: Any = None,
        *,
        raw: bytes | None = None,
        timestamp: int | str | None = None,
        secret: str | None = None,
        sign: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        body = raw if raw is not None else encode(json)
        sent = {"Content-Type": "application/json"}
        if sign:
            moment = str(self.now() if timestamp is None else timestamp)
            sent["X-ML-Timestamp"] = moment
            sent["X-ML-Signature"] = plain_signature(body, moment, secret or self.secret)
        return self.send(method, path, body, {**sent, **(headers or {})})

    def post(self, path: str, json: Any = None, **kwargs: Any) -> Any:
        return self.request("POST", path, json, **kwargs)

    def patch(self, path: str, json: Any = None, **kwargs: Any) -> Any:
        return self.request("PATCH", path, json, **kwargs)

    def put(self, path: str, json: Any = None, **kwargs: Any) -> Any:
        return self.request("PUT", path, json, **kwargs)


def encode(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def pipeline_in_process(app: Flask) -> Pipeline:
    def send(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> TestResponse:
        client = app.test_client(use_cookies=False)
        return client.open(path, method=method, data=body, headers=dict(headers))

    return Pipeline(send, lambda: int(app.extensions["clock"]().timestamp()))
