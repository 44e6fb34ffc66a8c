"""Signing as a pipeline does it, written from the contract and not from the code that checks it."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping


def v2_headers(
    secret: str,
    method: str,
    target: str,
    body: bytes,
    moment: int | str,
    *,
    key_id: str = "default",
    nonce: str | None = None,
) -> Mapping[str, str]:
    """The four headers of a v2 signature; `moment` is Unix seconds."""
    nonce = nonce or secrets.token_urlsafe(16)
    lines = ["mlv2", method, target, key_id, str(moment), nonce, hashlib.sha256(body).hexdigest()]
    mac = hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()
    return {
        "X-ML-Timestamp": str(moment),
        "X-ML-Signature": f"v2={mac}",
        "X-ML-Key-Id": key_id,
        "X-ML-Nonce": nonce,
    }
