"""Who may come in: one `before_request` for each blueprint. It leaves the principal in `g.principal`.

The order of checks is part of the contract: feature flag (404), size (413), header syntax (400), identity and
signature (401), content type (415), parse (400); then, in the routes, row (404), access (403), fields (422),
state (409).
"""

import re
from collections.abc import Callable
from secrets import token_urlsafe
from typing import Any, TypeVar
from urllib.parse import SplitResult, quote, urlsplit
from uuid import UUID

from flask import Response, current_app, g, redirect, request, session, url_for

from app import signing
from app.errors import (
    Conflict,
    Forbidden,
    InvalidPayload,
    MalformedRequest,
    NotFound,
    PayloadTooLarge,
    SchemeNotAllowed,
    SignatureInvalid,
    SignatureMissing,
    SigningNotConfigured,
    Unauthenticated,
    UnsupportedMediaType,
)
from app.extensions import csrf, db
from app.models import Principal, User
from app.schemas import strict_json
from app.services import accounts

View = TypeVar("View", bound=Callable[..., Any])
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
MULTIPART_OVERHEAD = 1024 * 1024
FORM_BYTES = 256 * 1024  # a form of ours without files
IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")


def principal() -> Principal:
    """Who this request acts for; a guard has put it there."""
    found: Principal = g.principal
    return found


# --- marks on views that the guards read -------------------------------------------------------------------------


def open_to_anyone(view: View) -> View:
    """The page needs no account."""
    view.open_to_anyone = True  # type: ignore[attr-defined]
    return view


def ml_feature(view: View) -> View:
    """The view is not there while ML_ANALYSIS_ENABLED is off."""
    view.ml_feature = True  # type: ignore[attr-defined]
    return view


def unsigned_for_people(view: View) -> View:
    """A person's key alone is enough, even while signatures are required."""
    view.unsigned_for_people = True  # type: ignore[attr-defined]
    return view


def takes_images(count: int) -> Callable[[View], View]:
    """The view takes up to `count` images in one multipart request, so its body may be larger than others."""

    def mark(view: View) -> View:
        view.takes_images = count  # type: ignore[attr-defined]
        return view

    return mark


def _marked(mark: str) -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return bool(getattr(view, mark, False))


# --- the guards --------------------------------------------------------------------------------------------------


def anyone() -> None:
    """Signed addresses and probes: the view itself checks what it needs."""
    g.principal = Principal("user", None, g.request_id)


def browser() -> Response | None:
    """People's pages: a proxy's sign-in or a session, and on unsafe methods the CSRF token of a page of ours."""
    _check_flag()
    _check_size(FORM_BYTES)
    by_proxy = _proxy_user()  # before the session, which may be an old one of somebody else
    g.principal = Principal("user", by_proxy or _session_user(), g.request_id, by_proxy=by_proxy is not None)
    if request.method not in SAFE_METHODS:
        _refuse_foreign()
    if principal().user is None and not _marked("open_to_anyone"):
        return _to_sign_in()
    if request.method not in SAFE_METHODS:
        _take_in(form=True)
        csrf.protect()
    return None


def admin() -> Response | None:
    """The admin pages: people's pages that only an admin may open."""
    refused = browser()
    user = principal().user
    if refused is None and (user is None or not user.is_admin):
        raise Forbidden("Only an admin may open this.")
    return refused


def person() -> None:
    """The JSON API: a person's key, or on GET and HEAD the session of a page."""
    _check_flag()
    _check_size()
    if _marked("open_to_anyone"):
        g.principal = Principal("user", None, g.request_id)
        return
    headers = signing.parse_headers(request.headers)
    user = _key_user() or _proxy_user()
    if user is None and request.method in SAFE_METHODS:
        user = _session_user()
    if user is None and headers is not None:
        raise SchemeNotAllowed(
            "A plain signature does not bind the address, so it authorises no reading; send a key."
        )
    if user is None:
        raise Unauthenticated("Send a key in X-API-Key or Authorization: Bearer.")
    g.principal = Principal("user", user, g.request_id)
    if request.method not in SAFE_METHODS:
        _take_in(form=_marked("takes_images"))
        if not _marked("takes_images"):
            g.body = _json_body()


def pipeline_caller() -> None:
    """The signed API: a valid signature, and whoever's key is sent beside it; cookies are ignored."""
    _check_flag(always=True)
    _check_size()
    headers = signing.parse_headers(request.headers)
    _check_idempotency_key()
    g.principal = _pipeline_principal(headers)
    g.body = _json_body()


def _pipeline_principal(headers: signing.SignatureHeaders | None) -> Principal:
    secrets = current_app.config["ML_CALLBACK_HMAC_SECRET"]
    required = current_app.config["ML_PIPELINE_REQUIRE_HMAC"] and not _marked("unsigned_for_people")
    user = _key_user() or _proxy_user()
    if headers is not None:
        if not secrets:
            raise SigningNotConfigured
        _take_in()
        now = current_app.extensions["clock"]().timestamp()
        skew = current_app.config["ML_SIGNATURE_MAX_SKEW_SECONDS"]
        signing.verify_plain(secrets, headers, request.get_data(), now, skew)
        return Principal("pipeline", user, g.request_id)
    if required and not secrets:
        raise SigningNotConfigured
    if required:
        raise SignatureMissing("Sign this request: X-ML-Timestamp and X-ML-Signature.")
    if user is None and current_app.config["ML_PIPELINE_REQUIRE_HMAC"]:
        raise SignatureMissing("Sign this request (X-ML-Timestamp and X-ML-Signature), or send a key.")
    if user is None:
        raise Unauthenticated("Sign this request, or send a key.")
    _take_in()
    return Principal("user", user, g.request_id)


def _check_flag(*, always: bool = False) -> None:
    if not current_app.config["ML_ANALYSIS_ENABLED"] and (always or _marked("ml_feature")):
        raise NotFound


def _check_size(most: int | None = None) -> None:
    """From Content-Length, before a byte is read; a body that does not tell its length is cut off while reading.

    `most` is the limit in bytes of a view that takes no images, MAX_REQUEST_BYTES unless given.
    """
    request.max_content_length = most
    view = current_app.view_functions.get(request.endpoint or "")
    if count := getattr(view, "takes_images", 0):
        request.max_content_length = count * current_app.config["MAX_IMAGE_BYTES"] + MULTIPART_OVERHEAD
    length, largest = request.content_length, request.max_content_length
    if length is not None and largest is not None and length > largest:
        raise PayloadTooLarge(f"At most {largest} bytes, not {length}.", limit=largest)


def _take_in(*, form: bool = False) -> None:
    """Reads the body to its end. No transaction is open meanwhile: on SQLite it would keep everyone else from writing,
    for as long as the slowest sender takes."""
    db.session.rollback()
    if form:
        request.form  # noqa: B018  # files go to disk as they come
        return
    largest = request.max_content_length
    if request.content_length is None and largest is not None:
        request.max_content_length = largest + 1  # Werkzeug cuts a chunked body off at the limit, in silence
    if largest is not None and len(request.get_data()) > largest:
        raise PayloadTooLarge(f"At most {largest} bytes.", limit=largest)


def _check_idempotency_key() -> None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise MalformedRequest("Idempotency-Key takes 1 to 128 visible ASCII characters.")


def _key_user() -> User | None:
    """The person whose key was sent; None when there is no key. A key that is not right is an error."""
    text = request.headers.get("X-API-Key")
    authorization = request.headers.get("Authorization")
    if text is None and authorization is not None:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Authorization takes the scheme Bearer.")
    if text is None:
        return None
    user = accounts.user_of_key(text.strip())
    if user is None:
        raise SignatureInvalid("The key is unknown, revoked or not right.")
    return user


def _proxy_user() -> User | None:
    """The person a trusted reverse proxy signed in; None when there is none, it names nobody or does not prove itself.

    A browser sends a proxy's sign-in along with every request, so what another site started may change nothing.
    """
    secret = current_app.config["AUTH_PROXY_SECRET"]
    email = _as_utf8(request.headers.get("X-User-Email", "")).strip()
    if not secret or not email or not signing.same(request.headers.get("X-Proxy-Secret", ""), secret):
        return None
    if request.method not in SAFE_METHODS:
        _refuse_foreign()
    user = accounts.find(email)
    if user is None and current_app.config["AUTH_PROXY_CREATE_USERS"]:
        user = _new_proxy_user(email)
    if user is None or user.disabled_at is not None:
        raise Forbidden(f"There is no account for {email}. An admin can make one.")
    return user


def _as_utf8(header: str) -> str:
    """WSGI gives the bytes of a header as Latin-1; addresses in other scripts are sent in UTF-8 (RFC 6532)."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _new_proxy_user(email: str) -> User | None:
    """An account made at first sight, with a password that nobody knows; None when this is no e-mail address."""
    db.session.rollback()
    g.writes = True  # this transaction writes, whatever the method says
    try:
        user = accounts.create_user(email, token_urlsafe(32), by=Principal("system", None, g.request_id))
        db.session.commit()
    except InvalidPayload:
        return None
    except Conflict:  # another request made it first
        db.session.rollback()
        return accounts.find(email)
    finally:
        g.pop("writes")
    return user


def _session_user() -> User | None:
    try:
        user_id, version = UUID(session["user_id"]), int(session["version"])
    except (KeyError, TypeError, ValueError):
        return None
    return accounts.from_session(user_id, version)


def _refuse_foreign() -> None:
    """No other site may make a signed-in browser change anything, token or not."""
    origin = request.headers.get("Origin")
    hosts = {request.host, urlsplit(current_app.config["PUBLIC_URL"]).netloc}
    foreign = origin is not None and _address(origin).netloc not in hosts - {""}
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Forbidden("This request comes from another site.")


def _address(header: str) -> SplitResult:
    """The parts of an address that a browser sent; all empty when it is none."""
    try:
        return urlsplit(header)
    except ValueError:
        return urlsplit("")


def _to_sign_in() -> Response:
    """To the sign-in page, and from there back to the page the person was on.

    What htmx or a form asked for is no page, so the page that asked is taken: its address is in Referer.
    """
    by_htmx = request.headers.get("HX-Request") == "true"
    page = request.full_path.rstrip("?")
    if by_htmx or request.method not in SAFE_METHODS:
        came_from = _address(request.headers.get("Referer", ""))
        page = came_from._replace(scheme="", netloc="").geturl() if came_from.netloc == request.host else ""
    address = url_for("web.sign_in") + ("?next=" + quote(page, safe="/") if page.strip("/") else "")
    if by_htmx:
        return Response(status=401, headers={"HX-Redirect": address})
    return redirect(address, 303)  # type: ignore[return-value]


def _json_body() -> Any:
    if (
        request.content_type
        and request.mimetype != "application/json"
        and not request.mimetype.endswith("+json")
    ):
        raise UnsupportedMediaType(f"The body must be application/json, not {request.mimetype}.")
    return strict_json.parse(request.get_data())
