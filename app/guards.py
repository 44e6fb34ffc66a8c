"""Who may come in: one `before_request` for each blueprint. It leaves the principal in `g.principal`.

The order of checks is part of the contract: feature flag (404), size (413), header syntax (400), identity and
signature (401), content type (415), parse (400); then, in the routes, row (404), access (403), fields (422),
state (409). On the signed API the rate of the address (429) comes before the size, as what is too large costs time
too, and the rate of the key after the identity.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from flask import Response, current_app, g, redirect, request, url_for

from app import callers, rates, signing
from app.callers import SAFE_METHODS
from app.errors import (
    Forbidden,
    MalformedRequest,
    NotFound,
    PayloadTooLarge,
    SchemeNotAllowed,
    SignatureMissing,
    SigningNotConfigured,
    Unauthenticated,
    UnsupportedMediaType,
)
from app.extensions import csrf, db
from app.models import PipelineKey, Principal
from app.schemas import strict_json
from app.services import nonces

View = TypeVar("View", bound=Callable[..., Any])
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


def body_may_be_empty(view: View) -> View:
    """No body at all is as good as an empty object."""
    view.body_may_be_empty = True  # type: ignore[attr-defined]
    return view


def at_a_glance(answer: Callable[..., Response | None]) -> Callable[[View], View]:
    """A view that is asked again and again, and mostly for what it said before.

    `answer` is asked first, with the id and the session version of the person whose session it is and with the parts
    of the address. It answers where it sees, in one statement, that this person may look and that it has the answer
    ready; with None the guard and the view do all they do otherwise, and every refusal is theirs.
    """

    def mark(view: View) -> View:
        view.at_a_glance = answer  # type: ignore[attr-defined]
        return view

    return mark


def switched_on_by(setting: str) -> Callable[[View], View]:
    """The view is not there while this setting is off."""

    def mark(view: View) -> View:
        view.switched_on_by = setting  # type: ignore[attr-defined]
        return view

    return mark


def unsigned_for_people(view: View) -> View:
    """A person's key alone is enough, even while signatures are required."""
    view.unsigned_for_people = True  # type: ignore[attr-defined]
    return view


def unsigned_for_keys(view: View) -> View:
    """Any key alone is enough, a pipeline's as well."""
    view.unsigned_for_keys = True  # type: ignore[attr-defined]
    return unsigned_for_people(view)


def open_to_pipelines(view: View) -> View:
    """A pipeline may read this with its key or a v2 signature; the rest of the JSON API is for people."""
    view.open_to_pipelines = True  # type: ignore[attr-defined]
    return ml_feature(view)


def takes_file(*types: str) -> Callable[[View], View]:
    """The body is a file of one of these content types, or JSON, that the view parses itself."""

    def mark(view: View) -> View:
        view.takes_file = types  # type: ignore[attr-defined]
        return view

    return mark


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
    by_proxy = callers.by_proxy()  # before the session, which may be an old one of somebody else
    if by_proxy is None and (ready := _at_a_glance()) is not None:
        return ready
    g.principal = Principal(
        "user", by_proxy or callers.by_session(), g.request_id, by_proxy=by_proxy is not None
    )
    if request.method not in SAFE_METHODS:
        callers.refuse_foreign()
    if principal().user is None and not _marked("open_to_anyone"):
        return _to_sign_in()
    if request.method not in SAFE_METHODS:
        _take_in(form=True)
        csrf.protect()
    return None


def _at_a_glance() -> Response | None:
    """What the view has ready for the person of this session; see `at_a_glance`."""
    answer = getattr(current_app.view_functions.get(request.endpoint or ""), "at_a_glance", None)
    if answer is None or request.method not in ("GET", "HEAD") or (person := callers.in_session()) is None:
        return None
    ready: Response | None = answer(*person, **(request.view_args or {}))
    if ready is not None:
        g.actor = f"user:{person[0]}"  # for the log, which finds no principal
    return ready


def admin() -> Response | None:
    """The admin pages: people's pages that only an admin may open."""
    refused = browser()
    user = principal().user
    if refused is None and (user is None or not user.is_admin):
        raise Forbidden("Only an admin may open this.")
    return refused


def person() -> None:
    """The JSON API: a person's key, or on GET and HEAD the session of a page; some of it is open to pipelines."""
    _check_flag()
    _check_size()
    if _marked("open_to_anyone"):
        g.principal = Principal("user", None, g.request_id)
        return
    headers = signing.parse_headers(request.headers)
    _check_target(headers)
    key = _sender()
    user = key.user
    if user is None and key.pipeline_key is None and request.method in SAFE_METHODS:
        user = callers.by_session()
    if key.pipeline_key or (headers and headers.digests(signing.V2)):
        g.principal = _reading_pipeline(headers, callers.KeySent(user, key.pipeline_key))
        return
    if user is None and headers is not None:
        raise SchemeNotAllowed(
            "A plain signature does not bind the address, so it authorises no reading; send a key, or sign with v2."
        )
    if user is None:
        raise Unauthenticated("Send a key in X-API-Key or Authorization: Bearer.")
    g.principal = Principal("user", user, g.request_id)
    if request.method not in SAFE_METHODS:
        _take_in(form=_marked("takes_images"))
        if not _marked("takes_images"):
            g.body = _json_body()


def _sender() -> callers.KeySent:
    """Whose key was sent; without one, whom a reverse proxy signed in."""
    key = callers.by_key()
    return key if key.user or key.pipeline_key else callers.KeySent(callers.by_proxy())


def _reading_pipeline(headers: signing.SignatureHeaders | None, key: callers.KeySent) -> Principal:
    """A pipeline that reads. A nonce is not spent by reading."""
    signed = headers is not None and bool(headers.digests(signing.V2))
    proven = key.pipeline_key
    if headers is not None and signed:
        _take_in()
        proof = callers.by_signature(headers, key.pipeline_key)
        if proof.scheme != signing.V2:
            raise SchemeNotAllowed(
                "A plain signature does not bind the address, so it authorises no reading."
            )
        proven = proof.key
    found = _pipeline(proven, key, signed=signed)
    if not _marked("open_to_pipelines"):
        raise Forbidden("Pipelines open analyses, annotations and artifacts only.")
    return found


def _pipeline(proven: PipelineKey | None, key: callers.KeySent, *, signed: bool) -> Principal:
    told = callers.proven(proven) if proven else None
    if proven is not None:
        callers.note_use(proven)
    return Principal("pipeline", key.user, g.request_id, key=told, signed=signed)


def pipeline_caller() -> None:
    """The signed API: a valid signature, and whoever's key is sent beside it; cookies are ignored."""
    _check_flag(always=True)
    rates.count_address()
    _check_size()
    headers = signing.parse_headers(request.headers)
    _check_target(headers)
    _check_idempotency_key()
    g.uses = ()
    if _marked("open_to_anyone"):
        _take_in()
        g.principal = Principal("user", None, g.request_id)
        return
    g.principal = _pipeline_principal(headers)
    rates.count_key(principal())
    g.body = _json_body()


def _pipeline_principal(headers: signing.SignatureHeaders | None) -> Principal:
    key = _sender()
    if headers is None:
        return _unsigned(key)
    _take_in()
    proof = callers.by_signature(headers, key.pipeline_key)
    nonces.refuse_used(proof.uses)
    g.uses = proof.uses
    found = _pipeline(proof.key, key, signed=True)
    _let_go()  # nothing is held while the body is parsed
    return found


def _unsigned(key: callers.KeySent) -> Principal:
    """Whoever need not sign: where signatures are not required at all, or not of these callers on this route."""
    required = current_app.config["ML_PIPELINE_REQUIRE_HMAC"]
    for_people, for_keys = _marked("unsigned_for_people"), _marked("unsigned_for_keys")
    if required and not for_people:
        if not current_app.config["ML_CALLBACK_HMAC_SECRET"] and key.pipeline_key is None:
            raise SigningNotConfigured
        raise SignatureMissing("Sign this request: X-ML-Timestamp and X-ML-Signature.")
    if key.user is not None:
        _take_in()
        return Principal("user", key.user, g.request_id)
    if key.pipeline_key is not None and (for_keys or not required):
        found = _pipeline(key.pipeline_key, key, signed=False)
        _take_in()
        return found
    if required:
        raise SignatureMissing("Sign this request (X-ML-Timestamp and X-ML-Signature), or send a key.")
    raise Unauthenticated("Sign this request, or send a key.")


def _check_target(headers: signing.SignatureHeaders | None) -> None:
    if headers is not None and headers.digests(signing.V2):
        signing.demand_plain_path(callers.target())


def _check_flag(*, always: bool = False) -> None:
    if not current_app.config["ML_ANALYSIS_ENABLED"] and (always or _marked("ml_feature")):
        raise NotFound
    view = current_app.view_functions.get(request.endpoint or "")
    switch = getattr(view, "switched_on_by", None)
    if switch is not None and not current_app.config[switch]:
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
    _let_go()
    if form:
        request.form  # noqa: B018  # files go to disk as they come
        return
    largest = request.max_content_length
    if request.content_length is None and largest is not None:
        request.max_content_length = largest + 1  # Werkzeug cuts a chunked body off at the limit, in silence
    if largest is not None and len(request.get_data()) > largest:
        raise PayloadTooLarge(f"At most {largest} bytes.", limit=largest)


def _let_go() -> None:
    """Ends the transaction, if any. Making a session in order to end it takes 14 µs or more."""
    if db.session.registry.has():
        db.session.rollback()


def _check_idempotency_key() -> None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise MalformedRequest("Idempotency-Key takes 1 to 128 visible ASCII characters.")


def _to_sign_in() -> Response:
    """To the sign-in page, and from there back to the page the person was on.

    What htmx or a form asked for is no page, so the page that asked is taken: its address is in Referer.
    """
    by_htmx = request.headers.get("HX-Request") == "true"
    page = request.full_path.rstrip("?")
    if by_htmx or request.method not in SAFE_METHODS:
        came_from = callers.address_of(request.headers.get("Referer", ""))
        page = came_from._replace(scheme="", netloc="").geturl() if came_from.netloc == request.host else ""
    address = url_for("web.sign_in") + ("?next=" + quote(page, safe="/") if page.strip("/") else "")
    if by_htmx:
        return Response(status=401, headers={"HX-Redirect": address})
    return redirect(address, 303)  # type: ignore[return-value]


def _json_body() -> Any:
    """The parsed body; of a view that takes a file its bytes."""
    view = current_app.view_functions.get(request.endpoint or "")
    types = ("application/json", *getattr(view, "takes_file", ()))
    if request.content_type and request.mimetype not in types and not request.mimetype.endswith("+json"):
        raise UnsupportedMediaType(f"The body must be {' or '.join(types)}, not {request.mimetype}.")
    if len(types) > 1:
        return request.get_data()
    if _marked("body_may_be_empty") and not request.get_data():
        return {}
    return strict_json.parse(request.get_data())
