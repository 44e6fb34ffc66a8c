"""A stand-in for Loupe as a client meets it: a real HTTP server that keeps analyses in memory and fails on demand.

Written from the contract alone, its check of signatures too, so that it shares no mistake with the client.
"""

import contextlib
import hashlib
import hmac
import json
import re
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import Message
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a secret of the callbacks with é"
KEY_ID, KEY_SECRET = "abcdefghijklmnop", "mlsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
PIPELINE_KEY = f"mlpip_{KEY_ID}_with_a_secret_that_holds_underscores_000"
USER_KEY = "mluser_abcdefgh_0123456789abcdef0123456789abcdef"
IMAGE = b"the bytes of an image"
SKEW = 300

Json = dict[str, Any]
Reply = tuple[int, Json | bytes]


@dataclass
class Seen:
    """A request as it came, and what was answered."""

    method: str
    target: str
    headers: Message
    body: bytes
    status: int = 0

    def __getitem__(self, header: str) -> str | None:
        return self.headers.get(header)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Fault:
    """What happens to one request instead of a plain answer."""

    status: int = 0  # answered with this, and nothing done
    headers: tuple[tuple[str, str], ...] = ()
    problem: Json = field(default_factory=dict)
    lost: bool = False  # done, and the connection closed without an answer
    cut: bool = False  # done, and the connection closed within the answer


LOST, CUT = Fault(lost=True), Fault(cut=True)


def busy(status: int = 503, retry_after: str | None = None, **problem: Any) -> Fault:
    headers = () if retry_after is None else (("Retry-After", retry_after),)
    return Fault(status, headers, {"code": "database-unavailable", **problem})


def mac(secret: str, message: bytes) -> str:
    return hmac.new(secret.encode("utf-8"), message, "sha256").hexdigest()


class StandIn:
    """`seen` are all requests in order; `fail(part, *faults)` meets the next requests whose target holds `part`."""

    def __init__(self) -> None:
        self.url = ""
        self.now = float(int(time.time()))  # stands still, at a whole second
        self.seen: list[Seen] = []
        self.analyses: dict[str, Json] = {}
        self.annotations: dict[str, dict[str, Json]] = defaultdict(dict)
        self.files: dict[str, bytes] = {}
        self.leases: dict[str, str] = {}  # analysis → token
        self.claims: dict[str, list[str]] = {}  # Idempotency-Key → analyses
        self.lease_seconds = 60.0
        self.cancel_requested = False
        self.spent: set[str] = set()
        self.beaten = threading.Condition()
        self._faults: list[tuple[str, deque[Fault]]] = []
        self._lock = threading.RLock()

    def fail(self, part: str, *faults: Fault) -> None:
        self._faults.append((part, deque(faults)))

    def to(self, part: str) -> list[Seen]:
        return [request for request in self.seen if part in request.target]

    def queue(self) -> str:
        analysis = str(uuid.uuid4())
        self.analyses[analysis] = {"id": analysis, "status": "queued", "parameters": None}
        return analysis

    def wait_for_beats(self, count: int) -> None:
        with self.beaten:
            assert self.beaten.wait_for(lambda: len(self.to("/heartbeat")) >= count, timeout=10)

    # --- one request ---------------------------------------------------------------------------------------------

    def answer(self, seen: Seen) -> tuple[Reply, Fault]:
        with self._lock:
            self.seen.append(seen)
            fault = self._next_fault(seen.target)
            reply = (fault.status, fault.problem) if fault.status else self._reply(seen)
            seen.status = reply[0]
            if 200 <= reply[0] < 300 and seen["X-ML-Nonce"]:
                self.spent.add(str(seen["X-ML-Nonce"]))
        with self.beaten:
            self.beaten.notify_all()
        return reply, fault

    def _next_fault(self, target: str) -> Fault:
        for part, faults in self._faults:
            if part in target and faults:
                return faults.popleft()
        return Fault()

    def _reply(self, seen: Seen) -> Reply:
        path = seen.target.partition("?")[0]
        if path.startswith("/files/"):
            return self._file(seen, path)
        refusal = self._check(seen)
        if refusal:
            return refusal
        for pattern, handler in ROUTES:
            match = re.fullmatch(pattern, f"{seen.method} {path}")
            if match:
                return handler(self, seen, *match.groups())
        return 404, {"code": "not-found"}

    def _check(self, seen: Seen) -> Reply | None:
        """As the contract has it: plain takes no GET and needs the key beside it when it is a key's own secret."""
        if seen.method == "GET" and seen["X-API-Key"] in (USER_KEY, PIPELINE_KEY):
            return None if seen["X-ML-Signature"] is None else (400, {"detail": "signed and with a key"})
        timestamp, claimed = seen["X-ML-Timestamp"] or "", seen["X-ML-Signature"] or ""
        if not re.fullmatch("[0-9]{1,11}", timestamp):
            return 400, {"code": "malformed-request"}
        if abs(self.now - int(timestamp)) > SKEW:
            return 401, {"code": "timestamp-skew", "server_time": int(self.now)}
        expected = self._v2(seen, timestamp) if claimed.startswith("v2=") else self._plain(seen, timestamp)
        if claimed != expected:
            return 401, {"code": "signature-invalid", "detail": expected}
        if seen["X-ML-Nonce"] in self.spent:
            return 401, {"code": "replay"}
        return None

    def _v2(self, seen: Seen, timestamp: str) -> str:
        key_id, nonce = seen["X-ML-Key-Id"] or "", seen["X-ML-Nonce"] or ""
        if not re.fullmatch("[A-Za-z0-9_-]{22,64}", nonce):
            return "a nonce of the right form"
        secret = {"default": SECRET, KEY_ID: KEY_SECRET}[key_id]
        text = f"mlv2\n{seen.method}\n{seen.target}\n{key_id}\n{timestamp}\n{nonce}\n"
        return "v2=" + mac(secret, text.encode() + hashlib.sha256(seen.body).hexdigest().encode())

    def _plain(self, seen: Seen, timestamp: str) -> str:
        if seen.method not in ("POST", "PATCH", "PUT"):
            return "another scheme"
        secret = KEY_SECRET if seen["X-API-Key"] == PIPELINE_KEY else SECRET
        return "sha256=" + mac(secret, timestamp.encode() + b"." + seen.body)

    # --- what it keeps -------------------------------------------------------------------------------------------

    def _file(self, seen: Seen, path: str) -> Reply:
        if any(name.lower().startswith(("x-ml-", "x-api-", "authorization")) for name in seen.headers):
            return 400, {"detail": "a proof was sent to a presigned address"}
        if seen.method == "GET":
            return 200, self.files.get(path, IMAGE)
        if seen["Content-Type"] != "image/png":
            return 403, {"detail": "the headers are not those of the answer"}
        self.files[path] = seen.body
        return 200, {}

    def _holds(self, seen: Seen, analysis: str) -> Reply | None:
        if self.analyses[analysis]["status"] in ("completed", "failed", "canceled"):
            return 409, {"code": "illegal-transition", "current": self.analyses[analysis]["status"]}
        lease = self.leases.get(analysis)
        return None if lease == seen["X-ML-Lease-Token"] else (409, {"code": "lease-lost"})

    def create(self, seen: Seen, image: str) -> Reply:
        for row in self.analyses.values():
            if row.get("external_job_id") == seen.json["external_job_id"]:
                return 200, row
        analysis = self.queue()
        self.analyses[analysis] |= {**seen.json, "image_id": image}
        return 201, self.analyses[analysis]

    def status(self, seen: Seen, analysis: str) -> Reply:
        refusal = self._holds(seen, analysis)
        if refusal is None:
            self.analyses[analysis]["status"] = seen.json["status"]
        return refusal or (200, self.analyses[analysis])

    def presign(self, seen: Seen, analysis: str) -> Reply:
        refusal, wish = self._holds(seen, analysis), seen.json
        path = f"ml_outputs/{analysis}/{wish['filename']}"
        answer = {"upload_url": f"{self.url}/files/{path}?signature=x", "storage_path": path, "method": "PUT"}
        return refusal or (200, answer | {"headers": {"Content-Type": "image/png"}})

    def bulk(self, seen: Seen, analysis: str) -> Reply:
        refusal, held = self._holds(seen, analysis), self.annotations[analysis]
        if refusal:
            return refusal
        batch, items = seen["Idempotency-Key"], seen.json["annotations"]
        named = {item.get("client_id") or f"{batch}#{i}": item for i, item in enumerate(items)}
        if any(held.get(name, item) != item for name, item in named.items()):
            return 409, {"code": "conflict"}
        unchanged = len(held.keys() & named.keys())
        if seen.json["mode"] == "replace":
            held.clear()
        held |= named
        return 200, {"inserted": len(named) - unchanged, "unchanged": unchanged, "total": len(held)}

    def finalize(self, seen: Seen, analysis: str) -> Reply:
        row, wish = self.analyses[analysis], seen.json
        if row["status"] == wish["status"]:
            return 200, row
        if wish.get("expected_annotations", 0) not in (0, len(self.annotations[analysis])):
            return 409, {"code": "conflict"}
        refusal = self._holds(seen, analysis)
        if refusal is None:
            row |= wish
        return refusal or (200, row)

    def claim(self, seen: Seen, analysis: str) -> Reply:
        given = self._lease(seen, [analysis] if analysis not in self.leases else [])
        return (200, given[0]) if given else (409, {"code": "already-claimed"})

    def claim_next(self, seen: Seen) -> Reply:
        free = [name for name, row in self.analyses.items() if row["status"] == "queued"]
        return 200, {"analyses": self._lease(seen, free[: seen.json["max"]])}

    def _lease(self, seen: Seen, free: list[str]) -> list[Json]:
        """The same Idempotency-Key again gives the same leases."""
        claimed = self.claims.setdefault(str(seen["Idempotency-Key"]), free)
        for analysis in claimed:
            self.leases.setdefault(analysis, str(uuid.uuid4()))
            self.analyses[analysis]["status"] = "processing"
        image = {"id": str(uuid.uuid4()), "sha256": hashlib.sha256(IMAGE).hexdigest()}
        image["download_url"] = f"{self.url}/files/image?signature=x"
        return [
            {
                **self.analyses[analysis],
                "lease_token": self.leases[analysis],
                "lease_expires_at": self._expires(),
                "image": image,
            }
            for analysis in claimed
        ]

    def heartbeat(self, seen: Seen, analysis: str) -> Reply:
        told = {"lease_expires_at": self._expires(), "cancel_requested": self.cancel_requested}
        return self._holds(seen, analysis) or (200, told)

    def _expires(self) -> str:
        return datetime.fromtimestamp(self.now + self.lease_seconds, UTC).isoformat().replace("+00:00", "Z")

    def read(self, seen: Seen, analysis: str) -> Reply:
        return 200, self.analyses[analysis]


Handler = Callable[..., Reply]
ROUTES: list[tuple[str, Handler]] = [
    (r"POST /api/images/([^/]+)/analyses", StandIn.create),
    (r"PATCH /api/analyses/([^/]+)/status", StandIn.status),
    (r"POST /api/analyses/([^/]+)/artifacts/presign", StandIn.presign),
    (r"POST /api/analyses/([^/]+)/annotations:bulk", StandIn.bulk),
    (r"POST /api/analyses/([^/]+)/finalize", StandIn.finalize),
    (r"POST /api/analyses/([^/]+)/claim", StandIn.claim),
    (r"POST /api/analyses:claim", StandIn.claim_next),
    (r"POST /api/analyses/([^/]+)/heartbeat", StandIn.heartbeat),
    (r"GET /api/analyses/([^/]+)", StandIn.read),
]


@contextlib.contextmanager
def standing_in() -> Iterator[StandIn]:
    stand_in = StandIn()

    class Requests(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            (status, payload), fault = stand_in.answer(Seen(self.command, self.path, self.headers, body))
            content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            if fault.lost:
                return
            self.send_response(status)
            for name, value in fault.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content) + (10 if fault.cut else 0)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = handle_any

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(stand_in.now, usegmt=True)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
        stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()
