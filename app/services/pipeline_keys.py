"""The keys of pipelines: made, changed, rotated, revoked, found by what a request says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import selectinload

from app import sealing, signing
from app.errors import Conflict, InvalidPayload
from app.extensions import db
from app.models import PipelineKey, Principal, Project
from app.models.columns import now
from app.models.pipeline_keys import pipeline_key_projects
from app.services import audit
from app.services.locking import lock

PREFIX = "mlpip"
MIN_SCHEMES = ("v2", "plain")
MADE_ALREADY = "This form has made its key already, and a key is shown only once."


@dataclass(frozen=True)
class MadeKey:
    """A new key. `full` and `signing_secret` are shown once."""

    key: PipelineKey
    full: str = field(repr=False)
    signing_secret: str = field(repr=False)


def create(
    name: str,
    projects: Sequence[Project],
    *,
    encryption_keys: Sequence[str],
    by: Principal,
    min_scheme: str = "v2",
    expires_at: datetime | None = None,
    key_id: str | None = None,
) -> MadeKey:
    """A new key with a signing secret of its own, for these projects.

    A form that names the `key_id` beforehand makes one key however often it is sent. Raises InvalidPayload (no name, no
    project, over before it begins), Conflict (there is such a key already) and SigningNotConfigured (nothing to encrypt
    with).
    """
    _check(name, projects, min_scheme, expires_at)
    made = _make(name, projects, min_scheme, encryption_keys, by, key_id)
    made.key.expires_at = expires_at
    audit.record(by, "pipeline_key.created", made.key, after=_told(made.key))
    return made


def _make(
    name: str,
    projects: Sequence[Project],
    min_scheme: str,
    encryption_keys: Sequence[str],
    by: Principal,
    key_id: str | None = None,
) -> MadeKey:
    """The row, stored. Raises Conflict when there is one with this id."""
    if key_id is not None and db.session.get(PipelineKey, key_id) is not None:
        raise Conflict(MADE_ALREADY)
    minted, secret = signing.mint_key(PREFIX, key_id=key_id), signing.mint_signing_secret()
    key = PipelineKey(
        id=minted.key_id,
        name=name.strip(),
        secret_hash=minted.secret_hash,
        signing_secret=sealing.seal(encryption_keys, secret),
        min_scheme=min_scheme,
        created_at=now(),
        created_by_id=by.user.id if by.user else None,
        projects=list(projects),
    )
    db.session.add(key)
    try:
        db.session.flush()
    except IntegrityError:  # the same form was sent twice at once
        raise Conflict(MADE_ALREADY) from None
    return MadeKey(key, minted.full, secret)


def change(
    key: PipelineKey, name: str, projects: Sequence[Project], min_scheme: str, *, by: Principal
) -> None:
    """Another name, scope or weakest scheme, from the next request on. Raises InvalidPayload, and Conflict for a key
    that is over.
    """
    _check(name, projects, min_scheme)
    _hold_live(key)
    before = _told(key)
    key.name, key.projects, key.min_scheme = name.strip(), list(projects), min_scheme
    if before != (after := _told(key)):
        audit.record(by, "pipeline_key.changed", key, before=before, after=after)


def rotate(
    key: PipelineKey,
    overlap: timedelta,
    *,
    encryption_keys: Sequence[str],
    by: Principal,
    key_id: str | None = None,
) -> MadeKey:
    """A new key in the place of this one, which stays valid for the overlap. Raises Conflict for a key that is over."""
    _hold_live(key)
    made = _make(key.name, key.projects, key.min_scheme, encryption_keys, by, key_id)
    made.key.replaces_id, made.key.expires_at = key.id, key.expires_at
    ends_at = now() + overlap
    key.expires_at = min(ends_at, key.expires_at) if key.expires_at else ends_at
    db.session.flush()
    after = {"by": made.key.id, "expires_at": key.expires_at.isoformat()}
    audit.record(by, "pipeline_key.rotated", key, after=after)
    audit.record(by, "pipeline_key.created", made.key, after=_told(made.key) | {"replaces": key.id})
    return made


def revoke(key: PipelineKey, *, by: Principal) -> None:
    """From the next request on; the same again changes nothing."""
    lock(key)
    if key.revoked_at is None:
        key.revoked_at = now()
        audit.record(by, "pipeline_key.revoked", key)


def seal_anew(encryption_keys: Sequence[str], *, by: Principal) -> int:
    """Encrypts every signing secret under the first of the keys; how many there are. Raises SigningNotConfigured."""
    keys = db.session.scalars(select(PipelineKey).order_by(PipelineKey.id).with_for_update()).all()
    for key in keys:
        key.signing_secret = sealing.seal(
            encryption_keys, sealing.unseal(encryption_keys, key.signing_secret)
        )
        audit.record(by, "pipeline_key.sealed", key)
    return len(keys)


def _hold_live(key: PipelineKey) -> None:
    lock(key)
    if not key.is_live:
        raise Conflict("This key is over; make a new one.")


def _check(
    name: str, projects: Sequence[Project], min_scheme: str, expires_at: datetime | None = None
) -> None:
    errors = []
    if not (0 < len(name.strip()) <= 255 and name.strip().isprintable()):
        errors.append({"field": "name", "reason": "must be one line of 1 to 255 characters"})
    if not projects:
        errors.append({"field": "projects", "reason": "choose at least one project"})
    if min_scheme not in MIN_SCHEMES:
        errors.append({"field": "min_scheme", "reason": "must be v2 or plain"})
    if expires_at is not None and expires_at <= now():
        errors.append({"field": "expires_at", "reason": "is over already"})
    if errors:
        raise InvalidPayload(errors=errors)


def _told(key: PipelineKey) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": key.name,
        "min_scheme": key.min_scheme,
        "projects": sorted(str(project.id) for project in key.projects),
    }
    return told | ({"expires_at": key.expires_at.isoformat()} if key.expires_at else {})


# --- finding them ------------------------------------------------------------------------------------------------


def live(key_id: str) -> PipelineKey | None:
    key = db.session.get(PipelineKey, key_id)
    return key if key is not None and key.is_live else None


def project_ids(key_id: str) -> frozenset[UUID]:
    """Of the projects that the key is for."""
    of_key = pipeline_key_projects.c.key_id == key_id
    return frozenset(db.session.scalars(select(pipeline_key_projects.c.project_id).where(of_key)))


def by_secret(parsed: signing.ParsedKey) -> PipelineKey | None:
    """The key that was sent whole, if it is right and live."""
    key = live(parsed.key_id)
    # compared even when there is no such key, so that the time does not tell which ids exist
    matches = signing.secret_matches(parsed.secret, key.secret_hash if key else signing.hash_secret(""))
    return key if matches else None


def signing_secret(key: PipelineKey, encryption_keys: Sequence[str]) -> str:
    """Raises SigningNotConfigured when it cannot be decrypted."""
    return sealing.unseal(encryption_keys, key.signing_secret)


def page(*, live_only: bool, skip: int, limit: int) -> tuple[Sequence[PipelineKey], int]:
    """Newest first, and how many there are; `live_only` leaves out what is revoked or expired."""
    statement = select(PipelineKey)
    if live_only:
        ends = PipelineKey.expires_at
        statement = statement.where(PipelineKey.revoked_at.is_(None), ends.is_(None) | (ends > now()))
    total = db.session.scalar(select(func.count()).select_from(statement.subquery())) or 0
    ordered = statement.order_by(PipelineKey.created_at.desc(), PipelineKey.id)
    whole = ordered.options(selectinload(PipelineKey.projects))
    return db.session.scalars(whole.offset(skip).limit(limit)).all(), total


def successors(key: PipelineKey) -> Sequence[PipelineKey]:
    """The keys that took the place of this one, oldest first."""
    statement = select(PipelineKey).where(PipelineKey.replaces_id == key.id)
    return db.session.scalars(statement.order_by(PipelineKey.created_at, PipelineKey.id)).all()
