"""A client of Loupe's API for pipelines, in one file to be copied. Standard library only, Python 3.11 or newer.

    client = Client("https://loupe.example.org", secret)                 # the secret of the callbacks, or
    client = Client("https://loupe.example.org", "mlsec_…", "mlpip_…")   # a pipeline key's own secret, and the key
    analysis = client.create(image_id, "my-detector", "1.0.0")           # or client.claim_next("worker-1")
    analysis.start()
    path = analysis.upload("heatmap", "attention.png", png)
    analysis.bulk(annotations)
    analysis.finalize("completed", expected_annotations=len(annotations))

Every call is tried again while the server cannot answer, and each attempt is signed anew. One whose answer was lost
may have taken effect, so every call is made such that doing it twice does no more than once. An answer other than
2xx raises Refused, no answer Unreachable; Stopped means that the analysis is to be left alone.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import random
import secrets
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import HTTPErrorProcessor, Request, build_opener

RETRIED_STATUSES = frozenset({429, 502, 503, 504})
LONGEST_BACKOFF = 30.0  # seconds
LONGEST_RETRY_AFTER = 300.0  # seconds; a server that asks for more is not waited for
CHUNK_ITEMS, CHUNK_BYTES = 1000, 8 * 2**20
BEAT_TIMEOUT = 10.0  # seconds

Json = dict[str, Any]
Headers = Mapping[str, str]


# --- Signing -----------------------------------------------------------------------------------------------------


class Signable(NamedTuple):
    """What a signature is made of. `target` is path and query as sent, `body` the bytes as sent."""

    method: str
    target: str
    body: bytes
    timestamp: str  # Unix seconds
    key_id: str = "default"
    nonce: str = ""


def string_to_sign(scheme: str, request: Signable) -> bytes:
    """v2: seven lines, with no line break at the end. plain: the timestamp, a full stop, and the body."""
    if scheme == "plain":
        return request.timestamp.encode() + b"." + request.body
    digest = hashlib.sha256(request.body).hexdigest()
    lines = ("mlv2", request.method, request.target, request.key_id, request.timestamp, request.nonce, digest)
    return "\n".join(lines).encode()


def sign(scheme: str, secret: str, request: Signable) -> str:
    """The value of X-ML-Signature. The key of the HMAC is the UTF-8 bytes of the secret as it is written."""
    label = {"v2": "v2", "plain": "sha256"}[scheme]
    return f"{label}={hmac.new(secret.encode(), string_to_sign(scheme, request), hashlib.sha256).hexdigest()}"


def signature_headers(scheme: str, secret: str, request: Signable) -> dict[str, str]:
    headers = {"X-ML-Timestamp": request.timestamp, "X-ML-Signature": sign(scheme, secret, request)}
    if scheme == "v2":
        headers |= {"X-ML-Key-Id": request.key_id, "X-ML-Nonce": request.nonce}
    return headers


def target_of(url: str) -> str:
    """Path and query of an address, as they stand on the first line of a request."""
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def newest_secret(setting: str) -> str:
    """The server's setting may list several secrets, newest first; a client signs with the newest."""
    return setting.split(",")[0].strip()


# --- Answers -----------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """The server answered, and not with a 2xx. `problem` is its problem+json, or of another page the first words."""

    def __init__(self, status: int, headers: Message, body: bytes) -> None:
        try:
            problem = json.loads(body)
        except ValueError:
            problem = None
        known = isinstance(problem, dict)
        self.problem: Json = problem if known else {"detail": body[:200].decode("utf-8", "replace")}
        self.status, self.code = status, str(self.problem.get("code", ""))
        wait = (headers.get("Retry-After") or "").strip()
        self.retry_after = float(wait) if wait.isdecimal() else None  # seconds
        said = self.problem.get("detail") or self.problem.get("title", "")
        errors = json.dumps(self.problem["errors"])[:600] if "errors" in self.problem else ""
        super().__init__(f"{status} {self.code}: {said} {errors}".strip())


class Unreachable(Exception):
    """No answer, or not the whole of it."""


class Stopped(Exception):
    """The analysis is no longer ours: its lease is lost, or somebody canceled it (`canceled`) or deleted it."""

    def __init__(self, reason: str, canceled: bool = False) -> None:
        super().__init__(reason)
        self.canceled = canceled


# --- The client --------------------------------------------------------------------------------------------------


class _AsAnswered(HTTPErrorProcessor):
    """Every answer is taken as it is: a redirect, if followed, would carry the proof to another address."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


_opener = build_opener(_AsAnswered)


@dataclass
class Client:
    """`secret` signs. `api_key` is a pipeline's key, whose signing secret it then is, or a user's, for reading.

    `scheme` is v2, or plain for a server that does not know v2. Threads may share a client.
    """

    base_url: str
    secret: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    scheme: str = "v2"
    attempts: int = 6
    timeout: float = 60.0  # seconds without a word from the server
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    clock_offset: float = 0.0  # seconds that the server's clock is ahead of ours, learnt from a refusal

    @property
    def key_id(self) -> str:
        return self.api_key.split("_")[1] if self.api_key.startswith("mlpip_") else "default"

    def create(self, image_id: str, model_name: str, model_version: str, **more: Any) -> Analysis:
        """A new analysis; with an `external_job_id` that an earlier run used, the one made then.

        `more`: external_job_id, parameters, provenance, priority, group_id.
        """
        wanted = {"model_name": model_name, "model_version": model_version, **more}
        wanted.setdefault("external_job_id", str(uuid.uuid4()))  # so that a second attempt does not make two
        trace = secrets.token_hex(16)
        answer = self.send("POST", f"/api/images/{image_id}/analyses", wanted, trace=trace)
        return Analysis(self, answer.json(), trace, created=answer.status == 201)

    def claim(self, analysis_id: str, worker_id: str, **more: Any) -> Analysis:
        """A lease on this analysis; Refused (already-claimed) if another worker has one. `more`: lease_seconds."""
        (analysis,) = self._claim(f"/api/analyses/{analysis_id}/claim", {"worker_id": worker_id, **more})
        return analysis

    def claim_next(self, worker_id: str, **more: Any) -> Analysis | None:
        """A lease on the next queued analysis, or None. `more`: lease_seconds, models (a list of names)."""
        return next(self._claim("/api/analyses:claim", {"worker_id": worker_id, "max": 1, **more}), None)

    def _claim(self, path: str, wanted: Json) -> Iterator[Analysis]:
        """Each attempt has the same Idempotency-Key, so that with a lost answer no lease is lost."""
        trace = secrets.token_hex(16)
        answer = self.send("POST", path, wanted, {"Idempotency-Key": str(uuid.uuid4())}, trace).json()
        return (Analysis(self, row, trace) for row in answer.get("analyses", [answer]))

    def send(
        self, method: str, path: str, payload: Any, headers: Headers | None = None, trace: str = ""
    ) -> Answer:
        """A signed JSON request, the same bytes in each attempt. A payload of bytes is sent as it is.

        A server that refuses the time tells its own: the clock is set by that, and the call made once more.
        """
        body = payload if isinstance(payload, bytes) else encode(payload)
        fixed = {"Content-Type": "application/json", **(headers or {})}
        if self.scheme == "plain" and self.key_id != "default":
            fixed["X-API-Key"] = self.api_key  # a plain signature does not say whose it is
        fresh = partial(self._sign, method, self.base_url + path, body, fixed, trace or secrets.token_hex(16))
        try:
            return self._retry(fresh)
        except Refused as refusal:
            told = refusal.problem.get("server_time")
            if refusal.code != "timestamp-skew" or not isinstance(told, int | float):
                raise
            self.clock_offset = told - self.clock()
        return self._retry(fresh)

    def read(self, path: str) -> Answer:
        """A GET, with a user's key or else signed. Plain does not authorise a GET; a pipeline's key then does."""
        if self.api_key and (self.key_id == "default" or self.scheme == "plain"):
            return self._retry(lambda: Request(self.base_url + path, headers={"X-API-Key": self.api_key}))
        return self.send("GET", path, b"")

    def fetch(self, url: str) -> bytes:
        """What is at a presigned address. The address is the proof; no other is sent."""
        return self._retry(lambda: Request(url)).body

    def upload(self, url: str, body: bytes, headers: Headers) -> Answer:
        """PUT to a presigned address, with the headers that came with it."""
        return self._retry(lambda: Request(url, body, dict(headers), method="PUT"))

    def _sign(self, method: str, url: str, body: bytes, fixed: Headers, trace: str) -> Request:
        """A time and a nonce for this attempt; and a span of the analysis's trace, as W3C Trace Context has it."""
        timestamp = str(int(self.clock() + self.clock_offset))
        parts = Signable(method, target_of(url), body, timestamp, self.key_id, secrets.token_urlsafe(16))
        proof = signature_headers(self.scheme, self.secret, parts)
        proof["traceparent"] = f"00-{trace}-{secrets.token_hex(8)}-01"
        return Request(url, body or None, {**fixed, **proof}, method=method)

    def _retry(self, fresh: Callable[[], Request]) -> Answer:
        for attempt in range(1, self.attempts):
            wait = backoff(attempt)
            try:
                return self._once(fresh())
            except Unreachable:
                pass
            except Refused as refusal:
                if refusal.status not in RETRIED_STATUSES or (refusal.retry_after or 0) > LONGEST_RETRY_AFTER:
                    raise
                wait = wait if refusal.retry_after is None else refusal.retry_after
            self.sleep(wait)
        return self._once(fresh())

    def _once(self, request: Request) -> Answer:
        try:
            with _opener.open(request, timeout=self.timeout) as response:
                answer = Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{request.get_method()} {request.full_url.split('?')[0]}: {error}") from error
        if not 200 <= answer.status < 300:
            raise Refused(*answer)
        return answer


def encode(payload: Any) -> bytes:
    return json.dumps(payload, allow_nan=False).encode()


def backoff(attempt: int) -> float:
    """Seconds before the next attempt: half a second, doubling, with jitter so that workers spread."""
    return float(min(0.5 * 2 ** (attempt - 1), LONGEST_BACKOFF) * random.uniform(0.75, 1.25))


# --- An analysis, and the lease on it ----------------------------------------------------------------------------


@dataclass
class Analysis:
    """One to work on. `row` is the answer that gave it; that of a claim has the lease and the image too."""

    client: Client
    row: Json = field(repr=False)
    trace: str = ""
    created: bool = False

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def send(self, method: str, rest: str, payload: Any, headers: Headers | None = None) -> Answer:
        """A call on this analysis, with its lease. Raises Stopped when it is no longer ours."""
        lease = {"X-ML-Lease-Token": self.row["lease_token"]} if "lease_token" in self.row else {}
        sent = {**lease, **(headers or {})}
        try:
            return self.client.send(method, f"/api/analyses/{self.id}{rest}", payload, sent, self.trace)
        except Refused as refusal:
            canceled = refusal.problem.get("current") == "canceled"
            if canceled or refusal.code in ("lease-lost", "deleted"):
                raise Stopped(str(refusal), canceled) from refusal
            raise

    def start(self) -> None:
        self.send("PATCH", "/status", {"status": "processing"})

    def picture(self) -> bytes:
        """The bytes of the image that a claim named, upright; ValueError if they have another hash."""
        image = self.row["image"]
        content = self.client.fetch(image["download_url"])
        if hashlib.sha256(content).hexdigest() != image["sha256"]:
            raise ValueError(f"the bytes of image {image['id']} do not have the hash that the server gave")
        return content

    def upload(self, artifact_type: str, filename: str, content: bytes) -> str:
        """The storage_path of the file, for the annotations that refer to it."""
        wish: Json = {"artifact_type": artifact_type, "filename": filename, "size": len(content)}
        wish["sha256"] = hashlib.sha256(content).hexdigest()
        target = self.send("POST", "/artifacts/presign", wish).json()
        self.client.upload(target["upload_url"], content, target["headers"])
        return str(target["storage_path"])

    def bulk(self, annotations: Sequence[Json], mode: str = "append") -> list[Json]:
        """The receipts, one a chunk. With `replace`, the annotations take the place of all that are there.

        The key of a chunk is made of its content, so that a later run that sends the same stores nothing twice.
        """
        receipts: list[Json] = []
        for number, chunk in enumerate(chunks(annotations)):
            body = b'{"mode": "%s", "annotations": [%s]}' % (mode.encode(), b", ".join(chunk))
            key = f"{self.id}.{number}.{hashlib.sha256(b','.join(chunk)).hexdigest()[:32]}"
            receipts.append(self.send("POST", "/annotations:bulk", body, {"Idempotency-Key": key}).json())
            mode = "append" if mode == "replace" else mode
        return receipts

    def finalize(self, status: str, **more: Any) -> Json:
        """The analysis at its end, completed or failed. `more`: expected_annotations, error_message."""
        return dict(self.send("POST", "/finalize", {"status": status, **more}).json())


def chunks(annotations: Sequence[Json]) -> Iterator[list[bytes]]:
    """Annotations as JSON, in lists that are neither long nor heavy; of none at all, one empty list."""
    chunk: list[bytes] = []
    size = 0
    for item in map(encode, annotations):
        if chunk and (len(chunk) == CHUNK_ITEMS or size + len(item) > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item)
    yield chunk


class Lease:
    """`with Lease(analysis) as lease:` a thread sends heartbeats while the work goes on, which calls lease.check()."""

    def __init__(self, analysis: Analysis) -> None:
        self.stopped: Stopped | None = None
        self._analysis, self._done = analysis, threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Lease:
        self._beat(self._analysis)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        """Raises Stopped when the lease is lost or has run out, or when somebody canceled the analysis."""
        if self.stopped is None and time.monotonic() > self._ends:
            self.stopped = Stopped("the lease ran out, and no heartbeat got through")
        if self.stopped is not None:
            raise self.stopped

    def _keep(self) -> None:
        # one attempt each, as the next heartbeat makes good for one that fails
        client = replace(self._analysis.client, attempts=1, timeout=BEAT_TIMEOUT)
        brief = replace(self._analysis, client=client)
        while self.stopped is None and not self._done.wait(self._pause):
            try:
                self._beat(brief)
            except Stopped as stopped:
                self.stopped = stopped
            except (Refused, Unreachable) as failure:
                if isinstance(failure, Refused) and failure.status not in RETRIED_STATUSES:
                    self.stopped = Stopped(str(failure))

    def _beat(self, analysis: Analysis) -> None:
        """How long the lease lasts is counted from before the question and by the server's clock, not by ours."""
        asked, answer = time.monotonic(), analysis.send("POST", "/heartbeat", {})
        told, moment = answer.json(), parsedate_to_datetime(answer.headers["Date"])
        if told["cancel_requested"]:
            raise Stopped("somebody canceled the analysis", canceled=True)
        seconds = (datetime.fromisoformat(told["lease_expires_at"]) - moment).total_seconds()
        self._ends, self._pause = asked + seconds, max(0.1, seconds / 4)
