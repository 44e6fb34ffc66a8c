"""How answers look: a page or its fragment, a redirect, a download, a stream, and every error.

The one place where an exception becomes a response: problem+json (RFC 9457) under `/api/` and `/files/`, a fragment
for htmx, a page for people.
"""

import errno
import time
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache, partial
from secrets import token_hex
from typing import Any, Protocol

import orjson
from flask import (
    Flask,
    Request,
    Response,
    current_app,
    g,
    redirect,
    render_template,
    request,
    stream_with_context,
)
from flask.json.provider import JSONProvider
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.sansio.utils import get_current_url

from app.errors import (
    CODES,
    DatabaseUnavailable,
    Forbidden,
    InternalError,
    LoupeError,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RangeNotSatisfiable,
    StorageUnavailable,
)
from app.extensions import db
from app.storage import Storage
from app.storage.base import disposition, served_type

ATTACHMENT_HEADERS = {"Content-Security-Policy": "sandbox; default-src 'none'"}
REQUEST_ID = "X-Request-ID"
# of every answer that has none of its own
HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
JSON_PATHS = ("/api/", "/files/")
# 55P03 lock_timeout, 57014 statement_timeout: the database lives but did not answer in time
SLOW_DATABASE = frozenset({"55P03", "57014"})
# no room, or none for us; uploads are kept on disk before anything looks at them
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
DRAIN_SECONDS, DRAIN_PAUSE_SECONDS, DRAIN_CHUNK = 10.0, 0.5, 64 * 1024


class OrjsonProvider(JSONProvider):
    def dumps(self, obj: Any, **_: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return orjson.loads(s)


def register(app: Flask) -> None:
    app.json = OrjsonProvider(app)
    for kind in (LoupeError, HTTPException, DBAPIError, Exception):
        app.register_error_handler(kind, _answer)
    app.after_request(set_headers)
    app.teardown_appcontext(_end_transaction)


# --- answers that are not errors ---------------------------------------------------------------------------------


def page_or(page: str, fragment: str, status: int = 200, **context: Any) -> Response:
    """The fragment for htmx, the whole page for everyone else and for a history restore."""
    response = Response(render_template(fragment if asked_by_htmx() else page, **context), status)
    response.vary.add("HX-Request")
    return response


def asked_by_htmx() -> bool:
    """Whether a fragment is wanted, and not a page or a page that is restored."""
    sent = request.headers
    return sent.get("HX-Request") == "true" and sent.get("HX-History-Restore-Request") != "true"


def see_other(address: str) -> Response:
    return redirect(address, 303)  # type: ignore[return-value]


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON, written by orjson."""
    return Response(orjson.dumps(value), status, headers, content_type="application/json")


class Downloadable(Protocol):
    """A file as it is made: `exports.Download` is one."""

    @property
    def filename(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def chunks(self) -> Iterator[bytes]: ...


def download(file: Downloadable, headers: Mapping[str, str] | None = None) -> Response:
    """The bytes as they are made, under the file's name, with further headers.

    The first are made here, so that what fails until then is an error like any other.
    """
    first = next(file.chunks, b"")
    chunks = stream_with_context(_begun(first, file.chunks))
    response = Response(chunks, headers=dict(headers or {}), content_type=file.content_type)
    response.headers["Content-Disposition"] = disposition(file.content_type, file.filename, inline=False)
    return response


def _begun(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def stored_file(
    storage: Storage, key: str, content_type: str, etag: str | None = None, filename: str = ""
) -> Response:
    """A file of the storage, streamed; 304 when the client has it. Without a file name it is shown, not saved."""
    response = Response(content_type=served_type(content_type))
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Disposition"] = disposition(content_type, filename, inline=not filename)
    if etag is not None:
        response.set_etag(etag)
        if request.if_none_match.contains_weak(etag):
            response.status_code = 304
            return response
    source = storage.open(key)
    response.content_length = source.info.size
    response.direct_passthrough = True
    response.response = [] if request.method == "HEAD" else source
    response.call_on_close(source.close)
    return response


def base_url() -> str:
    """The address people and pipelines reach this server at, without a slash at its end."""
    public: str = current_app.config["PUBLIC_URL"]
    return public or _address_of(request.scheme, request.host, request.root_path)


@lru_cache(100)
def _address_of(scheme: str, host: str, root: str) -> str:
    """Remembered: to put it together is 20 us of each presign."""
    return get_current_url(scheme, host, root).rstrip("/")


# --- errors ------------------------------------------------------------------------------------------------------


def problem(error: LoupeError) -> Response:
    """The error as problem+json."""
    body = {
        "type": f"urn:loupe:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": g.get("request_id"),
        **error.extra,
    }
    if error.errors is not None:
        body["errors"] = error.errors
    return Response(orjson.dumps(body), error.status, error.headers, content_type="application/problem+json")


class FormOutOfDate(Forbidden):
    """A form without the token of this session."""

    title = "This form is out of date"


def _answer(raised: Exception) -> Response:
    if isinstance(raised, HTTPException) and raised.code is not None and raised.code < 400:
        return raised.get_response()  # type: ignore[return-value]  # a redirect of the router
    error = _as_error(raised)
    _end_transaction()
    response = problem(error) if request.path.startswith(JSON_PATHS) else _page_without_database(error)
    response.call_on_close(partial(_drain, request.environ))
    return response


def _end_transaction(_error: BaseException | None = None) -> None:
    """Rolls back. Where the connection is lost there is nothing left to roll back, and the answer stays what it is."""
    if not db.session.registry.has():  # nobody asked for one, and making one to end it takes 30 µs
        return
    try:
        db.session.rollback()
    except SQLAlchemyError as lost:
        current_app.logger.warning("the database went away before the end of a transaction", exc_info=lost)
        db.session().invalidate()
        _forget_the_person()  # no row of this session can be read any more


def _forget_the_person() -> None:
    """Who it was stays known to the log."""
    if principal := g.get("principal"):
        g.actor, g.principal = principal.actor, None


def _page_without_database(error: LoupeError) -> Response:
    """The page of the error. A page shows whose it is, and only the database knows that: without it, nobody's."""
    try:
        if not isinstance(error, DatabaseUnavailable):
            return _error_page(error)
    except SQLAlchemyError as lost:
        error = _as_error(lost)
        _end_transaction()
    _forget_the_person()
    return _error_page(error)


def _error_page(error: LoupeError) -> Response:
    template = "_error.html" if request.headers.get("HX-Request") == "true" else "error.html"
    text = render_template(
        template,
        status=error.status,
        title=error.title,
        detail=error.detail,
        errors=error.errors,
        limit=error.extra.get("limit") if error.status == PayloadTooLarge.status else None,
        retry_after=error.headers.get("Retry-After"),
        form=_page_of_form() if isinstance(error, FormOutOfDate) else None,
        request_id=g.get("request_id"),
    )
    response = Response(text, error.status, error.headers)
    response.vary.add("HX-Request")
    return response


def _page_of_form() -> str:
    """Where a form is that was sent here: addresses that only take forms lead there."""
    adapter = current_app.create_url_adapter(request)
    return request.path if adapter is not None and adapter.test(method="GET") else "/"


def _as_error(raised: Exception) -> LoupeError:
    if isinstance(raised, LoupeError):
        return raised
    if isinstance(raised, CSRFError):
        return FormOutOfDate(
            "It belongs to a session that is over, or came from elsewhere. Open it again and repeat."
        )
    if isinstance(raised, RequestEntityTooLarge):
        return PayloadTooLarge(f"At most {request.max_content_length} bytes.")
    if isinstance(raised, HTTPException):
        return _of_router(raised)
    if isinstance(raised, OperationalError | InterfaceError) or getattr(
        raised, "connection_invalidated", False
    ):
        current_app.logger.error("database unavailable", exc_info=raised)
        return DatabaseUnavailable()
    if isinstance(raised, PoolExhausted):
        current_app.logger.error("no database connection was free in time")
        return DatabaseUnavailable("The database is too busy.")
    if isinstance(raised, OSError) and raised.errno in FULL_DISK:
        current_app.logger.error("no room on the disk", exc_info=raised)
        return StorageUnavailable("The disk of the server is full.")
    if getattr(getattr(raised, "orig", None), "sqlstate", None) in SLOW_DATABASE:
        return DatabaseUnavailable("The database is too busy.")
    current_app.logger.error("unhandled exception", exc_info=raised)
    return InternalError("The error has been written to the log under this request id.")


def _of_router(raised: HTTPException) -> LoupeError:
    if raised.code == 405 and _is_switched_off(raised):
        return NotFound()
    if raised.code == 405:
        allowed = ", ".join(sorted(getattr(raised, "valid_methods", None) or ()))
        return MethodNotAllowed(headers={"Allow": allowed})
    if raised.code == 404:
        return NotFound()
    if raised.code == 416:
        return RangeNotSatisfiable(headers={k: v for k, v in raised.get_headers() if k == "Content-Range"})
    if raised.code is not None and raised.code < 500:
        same = (kind for kind in CODES.values() if kind.status == raised.code)
        return next(same, MalformedRequest)(raised.description or "")
    return InternalError(raised.description or "")


def _is_switched_off(refused: HTTPException) -> bool:
    """Whether all there is at this address belongs to a feature that is switched off: then it is not there."""
    adapter = current_app.create_url_adapter(request)
    methods = set(getattr(refused, "valid_methods", None) or ()) - {"HEAD", "OPTIONS"}
    endpoints = [adapter.match(method=method)[0] for method in methods] if adapter else []
    return bool(endpoints) and all(map(_is_off, endpoints))


def _is_off(endpoint: str) -> bool:
    view, config = current_app.view_functions[endpoint], current_app.config
    of_analyses = endpoint.startswith("pipeline.") or hasattr(view, "ml_feature")
    return (of_analyses and not config["ML_ANALYSIS_ENABLED"]) or (
        not config.get(getattr(view, "switched_on_by", ""), True)
    )


def _drain(environ: dict[str, Any]) -> None:
    """Reads off what is left of a body after its refusal was sent, and keeps none of it.

    A server that closes while the client is still sending resets the connection, and the client never sees the answer.
    It ends with the body, with a client that pauses, or after ten seconds. Only gunicorn tells us its socket.
    """
    connection, source = environ.get("gunicorn.socket"), environ["wsgi.input"]
    if connection is None:
        return
    before, end = connection.gettimeout(), time.monotonic() + DRAIN_SECONDS
    try:
        connection.settimeout(DRAIN_PAUSE_SECONDS)
        while time.monotonic() < end and source.read(DRAIN_CHUNK):
            pass
        connection.settimeout(before)
    except OSError:
        return  # the client paused or has gone; gunicorn closes the connection


# --- headers -----------------------------------------------------------------------------------------------------


def begin_request() -> None:
    g.request_id = request_id(request)


def request_id(asked: Request) -> str:
    """Every request has an id: the caller's own if it has a sane form, else a new one."""
    sent = asked.headers.get(REQUEST_ID, "")
    sane = 0 < len(sent) <= 64 and all(c.isascii() and (c.isalnum() or c in "._-") for c in sent)
    return sent if sane else token_hex(16)


@cache
def content_security_policy(bucket: str | None) -> str:
    """Nothing but this origin, and the object store's for pictures."""
    extra = f" {bucket}" if bucket else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; "
        f"img-src 'self' data: blob:{extra}; font-src 'self'; connect-src 'self'{extra}; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; object-src 'none'; manifest-src 'self'"
    )


def set_headers(response: Response) -> Response:
    policy = content_security_policy(current_app.extensions["storage"].public_origin())
    there = {name.lower() for name, _ in response.headers}
    for name, value in (("Content-Security-Policy", policy), *HEADERS):
        if name.lower() not in there:
            response.headers.add(name, value)
    response.headers[REQUEST_ID] = g.get("request_id", "")
    return response
