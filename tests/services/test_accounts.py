"""Accounts: who gets in, and what ends that."""

from collections.abc import Iterator

import pytest
from flask import Flask

from app import signing
from app.errors import Conflict, InvalidPayload, NotFound
from app.extensions import db
from app.models import SYSTEM, AuditEvent, User, UserKey
from app.services import accounts, passwords
from tests.cast import PASSWORD

LONG = "long enough password"


def user_of(text: str) -> User | None:
    """Whose key this is, as a request finds out."""
    parsed = signing.split_key(text)
    key = accounts.key_of(parsed) if parsed else None
    return key.user if key else None


def authenticate(email: str, password: str) -> User | None:
    """The account whose password this is, as signing in finds it out."""
    challenge = passwords.challenge(accounts.find(email))
    return passwords.passed(challenge) if challenge.is_met_by(password) else None


@pytest.fixture
def context(app: Flask) -> Iterator[None]:
    with app.app_context():
        yield
        db.session.rollback()


@pytest.fixture
def user(context: None) -> User:
    return accounts.create_user("Ann@Example.org ", PASSWORD, " Ann ", by=SYSTEM)


def test_an_account_is_known_by_its_address_in_any_case(user: User) -> None:
    assert (user.email, user.name, user.role) == ("ann@example.org", "Ann", "user")
    assert accounts.find(" ANN@example.ORG ") is user
    assert accounts.get("ann@example.org") is user


@pytest.mark.parametrize(
    ("email", "password", "role", "field"),
    [
        ("", LONG, "user", "email"),
        ("@", LONG, "user", "email"),
        ("a@b@c", LONG, "user", "email"),
        ("a\0@b", LONG, "user", "email"),
        ("a@" + "b" * 254, LONG, "user", "email"),
        ("a@b", "123456789", "user", "password"),
        ("a@b", LONG, "root", "role"),
    ],
)
def test_refused(context: None, email: str, password: str, role: str, field: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        accounts.create_user(email, password, role=role, by=SYSTEM)
    assert [entry["field"] for entry in raised.value.errors or []] == [field]


@pytest.mark.parametrize(
    "email",
    [
        "a@b",
        "root@localhost",
        "ann@127.0.0.1",
        "ann.other+leaves@mail.example.org",
        "o'brien@example.org",
        "ann-other_2@my-host_1.example.org",
        "user%example.com@relay.example",
        "a!#$&*/=?^`{|}~b@example.org",
        "ann..b.@example.org",  # some providers have given these out
        "bücher@bücher.example",
        "анна@пример.испытание",
        "用户@例子.公司",
        "अजय@डाटा.भारत",
        "x@xn--bcher-kva.example",
        "a" * 243 + "@example.org",
    ],
)
def test_addresses_of_people(context: None, email: str) -> None:
    user = accounts.create_user(f" {email.upper()} ", LONG, by=SYSTEM)
    assert user.email == email and accounts.find(email) is user


@pytest.mark.parametrize(
    "email",
    [
        "ann",
        "ann@",
        "@example.org",
        "ann@@example.org",
        "ann@example.org@example.org",
        "an n@example.org",
        "ann@exam\u00a0ple.org",
        "ann\tb@example.org",
        "ann\r\nBcc: ben@example.org",
        "a\x7fnn@example.org",
        "ann\x85@example.org",
        "\u202egro.elpmaxe@nna",
        "ann\u2066@example.org",
        "ann\u200e@example.org",
        "an\u200bn@example.org",
        "an\u00adn@example.org",
        "ann\ufeff@example.org",
        "ann\ud800@example.org",
        '"ann"@example.org',
        '"an n"@example.org',
        "Ann <ann@example.org>",
        "<script>alert(1)</script>@example.org",
        "ann@<b>.org",
        "ann@example.org<",
        "ann@example.org,ben",
        "ann,ben@example.org",
        "ann;ben@example.org",
        "mailto:ann@example.org",
        "ann(work)@example.org",
        "ann\\@example.org",
        "ann[1]@example.org",
        "＜ann＞@example.org",
        "“ann”@example.org",
        "ann@[127.0.0.1]",
        "ann@example.org:25",
        "ann@example.org/leaves",
        "ann@o'brien.example",
        "ann@.org",
        "ann@example.",
        "ann@example..org",
        "ann@-example.org",
        "ann@example-.org",
        "ann@ex+ample.org",
        "a" * 244 + "@example.org",
    ],
    ids=ascii,
)
def test_what_is_no_address(context: None, email: str) -> None:
    with pytest.raises(InvalidPayload) as raised:
        accounts.create_user(email, LONG, by=SYSTEM)
    assert raised.value.errors == [{"field": "email", "reason": "must be an e-mail address"}]


def test_one_account_for_an_address(user: User) -> None:
    with pytest.raises(Conflict):
        accounts.create_user("ANN@EXAMPLE.ORG", LONG, by=SYSTEM)


@pytest.mark.parametrize("email", ["nobody@example.org", "", "a\0b", "ann@example.org\0", "é" * 300])
def test_an_address_that_is_none(user: User, email: str) -> None:
    assert accounts.find(email) is None
    assert authenticate(email, PASSWORD) is None
    with pytest.raises(NotFound):
        accounts.get(email)


def test_the_password_decides(user: User) -> None:
    assert authenticate("ann@example.org", PASSWORD) is user
    for wrong in ("", PASSWORD + " ", PASSWORD.upper(), "\0", "é" * 1000):
        assert authenticate("ann@example.org", wrong) is None
    assert PASSWORD not in user.password_hash


def test_a_new_password_ends_every_session(user: User) -> None:
    version = user.session_version
    assert accounts.from_session(user.id, version) is user
    accounts.set_password(user, LONG, by=SYSTEM)
    assert accounts.from_session(user.id, version) is None
    assert accounts.from_session(user.id, user.session_version) is user
    assert authenticate("ann@example.org", PASSWORD) is None
    assert authenticate("ann@example.org", LONG) is user
    with pytest.raises(InvalidPayload):
        accounts.set_password(user, "short", by=SYSTEM)


def test_a_disabled_account_is_out_everywhere(user: User) -> None:
    key, version = accounts.create_user_key(user, "notebook", by=SYSTEM), user.session_version
    accounts.set_disabled(user, True, by=SYSTEM)
    assert authenticate("ann@example.org", PASSWORD) is None
    assert accounts.from_session(user.id, user.session_version) is None
    assert user_of(key) is None
    accounts.set_disabled(user, False, by=SYSTEM)
    assert user_of(key) is user
    assert accounts.from_session(user.id, version) is None, "an old session came back"


def test_keys(user: User) -> None:
    text = accounts.create_user_key(user, "notebook", by=SYSTEM)
    prefix, key_id, secret = text.split("_", 2)
    assert prefix == "mluser"
    assert user_of(text) is user
    for wrong in (
        "",
        "mluser",
        f"mlpip_{key_id}_{secret}",
        f"mluser_{key_id}_{secret[::-1]}",
        text + "\0",
        "é",
    ):
        assert user_of(wrong) is None
    row = db.session.get_one(UserKey, key_id)
    accounts.revoke_user_key(row, by=SYSTEM)
    assert user_of(text) is None


def test_a_password_that_changed_while_it_was_checked(user: User) -> None:
    challenge = passwords.challenge(user)
    assert challenge.is_met_by(PASSWORD)
    accounts.set_password(user, LONG, by=SYSTEM)
    assert passwords.passed(challenge) is None
    assert user.password_hash not in repr(passwords.challenge(user))


def test_a_form_makes_one_key(user: User) -> None:
    text = accounts.create_user_key(user, "notebook", "abcdefghij234567", by=SYSTEM)
    assert text.startswith("mluser_abcdefghij234567_")
    with pytest.raises(Conflict, match="shown only once"):
        accounts.create_user_key(user, "notebook", "abcdefghij234567", by=SYSTEM)


def test_there_is_a_most_of_live_keys(user: User) -> None:
    for number in range(accounts.MAX_LIVE_KEYS):
        accounts.create_user_key(user, f"key {number}", by=SYSTEM)
    with pytest.raises(Conflict, match="50 live keys"):
        accounts.create_user_key(user, "one more", by=SYSTEM)
    accounts.revoke_user_key(accounts.keys_of(user)[7], by=SYSTEM)
    accounts.create_user_key(user, "one more", by=SYSTEM)
    keys = accounts.keys_of(user)
    assert [key.is_live for key in keys] == [True] * accounts.MAX_LIVE_KEYS + [False]
    assert keys[0].name == "one more"


def test_ending_sessions_leaves_keys(user: User) -> None:
    key, version = accounts.create_user_key(user, "notebook", by=SYSTEM), user.session_version
    accounts.end_sessions(user, by=SYSTEM)
    assert accounts.from_session(user.id, version) is None
    assert user_of(key) is user


def test_another_name(user: User) -> None:
    accounts.rename(user, " Ann Other ", by=SYSTEM)
    accounts.rename(user, "Ann Other", by=SYSTEM)
    db.session.flush()
    told = db.session.scalars(db.select(AuditEvent).filter_by(action="user.renamed")).all()
    assert [(row.before, row.after) for row in told] == [({"name": "Ann"}, {"name": "Ann Other"})]
    with pytest.raises(InvalidPayload):
        accounts.rename(user, "two\nlines", by=SYSTEM)


def test_the_audit_trail_holds_no_secrets(user: User) -> None:
    key = accounts.create_user_key(user, "notebook", by=SYSTEM)
    accounts.set_password(user, LONG, by=SYSTEM)
    db.session.flush()
    said = [
        (event.action, f"{event.before} {event.after}") for event in db.session.scalars(db.select(AuditEvent))
    ]
    assert [action for action, _ in said] == ["user.created", "user_key.created", "user.password_changed"]
    for secret in (PASSWORD, LONG, key.split("_", 2)[2], user.password_hash):
        assert not any(secret in values for _, values in said)
