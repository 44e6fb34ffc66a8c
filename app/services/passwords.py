"""Passwords. Hashing one takes a tenth of a second, so nothing here that hashes needs the database: no transaction is
open meanwhile."""

from dataclasses import dataclass, field
from uuid import UUID

from werkzeug.security import check_password_hash, generate_password_hash

from app.errors import InvalidPayload
from app.extensions import db
from app.models import User
from app.services import locking

MIN_LENGTH = 10
# checked when the address is unknown, so that an unknown account costs the same time as a known one
_NOBODY = generate_password_hash("nobody has this password")


def require_long_enough(password: str) -> None:
    """Raises InvalidPayload."""
    if len(password) < MIN_LENGTH:
        raise InvalidPayload(
            errors=[{"field": "password", "reason": f"must have at least {MIN_LENGTH} characters"}]
        )


def make_hash(password: str) -> str:
    """What is stored of a new password. Raises InvalidPayload when it is too short."""
    require_long_enough(password)
    return generate_password_hash(password)


@dataclass(frozen=True)
class Challenge:
    """What a password is checked against. `user_id` is None for an unknown address, whose password nobody has."""

    user_id: UUID | None
    password_hash: str = field(repr=False)

    def is_met_by(self, password: str) -> bool:
        """Takes as long for an unknown address as for a known one."""
        return check_password_hash(self.password_hash, password)


def challenge(user: User | None) -> Challenge:
    return Challenge(user.id, user.password_hash) if user else Challenge(None, _NOBODY)


def passed(met: Challenge) -> User | None:
    """The account of a challenge that was met, locked; None if there is none, or it was disabled or changed since."""
    user = db.session.get(User, met.user_id) if met.user_id else None
    if user is None:
        return None
    locking.lock(user, referred_to=True)
    return user if user.password_hash == met.password_hash and user.disabled_at is None else None
