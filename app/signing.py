"""Signatures of requests, signed addresses of local files, and keys: pure functions, no Flask, no database.

A signed request carries `X-ML-Timestamp` and `X-ML-Signature`, the latter with up to four elements of the
form `label=hex`: `sha256` is the plain scheme, which binds the body alone, `v2` binds method and address as well.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlencode
from uuid import UUID

from app.errors import (
    Forbidden,
    MalformedRequest,
    SignatureMissing,
    TimestampSkew,
)

PLAIN, V2 = "sha256", "v2"
MAX_ELEMENTS = 4

_TIMESTAMP = re.compile(r"[0-9]{1,11}")
_ELEMENT = re.compile(r"(sha256|v2)=([0-9a-f]{64})")
_EITHER = "(sha256|v2)=[0-9a-f]{64}"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{4,64}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
_KEY = re.compile(r"([a-z]+)_([A-Za-z0-9-]{8,64})_([A-Za-z0-9_-]{32,128})")

# what is taken, for whoever describes it, by header
FORMS = {
    "X-ML-Timestamp": _TIMESTAMP.pattern,
    "X-ML-Signature": f"{_EITHER}( {_EITHER}){{0,{MAX_ELEMENTS - 1}}}",
    "X-ML-Nonce": _NONCE.pattern,
    "X-ML-Key-Id": _KEY_ID.pattern,
}


class HeaderBag(Protocol):
    """What is needed of a request's headers: a dict or Werkzeug's Headers will do."""

    def get(self, key: str, /) -> str | None: ...


@dataclass(frozen=True)
class Signature:
    """One element of the header: `scheme` is `sha256` or `v2`, `digest` 64 lower-case hex digits."""

    scheme: str
    digest: str


@dataclass(frozen=True)
class SignatureHeaders:
    """Signature headers of the right form. `raw_timestamp` is what was signed, zeros in front and all."""

    timestamp: int
    raw_timestamp: str
    signatures: tuple[Signature, ...]
    nonce: str | None
    key_id: str | None

    def digests(self, scheme: str) -> list[str]:
        return [signature.digest for signature in self.signatures if signature.scheme == scheme]


@dataclass(frozen=True)
class Sent:
    """What a signature may bind: the method, the request target as it was sent (`/path?query`) and the raw body."""

    method: str
    target: str
    body: bytes


def parse_headers(headers: HeaderBag) -> SignatureHeaders | None:
    """The signature headers, or None for a request that is not signed.

    Raises MalformedRequest for headers of the wrong form and SignatureMissing for a timestamp alone.
    """
    signature, timestamp = headers.get("X-ML-Signature"), headers.get("X-ML-Timestamp")
    if signature is None and timestamp is None:
        return None
    if timestamp is None:
        raise SignatureMissing("X-ML-Signature is there, X-ML-Timestamp is not.")
    _demand(_TIMESTAMP, timestamp, "X-ML-Timestamp must be Unix seconds: 1 to 11 digits.")
    if signature is None:
        raise SignatureMissing("X-ML-Timestamp is there, X-ML-Signature is not.")
    elements = _parse_elements(signature)
    nonce, key_id = headers.get("X-ML-Nonce"), headers.get("X-ML-Key-Id")
    if nonce is not None:
        _demand(_NONCE, nonce, "X-ML-Nonce must be 22 to 64 of A-Z a-z 0-9 _ -.")
    if key_id is not None:
        _demand(_KEY_ID, key_id, "X-ML-Key-Id must be 4 to 64 of A-Z a-z 0-9 _ -.")
    if any(element.scheme == V2 for element in elements) and (nonce is None or key_id is None):
        raise MalformedRequest("A v2 signature needs X-ML-Key-Id and X-ML-Nonce beside it.")
    return SignatureHeaders(int(timestamp), timestamp, elements, nonce, key_id)


def _parse_elements(header: str) -> tuple[Signature, ...]:
    parts = header.split(" ")
    if len(parts) > MAX_ELEMENTS:
        raise MalformedRequest(f"X-ML-Signature may hold at most {MAX_ELEMENTS} elements.")
    matches = [_ELEMENT.fullmatch(part) for part in parts]
    if not all(matches):
        raise MalformedRequest(
            "X-ML-Signature must be sha256= or v2= and 64 lower-case hex digits, "
            "or several of these with one space between."
        )
    return tuple(Signature(match[1], match[2]) for match in matches if match)


def _demand(form: re.Pattern[str], value: str, otherwise: str) -> None:
    if not form.fullmatch(value):
        raise MalformedRequest(otherwise)


def string_to_sign(scheme: str, headers: SignatureHeaders, sent: Sent) -> bytes:
    """The bytes that are signed: seven lines in v2, `{timestamp}.{body}` in the plain scheme."""
    if scheme == PLAIN:
        return headers.raw_timestamp.encode() + b"." + sent.body
    bound = (headers.key_id or "", headers.raw_timestamp, headers.nonce or "")
    lines = ("mlv2", sent.method, sent.target, *bound, hashlib.sha256(sent.body).hexdigest())
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def sign(scheme: str, secret: str, headers: SignatureHeaders, sent: Sent) -> str:
    """One element of `X-ML-Signature`: HMAC-SHA256 with the UTF-8 bytes of the whole secret."""
    return f"{scheme}={_digest(secret, string_to_sign(scheme, headers, sent))}"


def _digest(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def refuse_old(headers: SignatureHeaders, now: float, max_skew: int) -> None:
    """Raises TimestampSkew (with `server_time`) for what was signed over `max_skew` seconds from `now`."""
    if abs(now - headers.timestamp) > max_skew:
        raise TimestampSkew(
            f"The timestamp is over {max_skew} s away from the server's clock.", server_time=int(now)
        )


def matching(
    scheme: str, secrets: Sequence[str], headers: SignatureHeaders, sent: Sent
) -> list[tuple[int, str]]:
    """The elements of this scheme that are right: which of the secrets made it, and its digest.

    Every secret and element is compared, so that the time tells nothing.
    """
    text, found = string_to_sign(scheme, headers, sent), []
    for place, secret in enumerate(secrets):
        expected = _digest(secret, text)
        for digest in headers.digests(scheme):
            if hmac.compare_digest(expected, digest):
                found.append((place, digest))
    return found


def demand_plain_path(target: str) -> None:
    """Raises MalformedRequest for a path that a proxy may rewrite on its way, so that v2 could not bind it."""
    path = target.partition("?")[0]
    if "%" in path or "//" in path or {".", ".."} & set(path.split("/")):
        raise MalformedRequest("The path of a v2 request holds no %, no // and no . or .. segment.")


# Keys: `{prefix}_{id}_{secret}`. The id holds no underscore, so the secret may.


@dataclass(frozen=True)
class MintedKey:
    """A new key. `full` is shown to its owner once; only `key_id` and `secret_hash` are stored."""

    key_id: str
    secret_hash: str
    full: str = field(repr=False)


@dataclass(frozen=True)
class ParsedKey:
    prefix: str
    key_id: str
    secret: str = field(repr=False)


def mint_key_id(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """16 random characters out of `a-z2-7`."""
    return base64.b32encode(random_bytes(10)).decode().lower()


def mint_key(
    prefix: str, random_bytes: Callable[[int], bytes] = secrets.token_bytes, *, key_id: str | None = None
) -> MintedKey:
    """A new key with a secret of 32 random bytes, and a random id unless one is given."""
    key_id = key_id or mint_key_id(random_bytes)
    secret = base64.urlsafe_b64encode(random_bytes(32)).decode().rstrip("=")
    return MintedKey(key_id, hash_secret(secret), f"{prefix}_{key_id}_{secret}")


def mint_signing_secret(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """What a pipeline key signs with: `mlsec_` and 32 random bytes."""
    return "mlsec_" + base64.urlsafe_b64encode(random_bytes(32)).decode().rstrip("=")


def split_key(text: str) -> ParsedKey | None:
    """The parts of a key, or None when the text has not the form of one."""
    match = _KEY.fullmatch(text)
    return ParsedKey(*match.groups()) if match else None


def hash_secret(secret: str) -> str:
    """What is stored of a key's secret: hex SHA-256. The secret is random, so it needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())


def secret_matches(secret: str, secret_hash: str) -> bool:
    """Whether the secret has this stored hash, in constant time."""
    return hmac.compare_digest(hash_secret(secret), secret_hash)


# What Loupe sends out.


def webhook_secret(secret: str) -> bytes:
    """What webhooks are signed with, derived from a secret that pipelines sign with: a receiver can verify with it, and
    cannot sign as a pipeline."""
    return hmac.new(secret.encode(), b"loupe-webhook-1", hashlib.sha256).digest()


def sign_webhook(secrets: Sequence[str], delivery_id: str, timestamp: int, body: bytes) -> str:
    """The header `webhook-signature` of Standard Webhooks: an element for each secret, so that any of them verifies.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md: HMAC-SHA256 over
    `{id}.{timestamp}.{body}` with `webhook_secret`, which a receiver writes as `whsec_` and its base64.
    """
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    digests = [hmac.new(webhook_secret(secret), signed, hashlib.sha256).digest() for secret in secrets]
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


# Signed addresses of files on local disk.


def sign_url(
    secret: str, method: str, key: str, expires_at: int, conditions: Mapping[str, str]
) -> dict[str, str]:
    """Query parameters that allow `method` on the file `key` until `expires_at` (Unix seconds).

    The conditions become parameters of the same names and are signed with the rest.
    """
    signature = _url_digest(secret, method, key, str(expires_at), conditions)
    return {**conditions, "expires": str(expires_at), "signature": signature}


def verify_url(secret: str, method: str, key: str, query: Mapping[str, str], now: float) -> dict[str, str]:
    """The conditions of a signed address. Raises Forbidden when it is unsigned, altered or expired."""
    expires, signature = query.get("expires", ""), query.get("signature", "")
    conditions = {name: value for name, value in query.items() if name not in ("expires", "signature")}
    expected = _url_digest(secret, method, key, expires, conditions)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogatepass")):
        raise Forbidden("The signature of this address is not right.")
    if now > int(expires):
        raise Forbidden("This address has expired.")
    return conditions


def _url_digest(secret: str, method: str, key: str, expires: str, conditions: Mapping[str, str]) -> str:
    query = urlencode(sorted(conditions.items()), errors="surrogatepass")
    text = f"loupe-file-1\n{method}\n{key}\n{expires}\n{query}"
    return hmac.new(secret.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


# Tokens of leases: derived and never stored, so a copy of the database holds none.


def lease_token(secret: str, analysis_id: UUID, epoch: int) -> str:
    """The token of the analysis's lease of this epoch: 43 characters of url-safe base64."""
    text = f"loupe-lease-1\n{analysis_id}\n{epoch}"
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_lease_token(secret: str, analysis_id: UUID, epoch: int, token: str) -> bool:
    """Whether it is the token of just this epoch, in constant time."""
    return same(token, lease_token(secret, analysis_id, epoch))
