"""People: making accounts, proving who someone is, their keys."""

import re
from uuid import UUID

from sqlalchemy import select
from werkzeug.security import check_password_hash, generate_password_hash

from app import signing
from app.errors import Conflict, InvalidPayload, NotFound
from app.extensions import db
from app.models import Principal, User, UserKey
from app.models.columns import now
from app.services import audit

MIN_PASSWORD_LENGTH = 10
# verified when the address is unknown, so that an unknown account costs the same time as a known one
_NOBODY = generate_password_hash("nobody has this password")


def create_user(email: str, password: str, name: str = "", role: str = "user", *, by: Principal) -> User:
    """A new account. Raises InvalidPayload (address, password, role) or Conflict (address taken)."""
    email = _clean_email(email)
    if len(password) < MIN_PASSWORD_LENGTH:
        reason = f"must have at least {MIN_PASSWORD_LENGTH} characters"
        raise InvalidPayload(errors=[{"field": "password", "reason": reason}])
    if role not in ("user", "admin"):
        raise InvalidPayload(errors=[{"field": "role", "reason": "must be user or admin"}])
    if find(email):
        raise Conflict(f"There is already an account for {email}.")
    user = User(
        email=email, name=_clean_name(name), password_hash=generate_password_hash(password), role=role
    )
    db.session.add(user)
    db.session.flush()
    audit.record(by, "user.created", user, after={"email": email, "role": role})
    return user


def set_password(user: User, password: str, *, by: Principal) -> None:
    """Changes the password and ends every session of the account."""
    if len(password) < MIN_PASSWORD_LENGTH:
        reason = f"must have at least {MIN_PASSWORD_LENGTH} characters"
        raise InvalidPayload(errors=[{"field": "password", "reason": reason}])
    user.password_hash = generate_password_hash(password)
    user.session_version += 1
    audit.record(by, "user.password_changed", user)


def set_disabled(user: User, disabled: bool, *, by: Principal) -> None:
    user.disabled_at = now() if disabled else None
    user.session_version += 1
    audit.record(by, "user.disabled" if disabled else "user.enabled", user)


def find(email: str) -> User | None:
    if "\0" in email:  # PostgreSQL takes no NUL, not even to look for one
        return None
    return db.session.scalar(select(User).where(User.email == email.strip().lower()))


def get(email: str) -> User:
    user = find(email)
    if user is None:
        raise NotFound(f"There is no account for {email}.")
    return user


def authenticate(email: str, password: str) -> User | None:
    """The account whose password this is, or None; takes as long for an unknown address as for a known one."""
    user = find(email)
    right = check_password_hash(user.password_hash if user else _NOBODY, password)
    return user if user and right and user.disabled_at is None else None


def from_session(user_id: UUID, session_version: int) -> User | None:
    user = db.session.get(User, user_id)
    if user is None or user.disabled_at is not None or user.session_version != session_version:
        return None
    return user


def create_user_key(user: User, name: str, *, by: Principal) -> str:
    """The whole key, to be shown once; only the hash of its secret is kept."""
    minted = signing.mint_key("mluser")
    key = UserKey(id=minted.key_id, user_id=user.id, name=_clean_name(name), secret_hash=minted.secret_hash)
    db.session.add(key)
    db.session.flush()
    audit.record(by, "user_key.created", key, after={"user": user.email, "name": key.name})
    return minted.full


def user_of_key(text: str) -> User | None:
    """The person a key `mluser_…` stands for, or None when it is unknown, wrong, revoked or the account disabled."""
    parsed = signing.split_key(text)
    if parsed is None or parsed.prefix != "mluser":
        return None
    key = db.session.get(UserKey, parsed.key_id)
    if key is None or not signing.secret_matches(parsed.secret, key.secret_hash) or not key.is_live:
        return None
    return key.user


def revoke_user_key(key: UserKey, *, by: Principal) -> None:
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.record(by, "user_key.revoked", key, after={"user": key.user.email})


def _clean_email(email: str) -> str:
    email = email.strip().lower()
    if len(email) > 255 or not re.fullmatch(r"[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+", email):
        raise InvalidPayload(errors=[{"field": "email", "reason": "must be an e-mail address"}])
    return email


def _clean_name(name: str) -> str:
    name = name.strip()
    if len(name) > 255 or not (name == "" or name.isprintable()):
        raise InvalidPayload(
            errors=[{"field": "name", "reason": "must be one line of at most 255 characters"}]
        )
    return name
