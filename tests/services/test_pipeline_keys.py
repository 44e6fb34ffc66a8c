"""The keys of pipelines, below the pages and commands: how long one lives, and what is written down of it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask

from app import sealing, signing
from app.errors import Conflict, InvalidPayload, SigningNotConfigured
from app.extensions import db
from app.models import SYSTEM, AuditEvent, PipelineKey, Project
from app.models.columns import now
from app.services import pipeline_keys
from app.services.pipeline_keys import MadeKey

KEYS = ["the newer key", "the older key"]


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.rollback()


@pytest.fixture
def project(context: None) -> Project:
    made = Project(name="Leaves")
    db.session.add(made)
    db.session.flush()
    return made


@pytest.fixture
def made(project: Project) -> MadeKey:
    return pipeline_keys.create("leaf worker", [project], encryption_keys=KEYS, by=SYSTEM)


def is_known(made: MadeKey) -> bool:
    parsed = signing.split_key(made.full)
    assert parsed is not None
    return pipeline_keys.by_secret(parsed) is not None


def events() -> list[AuditEvent]:
    db.session.flush()
    return list(db.session.scalars(db.select(AuditEvent).order_by(AuditEvent.id)))


def test_only_what_cannot_be_used_is_kept(made: MadeKey) -> None:
    secret = made.full.split("_", 2)[2]
    row = made.key
    assert row.secret_hash == signing.hash_secret(secret)
    kept = f"{row.secret_hash} {row.signing_secret} {made!r}"
    assert secret not in kept and made.signing_secret not in kept
    assert pipeline_keys.signing_secret(row, KEYS) == made.signing_secret
    assert sealing.unseal(KEYS[:1], row.signing_secret) == made.signing_secret, "the first key seals"


def test_no_secret_is_in_the_trail(made: MadeKey, project: Project) -> None:
    """Neither as it is, nor hashed, nor sealed: whoever reads the trail learns nothing to use or to guess at."""
    other = pipeline_keys.rotate(made.key, timedelta(hours=1), encryption_keys=KEYS, by=SYSTEM)
    pipeline_keys.change(other.key, "moss worker", [project], "plain", by=SYSTEM)
    pipeline_keys.seal_anew(KEYS, by=SYSTEM)
    pipeline_keys.revoke(other.key, by=SYSTEM)
    told = events()
    assert sorted(event.action.removeprefix("pipeline_key.") for event in told) == [
        *("changed", "created", "created", "revoked", "rotated", "sealed", "sealed")
    ]
    text = " ".join(f"{event.before} {event.after} {event.actor_label}" for event in told)
    for one in (made, other):
        assert one.full.split("_", 2)[2] not in text and one.signing_secret not in text
        assert one.key.secret_hash not in text and one.key.signing_secret not in text


@pytest.mark.parametrize("overlap", [timedelta(), timedelta(hours=1), timedelta(days=7)])
def test_a_rotated_key_works_on_for_the_overlap(made: MadeKey, overlap: timedelta) -> None:
    before = now()
    other = pipeline_keys.rotate(made.key, overlap, encryption_keys=KEYS, by=SYSTEM)
    ends_at = made.key.expires_at
    assert ends_at is not None and before + overlap <= ends_at <= now() + overlap
    assert is_known(made) == (overlap > timedelta()) and is_known(other)
    assert (other.key.replaces_id, other.key.expires_at) == (made.key.id, None)
    assert pipeline_keys.successors(made.key) == [other.key]
    assert (other.key.name, other.key.min_scheme, other.key.projects) == (
        "leaf worker",
        "v2",
        made.key.projects,
    )


def test_an_overlap_makes_no_key_live_longer(made: MadeKey) -> None:
    made.key.expires_at = ends_at = now() + timedelta(minutes=5)
    pipeline_keys.rotate(made.key, timedelta(days=7), encryption_keys=KEYS, by=SYSTEM)
    assert made.key.expires_at == ends_at


def test_a_form_that_is_sent_twice_makes_one_key(made: MadeKey, project: Project) -> None:
    key_id = signing.mint_key_id()
    pipeline_keys.create("one", [project], encryption_keys=KEYS, by=SYSTEM, key_id=key_id)
    with pytest.raises(Conflict, match="shown only once"):
        pipeline_keys.create("one", [project], encryption_keys=KEYS, by=SYSTEM, key_id=key_id)
    with pytest.raises(Conflict, match="shown only once"):
        pipeline_keys.rotate(made.key, timedelta(), encryption_keys=KEYS, by=SYSTEM, key_id=key_id)
    assert made.key.expires_at is None, "nothing was rotated"


@pytest.mark.parametrize("over", [{"revoked_at": now()}, {"expires_at": now()}], ids=["revoked", "expired"])
def test_what_is_over_is_neither_rotated_nor_changed(
    made: MadeKey, project: Project, over: dict[str, object]
) -> None:
    for column, value in over.items():
        setattr(made.key, column, value)
    db.session.flush()
    with pytest.raises(Conflict, match="is over"):
        pipeline_keys.rotate(made.key, timedelta(days=1), encryption_keys=KEYS, by=SYSTEM)
    with pytest.raises(Conflict, match="is over"):
        pipeline_keys.change(made.key, "other", [project], "v2", by=SYSTEM)
    assert not is_known(made)


def test_revoking_twice_is_revoking_once(made: MadeKey) -> None:
    pipeline_keys.revoke(made.key, by=SYSTEM)
    first = made.key.revoked_at
    pipeline_keys.revoke(made.key, by=SYSTEM)
    assert made.key.revoked_at == first
    assert [event.action for event in events()].count("pipeline_key.revoked") == 1


def test_states(made: MadeKey) -> None:
    key, moment = made.key, now()
    told = []
    for revoked, days in ((None, None), (None, 30), (None, 3), (None, -1), (moment, None), (moment, -1)):
        key.revoked_at = revoked
        key.expires_at = None if days is None else moment + timedelta(days=days)
        told.append(key.state)
        assert key.is_live == (key.state in ("live", "expiring"))
    assert told == ["live", "live", "expiring", "expired", "revoked", "revoked"]


def test_a_change_that_changes_nothing_is_not_told(made: MadeKey, project: Project) -> None:
    pipeline_keys.change(made.key, " leaf worker ", [project], "v2", by=SYSTEM)
    assert [event.action for event in events()] == ["pipeline_key.created"]


def test_sealing_anew(made: MadeKey, project: Project) -> None:
    """Under the first key; after that the others can go. What none of them opens stops all of it."""
    older = pipeline_keys.create("older", [project], encryption_keys=KEYS[1:], by=SYSTEM)
    with pytest.raises(SigningNotConfigured):
        pipeline_keys.signing_secret(older.key, KEYS[:1])
    db.session.commit()
    assert pipeline_keys.seal_anew(KEYS, by=SYSTEM) == 2
    for one in (made, older):
        assert pipeline_keys.signing_secret(one.key, KEYS[:1]) == one.signing_secret
        assert is_known(one)
    with pytest.raises(SigningNotConfigured):
        pipeline_keys.seal_anew(["a third key"], by=SYSTEM)


def test_nothing_to_seal_with(project: Project) -> None:
    with pytest.raises(SigningNotConfigured, match="ML_KEY_ENCRYPTION_KEYS"):
        pipeline_keys.create("one", [project], encryption_keys=[], by=SYSTEM)
    assert db.session.scalar(db.select(PipelineKey)) is None


def test_everything_that_is_wrong_is_named(project: Project) -> None:
    with pytest.raises(InvalidPayload) as raised:
        pipeline_keys.create(
            "two\nlines", [], encryption_keys=KEYS, by=SYSTEM, min_scheme="v1", expires_at=now()
        )
    fields = [entry["field"] for entry in raised.value.errors or []]
    assert fields == ["name", "projects", "min_scheme", "expires_at"]
