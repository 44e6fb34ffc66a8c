"""Signatures of requests, signed addresses of local files, and keys: pure functions, no Flask, no database.

A signed request carries `X-ML-Timestamp` and `X-ML-Signature`, the latter with up to four elements of the
form `label=hex`. Reading the headers (`parse_headers`) knows both labels; checking knows `sha256` (plain).
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

from app.errors import (
    Forbidden,
    MalformedRequest,
    SchemeNotAllowed,
    SignatureInvalid,
    SignatureMissing,
    SigningNotConfigured,
    TimestampSkew,
)

PLAIN, V2 = "sha256", "v2"
MAX_ELEMENTS = 4

_TIMESTAMP = re.compile(r"[0-9]{1,11}")
_ELEMENT = re.compile(r"(sha256|v2)=([0-9a-f]{64})")
_PLAIN_ELEMENT = f"{PLAIN}=[0-9a-f]{{64}}"
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{4,64}")
_NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
_KEY = re.compile(r"([a-z]+)_([A-Za-z0-9-]{8,64})_([A-Za-z0-9_-]{32,128})")

# what is taken, for whoever describes it, by header: v2 is known but refused
FORMS = {
    "X-ML-Timestamp": _TIMESTAMP.pattern,
    "X-ML-Signature": f"{_PLAIN_ELEMENT}( {_PLAIN_ELEMENT}){{0,{MAX_ELEMENTS - 1}}}",
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


def sign_plain(secret: str, timestamp: str, body: bytes) -> str:
    """The value of `X-ML-Signature` in the plain scheme: HMAC-SHA256 over `{timestamp}.{body}`."""
    return f"{PLAIN}={_plain_digest(secret, timestamp, body)}"


def _plain_digest(secret: str, timestamp: str, body: bytes) -> str:
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify_plain(
    live_secrets: Sequence[str], headers: SignatureHeaders, body: bytes, now: float, max_skew: int
) -> None:
    """Returns when a plain element was made with a live secret, within `max_skew` seconds of `now`.

    Raises SigningNotConfigured (no secret), SchemeNotAllowed (v2 elements only), TimestampSkew (with
    `server_time`) or SignatureInvalid.
    """
    if not live_secrets:
        raise SigningNotConfigured
    claimed = [signature.digest for signature in headers.signatures if signature.scheme == PLAIN]
    if not claimed:
        raise SchemeNotAllowed("This request takes a plain signature (sha256=).")
    if abs(now - headers.timestamp) > max_skew:
        raise TimestampSkew(
            f"The timestamp is over {max_skew} s away from the server's clock.", server_time=int(now)
        )
    matched = False
    for secret in live_secrets:  # every secret and element, so that the time tells nothing
        expected = _plain_digest(secret, headers.raw_timestamp, body)
        for digest in claimed:
            matched |= hmac.compare_digest(expected, digest)
    if not matched:
        raise SignatureInvalid


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
