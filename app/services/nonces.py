"""What a signed request may be used for once: written down with its effect, refused until it is too old anyway.

The rows live in the database, so that all processes agree and a restart forgets nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app.errors import Replay
from app.extensions import db
from app.models import UsedNonce
from app.services.swapping import insert_missing

PLAIN_MACS = "plain"  # the scope of the MACs of the plain scheme; ids of keys have others


@dataclass(frozen=True)
class Use:
    """A nonce of the key `scope`; or with a `target_hash` a MAC, which may be used again for the same target."""

    scope: str
    value: str
    expires_at: datetime
    target_hash: str | None = None


def hash_target(method: str, target: str, idempotency_key: str) -> str:
    return hashlib.sha256("\n".join((method, target, idempotency_key)).encode("utf-8", "replace")).hexdigest()


def refuse_used(uses: Sequence[Use]) -> None:
    """Raises Replay. Two requests at once may both pass; `spend` tells them apart."""
    for use in uses:
        held = db.session.get(UsedNonce, (use.scope, use.value))
        if held is not None and not _is_same(held, use):
            raise Replay


def spend(uses: Sequence[Use]) -> None:
    """In the transaction of the effect, last; waits for whoever is spending the same. Raises Replay."""
    for use in uses:
        columns = {"scope": use.scope, "value": use.value, "target_hash": use.target_hash}
        if insert_missing(UsedNonce, columns | {"expires_at": use.expires_at}):
            continue
        statement = select(UsedNonce).where(UsedNonce.scope == use.scope, UsedNonce.value == use.value)
        if not _is_same(db.session.scalars(statement).one(), use):
            raise Replay


def _is_same(held: UsedNonce, use: Use) -> bool:
    return use.target_hash is not None and held.target_hash == use.target_hash
