"""Who a request proves to come from: a key, a reverse proxy's sign-in, a session, a signature."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit
from uuid import UUID

from flask import Response, after_this_request, current_app, g, request, session
from sqlalchemy.exc import SQLAlchemyError

from app import signing
from app.errors import (
    Conflict,
    Forbidden,
    InvalidPayload,
    SchemeNotAllowed,
    SignatureInvalid,
    SigningNotConfigured,
    Unauthenticated,
)
from app.extensions import db
from app.models import PipelineKey, Principal, ProvenKey, User, UserKey
from app.services import accounts, last_use, nonces, pipeline_keys

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
DEFAULT_KEY = "default"  # what v2 calls the server's own secret
CLOCKS_DIFFER = (
    60  # seconds by which one process may take a signature for live that another takes for too old
)


# --- a key -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeySent:
    """Whose key came with the request: a person's or a pipeline's, or neither when there was none."""

    user: User | None = None
    pipeline_key: PipelineKey | None = None


def by_key() -> KeySent:
    """A key that is not right is an error: SignatureInvalid."""
    text = _sent_key()
    if text is None:
        return KeySent()
    parsed = signing.split_key(text.strip())
    if parsed is not None and parsed.prefix == pipeline_keys.PREFIX:
        key = pipeline_keys.by_secret(parsed)
        found = KeySent(pipeline_key=key) if key else None
    else:
        owned = accounts.key_of(parsed) if parsed else None
        found = KeySent(user=owned.user) if owned else None
        if owned:
            g.key_id = owned.id
            note_use(owned)
    if found is None:
        raise SignatureInvalid("The key is unknown, revoked, expired or not right.")
    return found


def _sent_key() -> str | None:
    text = request.headers.get("X-API-Key")
    authorization = request.headers.get("Authorization")
    if text is None and authorization is not None:
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("Authorization takes the scheme Bearer.")
    return text


def proven(key: PipelineKey) -> ProvenKey:
    """The key as the principal has it: its own values, which no rollback takes away."""
    return ProvenKey(key.id, key.name, pipeline_keys.project_ids(key.id))


def note_use(key: UserKey | PipelineKey) -> None:
    """When the key was used and from where, once the answer is sent: nobody waits for it, and nobody is refused because
    it could not be written down."""
    kind, key_id, moment = type(key), key.id, current_app.extensions["clock"]()
    if not last_use.is_due(key, moment):
        return
    app = cast(Any, current_app)._get_current_object()
    address, agent = request.remote_addr or "", request.headers.get("User-Agent", "")

    def note() -> None:
        with app.app_context():
            g.writes = True  # this transaction writes, whatever the method of the request was
            try:
                last_use.note(kind, key_id, address, agent, moment)
                db.session.commit()
            except SQLAlchemyError as error:
                app.logger.warning("when a key was used was not written down: %s", key_id, exc_info=error)

    @after_this_request
    def when_answered(response: Response) -> Response:
        response.call_on_close(note)
        return response


# --- a signature -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Proof:
    """A signature that is right: `key_id` made it, `key` is the pipeline key that it speaks for, if any."""

    scheme: str
    key_id: str
    key: PipelineKey | None
    uses: tuple[nonces.Use, ...]


def target() -> str:
    """The request target as it was sent, which the server keeps beside what it made of it; what follows the host, where
    it was an absolute one (RFC 9112)."""
    raw: str = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path
    return raw if raw.startswith("/") else "/" + raw.partition("://")[2].partition("/")[2]


def sent() -> signing.Sent:
    return signing.Sent(request.method, target(), request.get_data())


def by_signature(headers: signing.SignatureHeaders, beside: PipelineKey | None) -> Proof:
    """What the signature proves; `beside` is the pipeline key that was sent with it. The body has been read.

    Raises SigningNotConfigured, TimestampSkew, SignatureInvalid or SchemeNotAllowed.
    """
    v2, asked = bool(headers.digests(signing.V2)), sent()
    named = _named(headers.key_id) if v2 else None
    own = _secrets_of(beside)
    plain_secrets = [*current_app.config["ML_CALLBACK_HMAC_SECRET"], *own]
    v2_secrets = _v2_secrets(headers.key_id, named) if v2 else []
    if not (v2_secrets if v2 else plain_secrets):
        raise SigningNotConfigured
    skew = current_app.config["ML_SIGNATURE_MAX_SKEW_SECONDS"]
    signing.refuse_old(headers, current_app.extensions["clock"]().timestamp(), skew)
    plain = signing.matching(signing.PLAIN, plain_secrets, headers, asked)
    if v2 and signing.matching(signing.V2, v2_secrets, headers, asked):
        if named and beside and named.id != beside.id:
            raise SignatureInvalid("The key beside this signature is another than the one that signed.")
        key_id = headers.key_id or DEFAULT_KEY
        return Proof(signing.V2, key_id, named or beside, _uses(headers, key_id, plain))
    if not plain:
        raise SignatureInvalid
    if beside and beside.min_scheme == signing.V2:
        raise SchemeNotAllowed("This key signs with v2 only.")
    by_own = beside is not None and plain[0][0] >= len(plain_secrets) - len(own)
    key_id = beside.id if beside and by_own else DEFAULT_KEY
    return Proof(signing.PLAIN, key_id, beside, _uses(headers, key_id, plain))


def _named(key_id: str | None) -> PipelineKey | None:
    return pipeline_keys.live(key_id) if key_id and key_id != DEFAULT_KEY else None


def _secrets_of(key: PipelineKey | None) -> list[str]:
    if key is None:
        return []
    return [pipeline_keys.signing_secret(key, current_app.config["ML_KEY_ENCRYPTION_KEYS"])]


def _v2_secrets(key_id: str | None, named: PipelineKey | None) -> list[str]:
    if key_id == DEFAULT_KEY:
        return list(current_app.config["ML_CALLBACK_HMAC_SECRET"])
    # for an unknown key something nobody knows is compared, so that the time does not tell which ids exist
    return _secrets_of(named) or [token_urlsafe(32)]


def _uses(
    headers: signing.SignatureHeaders, key_id: str, plain: list[tuple[int, str]]
) -> tuple[nonces.Use, ...]:
    """The nonce; and where plain is bound to its target, each MAC of `plain` that is right, whichever scheme let in."""
    skew = current_app.config["ML_SIGNATURE_MAX_SKEW_SECONDS"]
    ends_at = datetime.fromtimestamp(headers.timestamp + skew + CLOCKS_DIFFER, UTC)
    uses = [nonces.Use(key_id, headers.nonce, ends_at)] if headers.nonce else []
    if plain and current_app.config["ML_PLAIN_BIND_TARGET"]:
        bound = nonces.hash_target(request.method, target(), request.headers.get("Idempotency-Key", ""))
        uses += [nonces.Use(nonces.PLAIN_MACS, mac, ends_at, bound) for _, mac in plain]
    return tuple(uses)


# --- a proxy's sign-in, a session --------------------------------------------------------------------------------


def by_proxy() -> User | None:
    """The person a trusted reverse proxy signed in; None when there is none, it names nobody or does not prove itself.

    A browser sends a proxy's sign-in along with every request, so what another site started may change nothing.
    """
    secret = current_app.config["AUTH_PROXY_SECRET"]
    email = _as_utf8(request.headers.get("X-User-Email", "")).strip()
    if not secret or not email or not signing.same(request.headers.get("X-Proxy-Secret", ""), secret):
        return None
    if request.method not in SAFE_METHODS:
        refuse_foreign()
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


def by_session() -> User | None:
    found = in_session()
    return accounts.from_session(*found) if found else None


def in_session() -> tuple[UUID, int] | None:
    return person_of(session)


def person_of(session: Mapping[str, Any]) -> tuple[UUID, int] | None:
    """The person's id and session version as the cookie has them, which is signed; whether they hold is not asked."""
    try:
        return UUID(session["user_id"]), int(session["version"])
    except (KeyError, TypeError, ValueError):
        return None


def refuse_foreign() -> None:
    """No other site may make a signed-in browser change anything, token or not."""
    origin = request.headers.get("Origin")
    hosts = {request.host, urlsplit(current_app.config["PUBLIC_URL"]).netloc}
    foreign = origin is not None and address_of(origin).netloc not in hosts - {""}
    if foreign or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Forbidden("This request comes from another site.")


def address_of(header: str) -> SplitResult:
    """The parts of an address that a browser sent; all empty when it is none."""
    try:
        return urlsplit(header)
    except ValueError:
        return urlsplit("")
