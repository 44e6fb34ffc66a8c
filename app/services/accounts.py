"""People: making accounts, what ends their sessions, their keys, what admins do with accounts."""

from collections.abc import Collection, Sequence
from unicodedata import category, normalize
from uuid import UUID

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.exc import IntegrityError

from app import signing
from app.errors import Conflict, Forbidden, InvalidPayload, NotFound
from app.extensions import db
from app.models import Principal, User, UserKey
from app.models.columns import now
from app.services import audit, locking, passwords

MAX_LIVE_KEYS = 50  # of one person
LISTED_KEYS = 100

# what an address may hold beside letters, digits and marks of any script: before the @ what RFC 5322 calls an atom,
# with dots wherever some providers have let people put them; after it the parts of a host's name
_OF_MAILBOX, _OF_HOST = "!#$%&'*+-/=?^_`{|}~.", "-_"


def create_user(email: str, password: str, name: str = "", role: str = "user", *, by: Principal) -> User:
    """A new account. Raises InvalidPayload (address, password, role), Conflict (address taken) or Forbidden."""
    email, name = _clean_email(email), _clean_name(name)
    if role not in ("user", "admin"):
        raise InvalidPayload(errors=[{"field": "role", "reason": "must be user or admin"}])
    password_hash = passwords.make_hash(password)  # before the first statement begins a transaction
    if by.user is not None:
        _held_admins(by)
    if find(email):
        raise Conflict(f"There is already an account for {email}.")
    user = User(email=email, name=name, password_hash=password_hash, role=role)
    try:
        with db.session.begin_nested():
            db.session.add(user)
    except IntegrityError:  # somebody else made it meanwhile
        raise Conflict(f"There is already an account for {email}.") from None
    audit.record(by, "user.created", user, after={"email": email, "role": role})
    return user


def rename(user: User, name: str, *, by: Principal) -> None:
    """How people see this person. Raises InvalidPayload."""
    after = _clean_name(name)
    before = locking.lock(user, referred_to=True).name
    if before != after:
        user.name = after
        audit.record(by, "user.renamed", user, before={"name": before}, after={"name": after})


def set_password(user: User, password: str, *, by: Principal) -> None:
    """Changes the password and ends every session of the account. Raises InvalidPayload."""
    set_password_hash(user, passwords.make_hash(password), by=by)


def set_password_hash(user: User, password_hash: str, *, by: Principal) -> None:
    """The same for a password that was hashed before the transaction began."""
    locking.lock(user, referred_to=True)
    user.password_hash = password_hash
    user.session_version += 1
    audit.record(by, "user.password_changed", user)


def end_sessions(user: User, *, by: Principal) -> None:
    """Signs the account out in every browser. Its keys stay."""
    locking.lock(user, referred_to=True)
    user.session_version += 1
    audit.record(by, "user.signed_out_everywhere", user)


def normalised(email: str) -> str:
    """The form in which addresses are stored and compared."""
    return normalize("NFC", email.strip().lower())


def find(email: str) -> User | None:
    if "\0" in email:  # PostgreSQL takes no NUL, not even to look for one
        return None
    return db.session.scalar(_BY_EMAIL, {"email": normalised(email)})


# made once, as a proxy names its person each time
_BY_EMAIL = select(User).where(User.email == bindparam("email"))


def get(email: str) -> User:
    user = find(email)
    if user is None:
        raise NotFound(f"There is no account for {email}.")
    return user


def from_session(user_id: UUID, session_version: int) -> User | None:
    user = db.session.get(User, user_id)
    if user is None or user.disabled_at is not None or user.session_version != session_version:
        return None
    return user


# --- keys --------------------------------------------------------------------------------------------------------


def create_user_key(user: User, name: str, key_id: str | None = None, *, by: Principal) -> str:
    """The whole key, to be shown once; only the hash of its secret is kept.

    A form that names the `key_id` beforehand makes one key however often it is sent. Raises Conflict when there is
    such a key already, or too many.
    """
    locking.lock(user, referred_to=True)
    if key_id is not None and db.session.get(UserKey, key_id) is not None:
        raise Conflict("This form has made its key already, and a key is shown only once.")
    live = select(func.count()).where(UserKey.user_id == user.id, UserKey.revoked_at.is_(None))
    if (db.session.scalar(live) or 0) >= MAX_LIVE_KEYS:
        raise Conflict(
            f"There are {MAX_LIVE_KEYS} live keys, the most one account may have. Revoke one first."
        )
    minted = signing.mint_key("mluser", key_id=key_id)
    key = UserKey(id=minted.key_id, user_id=user.id, name=_clean_name(name), secret_hash=minted.secret_hash)
    db.session.add(key)
    db.session.flush()
    audit.record(by, "user_key.created", key, after={"user": user.email, "name": key.name})
    return minted.full


def keys_of(user: User) -> Sequence[UserKey]:
    """The person's keys, the live ones first, then the newest; the oldest revoked ones are left out."""
    order = (UserKey.revoked_at.is_not(None), UserKey.created_at.desc(), UserKey.id)
    statement = select(UserKey).where(UserKey.user_id == user.id).order_by(*order).limit(LISTED_KEYS)
    return db.session.scalars(statement).all()


def key_of(parsed: signing.ParsedKey) -> UserKey | None:
    """The key `mluser_…` that was sent, or None when it is unknown, wrong, revoked or the account disabled."""
    if parsed.prefix != "mluser":
        return None
    key = db.session.get(UserKey, parsed.key_id)
    if key is None or not signing.secret_matches(parsed.secret, key.secret_hash) or not key.is_live:
        return None
    return key


def revoke_user_key(key: UserKey, *, by: Principal) -> None:
    if locking.lock(key).revoked_at is None:
        key.revoked_at = now()
        audit.record(by, "user_key.revoked", key, after={"user": key.user.email})


# --- what admins do with accounts --------------------------------------------------------------------------------

ROLES = ("user", "admin")
STATES = ("enabled", "disabled", "admin")


def page(text: str, state: str, *, skip: int, limit: int) -> tuple[Sequence[User], int]:
    """Accounts by address, and how many there are: `text` is part of the address or name, `state` one of STATES."""
    statement = select(User)
    if text:
        found = (User.email.icontains(text, autoescape=True), User.name.icontains(text, autoescape=True))
        statement = statement.where(or_(*found))
    if state == "admin":
        statement = statement.where(User.role == "admin")
    elif state:
        off = User.disabled_at.is_not(None)
        statement = statement.where(off if state == "disabled" else ~off)
    total = db.session.scalar(select(func.count()).select_from(statement.subquery())) or 0
    return db.session.scalars(statement.order_by(User.email).offset(skip).limit(limit)).all(), total


def emails(ids: Collection[UUID]) -> dict[UUID, str]:
    statement = select(User.id, User.email).where(User.id.in_(ids))
    return {row.id: row.email for row in db.session.execute(statement)}


def set_role(user: User, role: str, *, by: Principal) -> None:
    """Makes somebody an admin, or an admin a user, and ends their sessions. Raises Conflict, see `_keep_an_admin`."""
    if role not in ROLES:
        raise InvalidPayload(errors=[{"field": "role", "reason": "must be user or admin"}])
    admins = _held_admins(by, user)
    if role == user.role:
        return
    _keep_an_admin(user, admins, by)
    before, user.role = user.role, role
    user.session_version += 1
    audit.record(by, "user.role_set", user, before={"role": before}, after={"role": role})


def set_disabled(user: User, disabled: bool, *, by: Principal) -> None:
    """Keeps an account out with its keys and sessions, or lets it in again. Raises Conflict, see `_keep_an_admin`."""
    admins = _held_admins(by, user)
    was = user.disabled_at is not None
    if was == disabled:
        return
    if disabled:
        _keep_an_admin(user, admins, by)
    user.disabled_at = now() if disabled else None
    user.session_version += 1
    action = "user.disabled" if disabled else "user.enabled"
    audit.record(by, action, user, before={"disabled": was}, after={"disabled": disabled})


def reset_password(user: User, password_hash: str, session_version: int, *, by: Principal) -> None:
    """A new password, hashed beforehand. Raises Conflict when something ended the account's sessions since
    `session_version` was seen, or when it is the account of who asks: there the present password is asked for.
    """
    _held_admins(by, user)
    if by.user is not None and by.user.id == user.id:
        raise Conflict("Change your own password on your account page.")
    if user.session_version != session_version:
        raise Conflict(
            "This account was changed meanwhile, and its password was not. Repeat if you still want to."
        )
    set_password_hash(user, password_hash, by=by)


def sign_out(user: User, *, by: Principal) -> None:
    """Ends every session of an account, for an admin."""
    _held_admins(by, user)
    end_sessions(user, by=by)


def _held_admins(by: Principal, user: User | None = None) -> list[UUID]:
    """The ids of the admins who can sign in, as they are now. Held with the account itself until the end of the
    transaction, all in one order: no two changes can each count on the admin that the other takes away. What only
    refers to them, as the audit trail does, need not wait.

    Raises Forbidden when the person who asks is no longer one of them.
    """
    wanted = and_(User.role == "admin", User.disabled_at.is_(None))
    if user is not None:
        wanted = or_(User.id == user.id, wanted)
    statement = select(User).where(wanted).order_by(User.id).with_for_update(key_share=True)
    rows = db.session.scalars(statement, execution_options={"populate_existing": True}).all()
    admins = [row.id for row in rows if row.is_admin and row.disabled_at is None]
    if by.user is not None and by.user.id not in admins:
        raise Forbidden("Only an admin may do this.")
    return admins


def _keep_an_admin(user: User, admins: list[UUID], by: Principal) -> None:
    """Raises Conflict when admins would shut themselves out, or when nobody would be left to administer."""
    if user.id not in admins:
        return
    if by.user is not None and by.user.id == user.id:
        raise Conflict("You cannot take this from your own account. Another admin can.")
    if len(admins) == 1:
        raise Conflict(f"{user.email} is the last admin who can sign in.")


def _clean_email(email: str) -> str:
    """`mailbox@host`, the host with dots or without (`ann@example.org`, `o'brien+x@bücher.example`, `root@server`).

    So no spaces, double quotes, brackets, commas, control or bidirectional characters, and at most 255 characters.
    Raises InvalidPayload.
    """
    email = normalised(email)
    mailbox, _, host = email.partition("@")
    parts = host.split(".")
    sane = all(_is_made_of(part, _OF_HOST) and part[0] != "-" != part[-1] for part in parts)
    if len(email) > 255 or not sane or not _is_made_of(mailbox, _OF_MAILBOX):
        raise InvalidPayload(errors=[{"field": "email", "reason": "must be an e-mail address"}])
    return email


def _is_made_of(text: str, signs: str) -> bool:
    """Whether there is any text, of letters, marks, digits and these signs only."""
    return text != "" and all(c in signs or category(c)[0] in "LMN" for c in text)


def _clean_name(name: str) -> str:
    name = name.strip()
    if len(name) > 255 or not (name == "" or name.isprintable()):
        raise InvalidPayload(
            errors=[{"field": "name", "reason": "must be one line of at most 255 characters"}]
        )
    return name
