"""What can go wrong, as exceptions with a status and a stable code. `responses.py` turns them into answers.

To add one: a class here, a line in `docs/errors.md`. Codes are part of the wire contract and never change.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class LoupeError(Exception):
    """An answer other than success. `detail` is a sentence for the reader; `extra` are further members."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[Mapping[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.errors = list(errors) if errors is not None else None
        self.headers = dict(headers or {})
        self.extra = extra


class MalformedRequest(LoupeError):
    status, code, title = 400, "malformed-request", "The request could not be read"


class ModelNotAllowed(LoupeError):
    status, code, title = 400, "model-not-allowed", "This model is not on the list of allowed models"


class ImageMismatch(LoupeError):
    status, code, title = 400, "image-mismatch", "The body names another image than the address"


class LimitReached(LoupeError):
    status, code, title = 400, "limit-reached", "A limit has been reached"


class TooManyAnnotations(LoupeError):
    status, code, title = 400, "too-many-annotations", "Too many annotations in one request"


class Unauthenticated(LoupeError):
    status, code, title = 401, "unauthenticated", "Sign in or send a key"

    def __init__(self, detail: str = "", **more: Any) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="loupe"'}, **more)


class SignatureMissing(LoupeError):
    status, code, title = 401, "signature-missing", "This request must be signed"


class SignatureInvalid(LoupeError):
    status, code, title = 401, "signature-invalid", "The signature or key is not right"


class TimestampSkew(LoupeError):
    status, code, title = 401, "timestamp-skew", "The timestamp is outside the allowed window"


class Replay(LoupeError):
    status, code, title = 401, "replay", "This signed request was used before"


class SchemeNotAllowed(LoupeError):
    status, code, title = 401, "scheme-not-allowed", "This signature scheme does not authorise this request"


class Forbidden(LoupeError):
    status, code, title = 403, "forbidden", "You have no access to this"


class NotFound(LoupeError):
    status, code, title = 404, "not-found", "There is nothing at this address"


class MethodNotAllowed(LoupeError):
    status, code, title = 405, "method-not-allowed", "This address does not take this method"


class IllegalTransition(LoupeError):
    status, code, title = 409, "illegal-transition", "The analysis cannot change to this status"


class Conflict(LoupeError):
    status, code, title = 409, "conflict", "The request contradicts what is stored"


class AlreadyClaimed(LoupeError):
    status, code, title = 409, "already-claimed", "Another worker holds this analysis"


class LeaseLost(LoupeError):
    status, code, title = 409, "lease-lost", "The lease is over"


class Deleted(LoupeError):
    status, code, title = 410, "deleted", "This has been deleted"


class PayloadTooLarge(LoupeError):
    status, code, title = 413, "payload-too-large", "The request is too large"


class UnsupportedMediaType(LoupeError):
    status, code, title = 415, "unsupported-media-type", "The body must be JSON"


class InvalidPayload(LoupeError):
    """422. `errors` is a list of `{index?, field, reason}`."""

    status, code, title = 422, "invalid-payload", "Some fields are not valid"


class RateLimited(LoupeError):
    status, code, title = 429, "rate-limited", "Too many requests"


class _Unavailable(LoupeError):
    def __init__(self, detail: str = "", *, retry_after: int = 5, **more: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)}, **more)


class StorageUnavailable(_Unavailable):
    status, code, title = 503, "storage-unavailable", "The object store cannot be reached"


class DatabaseUnavailable(_Unavailable):
    status, code, title = 503, "database-unavailable", "The database cannot be reached"


class SigningNotConfigured(_Unavailable):
    status, code, title = 503, "signing-not-configured", "No signing secret is set on this server"


CODES: dict[str, type[LoupeError]] = {
    error.code: error
    for error in (*LoupeError.__subclasses__(), *_Unavailable.__subclasses__())
    if hasattr(error, "code")
}


# These are no part of the contract: they come after the list of its codes.


class RangeNotSatisfiable(LoupeError):
    status, code, title = 416, "range-not-satisfiable", "The file has no such range"


class InternalError(LoupeError):
    status, code, title = 500, "internal-error", "Something went wrong on this server"


class Overloaded(_Unavailable):
    status, code, title = 503, "overloaded", "This server is busy"
