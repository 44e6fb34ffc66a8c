"""The signed addresses of files on local disk: what an object store does, for a server without one.

Blueprint `files`. Nobody signs in here; the address itself is the permission, checked before every request.
"""

from collections.abc import Mapping
from typing import IO

from flask import Blueprint, Response, current_app, g, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import wrap_file

from app.errors import Forbidden, MalformedRequest, NotFound, PayloadTooLarge
from app.storage import LocalStorage, StoredObject, current
from app.storage.base import CHUNK, caching, disposition, served_type

files = Blueprint("files", __name__, url_prefix="/files")

HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
}


def _local() -> LocalStorage:
    storage = current()
    if not isinstance(storage, LocalStorage):
        raise NotFound
    return storage


@files.before_request
def require_signed_address() -> None:
    """The guard of this blueprint: what the address allows goes to `g.conditions`."""
    storage = _local()
    key = (request.view_args or {}).get("key", "")
    if len(list(request.args.items(multi=True))) != len(request.args):
        raise Forbidden("A parameter of this address is there twice.")
    method = "GET" if request.method == "HEAD" else request.method
    g.conditions = storage.verify(method, key, request.args.to_dict())


@files.get("/<path:key>", provide_automatic_options=False)
def send_file(key: str) -> Response:
    """The file, or the part of it that `Range` asks for."""
    stream = _local().open(key)
    stored = stream.info
    content_type = g.conditions.get("type", stored.content_type)
    response = Response(wrap_file(request.environ, stream, CHUNK), direct_passthrough=True)
    response.call_on_close(stream.close)
    response.headers.update(HEADERS)
    keep = int(g.conditions.get("keep", 0))
    response.headers["Cache-Control"] = caching(keep, unchanging=keep > 0)
    response.headers["Content-Type"] = served_type(content_type)
    response.headers["Content-Disposition"] = disposition(
        content_type, g.conditions.get("filename"), "inline" in g.conditions
    )
    response.content_length = stored.size
    response.last_modified = stored.modified_at
    response.set_etag(stored.etag)
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=stored.size)
    except RequestedRangeNotSatisfiable:
        response.close()
        raise
    return response


@files.put("/<path:key>", provide_automatic_options=False)
def receive_file(key: str) -> Response:
    """Stores the body if it is what was signed: type, and where given size and SHA-256."""
    if request.headers.get("Content-Type") != g.conditions["type"]:
        raise Forbidden(f"This address takes Content-Type {g.conditions['type']} only.")
    most: int = current_app.config["MAX_REQUEST_BYTES"]
    limit = min(int(g.conditions.get("size", most)), most)
    if request.content_length is not None and request.content_length > limit:
        raise _too_large(limit)

    def accept(stored: StoredObject) -> None:
        _check_as_signed(stored, g.conditions)

    stored = _local().put(key, _Capped(_body(limit), limit), g.conditions["type"], accept)
    response = Response(status=200)
    response.set_etag(stored.etag)
    return response


def _body(limit: int) -> IO[bytes]:
    """The body as it comes in, of known length or chunked."""
    chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
    if chunked and not request.environ.get("wsgi.input_terminated"):  # Werkzeug would read nothing
        raise MalformedRequest("Send a Content-Length: this server cannot read a chunked body.")
    request.max_content_length = limit + 1  # instead of the app's; Flask refuses a chunked body AT its limit
    return request.stream


class _Capped:
    """A stream that refuses to give more than `limit` bytes."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = self._left = limit

    def read(self, size: int = CHUNK) -> bytes:
        chunk = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise _too_large(self._limit)
        return chunk


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"This address takes at most {limit} bytes.")


def _check_as_signed(stored: StoredObject, conditions: Mapping[str, str]) -> None:
    if conditions.get("size", str(stored.size)) != str(stored.size):
        raise MalformedRequest(f"{stored.size} bytes came, {conditions['size']} were announced.")
    if conditions.get("sha256", stored.sha256) != stored.sha256:
        raise MalformedRequest("The SHA-256 of the body is not the one announced.")
