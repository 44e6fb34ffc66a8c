"""The log: JSON lines on standard error, one for each request and one for everything else that is said.

A line is one object and pure ASCII, whatever stood in a path, a header or an exception: nobody from outside can end a
line, begin another or move the cursor of a terminal. gunicorn's settings load this file by itself, before there is an
app, so it imports nothing from app.
"""

import json
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TextIO

import orjson
from flask import Flask, Response, g, has_request_context, request

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

NAME = "loupe"  # of the handler, so that it is there once
LONGEST = 8000  # characters of one text; of a traceback its end is kept, where the error stands
NOTE = "loupe.request"  # what the app leaves in the WSGI environment for the line of the request

PLAIN = frozenset({str, int, bool, type(None)})  # what any writer of JSON writes alike

_as_ascii = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_requests = logging.getLogger("app.requests")


def start() -> None:
    """Sends what any logger says to standard error, as JSON lines. Calling it again changes nothing."""
    root = logging.getLogger()
    if any(handler.name == NAME for handler in root.handlers):
        return
    root.addHandler(_handler())
    logging.getLogger("app").setLevel(logging.INFO)
    # the server of `flask run` has a line for each request with the query in it, where signatures stand
    logging.getLogger("werkzeug").addFilter(lambda record: " - - [" not in str(record.msg))


def take_over() -> None:
    """For a server: also what Python itself would print, which is warnings and exceptions that nobody could catch."""
    start()
    logging.captureWarnings(True)
    sys.unraisablehook = lambda what: _log_uncaught(what.exc_value, what.err_msg or "exception ignored")
    threading.excepthook = lambda what: _log_uncaught(what.exc_value, "exception ended a thread")


def _log_uncaught(error: BaseException | None, message: str) -> None:
    logging.getLogger("python").error(message, exc_info=error)


def register(app: Flask) -> None:
    """A line for each request, written when its last byte has been handed over."""
    app.after_request(_note)
    app.wsgi_app = RequestLog(app.wsgi_app)  # type: ignore[method-assign]


def _handler() -> logging.Handler:
    handler = _StandardError()
    handler.set_name(NAME)
    handler.setFormatter(JsonLines())
    return handler


class _StandardError(logging.StreamHandler[TextIO]):
    """Whatever sys.stderr is at the moment: a test or a command may have put another in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


# --- one line ----------------------------------------------------------------------------------------------------


class JsonLines(logging.Formatter):
    """`extra={"fields": {…}}` adds members; an exception is the member `exception` with type, message, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": f"{_second(int(record.created))}.{int(record.created % 1 * 1000):03}Z",
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": _message(record),
        }
        if has_request_context():
            line["request_id"] = g.get("request_id")
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = {
                "type": type(record.exc_info[1]).__qualname__,
                "message": _as_text(record.exc_info[1]),
                "traceback": self.formatException(record.exc_info)[-LONGEST:],
            }
        return _written(line)


def _written(line: dict[str, Any]) -> str:
    """orjson writes what is plain ASCII already, as nearly every line is, in 2 instead of 12 µs."""
    if all(value.__class__ in PLAIN or _is_finite(value) for value in line.values()):
        try:
            text = orjson.dumps(line)
        except TypeError:  # a lone surrogate, a number beyond 64 bits
            text = b""
        if text and len(text) <= LONGEST and text.isascii() and b"\x7f" not in text:
            return text.decode("ascii")
    # every character that is not ASCII is written as an escape; DEL is the only control character left
    return _as_ascii(_plain(line)).replace("\x7f", "\\u007f")


@lru_cache(1)
def _second(moment: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit the text: better the text alone than no line
        return _as_text(record.msg)


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__qualname__}>"


def _plain(value: Any) -> Any:
    """The value in what JSON has. A lone surrogate, which many readers of JSON refuse, becomes U+FFFD."""
    if value.__class__ is str and len(value) <= LONGEST and value.isascii():  # most are
        return value
    if value is None or isinstance(value, bool | int) or _is_finite(value):
        return value
    if isinstance(value, Mapping):
        return {_plain(_as_text(name)): _plain(member) for name, member in value.items()}
    if isinstance(value, bytes):
        value = value.decode("ascii", "backslashreplace")
    return _as_text(value)[:LONGEST].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _is_finite(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


# --- one request -------------------------------------------------------------------------------------------------


def _note(response: Response) -> Response:
    rule, quiet = request.url_rule, request.endpoint in ("static", "ops.show_health", "ops.show_readiness")
    note(request.environ, rule.rule if rule else None, quiet=quiet)
    return response


def note(environ: "WSGIEnvironment", route: str | None, *, quiet: bool = False) -> None:
    """Leaves what only the app knows for the line. The route is the rule, which holds nothing a caller wrote."""
    environ[NOTE] = {
        "request_id": g.get("request_id"),
        "actor": g.get("actor") or getattr(g.get("principal"), "actor", "anonymous"),
        "route": route,
        "quiet": quiet,
    }


class RequestLog:
    """Counts bytes and time around the whole app, to the end of a stream.

    Static files and probes have a line only when they fail: probes come every few seconds and files with every page,
    and neither says anything about who did what.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self.app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        line = _Line(environ)

        def start(status: str, *rest: Any) -> Callable[[bytes], object]:
            line.status = int(status[:3])
            return start_response(status, *rest)

        try:
            chunks = self.app(environ, start)
        except BaseException:
            line.status = 500
            line.write()
            raise
        if line.is_quiet():
            return chunks  # untouched, so that the server can send a file by itself
        return _Counted(chunks, line)


class _Line:
    def __init__(self, environ: "WSGIEnvironment") -> None:
        self.environ = environ
        self.started = time.perf_counter()
        self.status = 0
        self.sent = 0
        self.whole = False
        self.failed = False  # while the answer was on its way

    def is_quiet(self) -> bool:
        return bool(self.environ.get(NOTE, {}).get("quiet")) and self.status < 400

    def write(self) -> None:
        note = self.environ.get(NOTE, {})
        method, route = self.environ["REQUEST_METHOD"], note.get("route")
        fields = {
            "request_id": note.get("request_id"),
            "actor": note.get("actor", "anonymous"),
            "method": method,
            "route": route,
            "status": self.status,
            "duration_ms": round((time.perf_counter() - self.started) * 1000, 1),
            "bytes": self.sent,
            "remote": self.environ.get("REMOTE_ADDR"),
        }
        if not self.whole:
            fields["cut_off"] = True
        level = logging.ERROR if self.status >= 500 or self.failed else logging.INFO
        text = f"{method} {route or 'no route'} {self.status}"
        # `log` would look through the stack for who called it: with orjson 38 to 50 → 18 to 25 µs a line
        if _requests.isEnabledFor(level):
            extra = {"fields": fields}
            _requests.handle(_requests.makeRecord(_requests.name, level, "", 0, text, (), None, extra=extra))


class _Counted:
    """The chunks of an answer. The server calls `close` when the last one is sent, or when there is nobody to read."""

    def __init__(self, chunks: Iterable[bytes], line: _Line) -> None:
        self._chunks, self._line = chunks, line
        self._iterator = iter(chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._iterator)
        except StopIteration:
            self._line.whole = True
            raise
        except Exception:  # ours; that the reader went away is met by whoever sends, not here
            self._line.failed = True
            raise
        self._line.sent += len(chunk)
        return chunk

    def close(self) -> None:
        try:
            if close := getattr(self._chunks, "close", None):
                close()
        finally:
            self._line.write()
