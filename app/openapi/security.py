"""Who is asking, in the document: security schemes, the headers of a signature, and what each guard may refuse."""

from app import errors
from app.guards import IDEMPOTENCY_KEY
from app.openapi.schemas import Json
from app.signing import FORMS

PEOPLE: list[Json] = [{"key": []}, {"bearer": []}, {"proxyUser": [], "proxySecret": []}]
SESSION: Json = {"session": []}
PLAIN: Json = {"signature": [], "timestamp": []}
V2: Json = PLAIN | {"keyId": [], "nonce": []}
# a key may stand beside a signature
SIGNED: list[Json] = [one | proof for one in (PLAIN, V2) for proof in ({}, *PEOPLE)]
SIGNATURE_HEADERS = ("X-ML-Timestamp", "X-ML-Signature", "X-ML-Nonce", "X-ML-Key-Id")

_READING = (errors.MalformedRequest, errors.PayloadTooLarge, errors.DatabaseUnavailable, errors.Forbidden)
_ASKING = (errors.Unauthenticated, errors.SignatureMissing, errors.SignatureInvalid, errors.SchemeNotAllowed)
BY_PERSON = (*_READING, *_ASKING)
BY_READER = (*BY_PERSON, errors.TimestampSkew, errors.SigningNotConfigured)  # a person, or a pipeline
BY_PIPELINE = (*BY_READER, errors.RateLimited, errors.Replay, errors.UnsupportedMediaType)


SIGNING = (
    "`v2=` and 64 lower-case hex digits: HMAC-SHA256 over seven lines with LF between: `mlv2`, the method, the address "
    "as sent (path and `?query`), the key id, the timestamp, the nonce and the hex SHA-256 of the body. It needs "
    "`X-ML-Key-Id` (the id in a pipeline key, or `default` for `ML_CALLBACK_HMAC_SECRET`) and `X-ML-Nonce`. Or "
    "`sha256=`: over the timestamp, a dot and the raw bytes of the body; that binds neither method nor path, so it "
    "authorises no GET."
)


def schemes(cookie: str) -> Json:
    """How people prove who they are; `cookie` is the name of the session's."""
    return {
        "key": _header(
            "X-API-Key",
            "A person's key, `mluser_…`, made on the account page; it may do what that person may. Or a pipeline's, "
            "`mlpip_…`, made by an admin: for analyses, annotations and artifacts of its projects.",
        ),
        "bearer": {"type": "http", "scheme": "bearer", "description": "The same key, after `Bearer`."},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": cookie,
            "description": "The session of a page, for GET and HEAD only.",
        },
        "proxyUser": _header(
            "X-User-Email", "Who a trusted reverse proxy signed in, where `AUTH_PROXY_SECRET` is set."
        ),
        "proxySecret": _header("X-Proxy-Secret", "How that proxy proves itself."),
    }


def signature_schemes() -> Json:
    return {
        "signature": _header("X-ML-Signature", SIGNING),
        "timestamp": _header("X-ML-Timestamp", "Unix seconds, as they were signed."),
        "keyId": _header("X-ML-Key-Id", "Of a v2 signature: which key made it."),
        "nonce": _header("X-ML-Nonce", "Of a v2 signature: random characters, new for each request."),
    }


def _header(name: str, says: str) -> Json:
    return {"type": "apiKey", "in": "header", "name": name, "description": says}


def conditions() -> Json:
    """The header parameter of what can be asked for again."""
    says = "The `ETag` you hold: 304 while it is still the same."
    return {"If-None-Match": _parameter("If-None-Match", says, {"type": "string"})}


def parameters() -> Json:
    """The header parameters of signed operations, by component name; none of them is needed everywhere."""
    says = {
        "X-ML-Timestamp": "Unix seconds; at most `ML_SIGNATURE_MAX_SKEW_SECONDS` from the server's clock.",
        "X-ML-Signature": SIGNING + " Up to four, with one space between, while a secret is changed.",
        "X-ML-Nonce": "22 to 64 random characters: one request that succeeds, and none after it.",
        "X-ML-Key-Id": "Which key a v2 signature was made with: the id of a pipeline key, or `default`.",
    }
    says["Idempotency-Key"] = (
        "Of a bulk request: names the batch, and items without a `client_id` are called `{batch}#{index}`. "
        "Of a claim: names the request, and the same one again gets the same leases."
    )
    says["X-ML-Lease-Token"] = "The `lease_token` of the claim, while the analysis is leased."
    forms = FORMS | {"Idempotency-Key": IDEMPOTENCY_KEY.pattern, "X-ML-Lease-Token": "[A-Za-z0-9_-]{43}"}
    return {
        name: _parameter(name, text, {"type": "string", "pattern": f"^{forms[name]}$"})
        for name, text in says.items()
    }


def _parameter(name: str, says: str, schema: Json) -> Json:
    return {"name": name, "in": "header", "required": False, "description": says, "schema": schema}


HEADERS: Json = {
    "X-Request-ID": {
        "description": "On every answer: the request's id, the caller's own or a new one.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "`Bearer`.", "schema": {"type": "string"}},
    "ETag": {
        "description": "Names what is there; to ask for it again, send it in `If-None-Match`.",
        "schema": {"type": "string"},
    },
    "Content-Disposition": {"description": "The file's name.", "schema": {"type": "string"}},
    "X-Total-Count": {"description": "How many there are on all pages.", "schema": {"type": "integer"}},
    "Link": {
        "description": "RFC 8288: `first`, `prev`, `next`, `last`, as far as there is such a page.",
        "schema": {"type": "string"},
    },
}

# of analyses as a file
EXPORT_HEADERS: Json = {
    "X-ML-Export-Dropped": {
        "description": "What the file does not have: annotations by type with how many there are (or `uncounted`), and "
        "the names of `fields`. RFC 9651; absent where nothing is lost.",
        "schema": {"type": "string"},
        "example": 'heatmap=12, custom=3, fields="parameters provenance"',
    },
}
