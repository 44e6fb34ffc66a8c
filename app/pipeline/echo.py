"""A mirror for whoever writes a pipeline: does this request verify, and what did the server sign to compare?"""

import hashlib
from typing import Any

from flask import Response, current_app, request

from app import callers, signing
from app.errors import LoupeError, MalformedRequest, SignatureMissing
from app.guards import open_to_anyone
from app.openapi import Answer, operation
from app.pipeline import pipeline
from app.responses import answer
from app.schemas.echo import EchoOut
from app.services import nonces

LONGEST_SHOWN = 64 * 1024  # bytes of a body that is shown again


@pipeline.post("/pipeline/echo")
@operation(
    "Document",
    {200: Answer(EchoOut, says="Whether it verifies; that it does not is no error here.")},
    raises=(MalformedRequest, SignatureMissing),
)
@open_to_anyone
def echo_request() -> Response:
    """Tells whether a signed request verifies, and the string that the server signed to compare it with.

    Nothing is written: a nonce is not spent by asking. No secret is told.
    """
    headers, sent = signing.parse_headers(request.headers), callers.sent()
    body: dict[str, Any] = {
        "verified": True,
        "scheme": None,
        "code": None,
        "detail": "The signature is right.",
        "server_time": int(current_app.extensions["clock"]().timestamp()),
        "body_bytes": len(sent.body),
        "body_sha256": hashlib.sha256(sent.body).hexdigest(),
        "string_to_sign": _strings(headers, sent) if headers else {},
    }
    try:
        body["scheme"] = _verified(headers)
    except LoupeError as error:
        body |= {"verified": False, "code": error.code, "detail": error.detail}
    return answer(body)


def _verified(headers: signing.SignatureHeaders | None) -> str:
    """The scheme that verified. Raises what the guard of a signed route would."""
    if headers is None:
        raise SignatureMissing("Sign this request: X-ML-Timestamp and X-ML-Signature.")
    proof = callers.by_signature(headers, callers.by_key().pipeline_key)
    nonces.refuse_used(proof.uses)
    return proof.scheme


def _strings(headers: signing.SignatureHeaders, sent: signing.Sent) -> dict[str, str]:
    strings = {}
    for scheme in {element.scheme for element in headers.signatures}:
        if scheme == signing.PLAIN and len(sent.body) > LONGEST_SHOWN:
            continue
        try:
            strings[scheme] = signing.string_to_sign(scheme, headers, sent).decode()
        except UnicodeDecodeError:
            continue
    return strings
