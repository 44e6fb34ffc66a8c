"""A person's own account: the name, the keys of their programs, the password, the sessions."""

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, flash, render_template, request, session, url_for

from app import access, signing
from app.errors import Conflict, Forbidden, InvalidPayload, RateLimited
from app.extensions import db
from app.guards import principal
from app.models import User
from app.responses import base_url, see_other
from app.schemas.base import load
from app.schemas.forms import KeyForm, NameForm, PasswordForm, as_sent
from app.services import accounts, passwords, sign_ins
from app.web import web
from app.web.session import begin_session, moment


def person() -> User:
    user = principal().user
    assert user is not None  # the guard lets nobody else in
    return user


@web.get("/account")
def show_account() -> Response:
    return account_page()


def account_page(
    status: int = 200,
    *,
    refused: str = "",
    errors: Sequence[Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Response:
    """`refused` names the form that `errors` belong to."""
    text = render_template(
        "account/show.html",
        user=person(),
        keys=accounts.keys_of(person()),
        next_key_id=signing.mint_key_id(),
        server=base_url(),
        shortest_password=passwords.MIN_LENGTH,
        refused=refused,
        errors={entry["field"]: entry["reason"] for entry in reversed(errors or [])},
        **more,
    )
    return Response(text, status, headers)


@web.post("/account")
def change_name() -> Response:
    try:
        form, _ = load(NameForm, request.form)
        accounts.rename(person(), form["name"], by=principal())
    except InvalidPayload as error:
        db.session.rollback()
        return account_page(422, refused="name", errors=error.errors, sent=as_sent(request.form))
    db.session.commit()
    flash("Your name has been changed.")
    return see_other(url_for("web.show_account"))


# --- keys --------------------------------------------------------------------------------------------------------


@web.post("/account/keys")
def create_key() -> Response:
    """The answer itself shows the key, so that no other page ever has to know it."""
    try:
        form, _ = load(KeyForm, request.form)
        key = accounts.create_user_key(person(), form["name"], form["key_id"], by=principal())
    except InvalidPayload as error:
        db.session.rollback()
        reasons = [
            {**entry, "field": "name"} for entry in error.errors or []
        ]  # the id has no field to be seen
        return account_page(422, refused="key", errors=reasons, sent=as_sent(request.form))
    except Conflict as error:
        db.session.rollback()
        reasons = [{"field": "name", "reason": error.detail}]
        return account_page(409, refused="key", errors=reasons, sent=as_sent(request.form))
    page = account_page(201, new_key=key, new_key_name=form["name"])
    db.session.commit()  # last: after it nothing may go wrong any more, for nobody can see the key again
    return page


@web.post("/account/keys/<key_id>/revoke")
def revoke_key(key_id: str) -> Response:
    key = access.own_key_for(principal(), key_id)
    accounts.revoke_user_key(key, by=principal())
    db.session.commit()
    flash(f"The key “{key.name or key.id}” has been revoked.")
    return see_other(url_for("web.show_account"))


# --- password and sessions ---------------------------------------------------------------------------------------


@web.post("/account/password")
def change_password() -> Response:
    """A wrong current password counts like a failed sign-in, so that a stolen session cannot guess at leisure."""
    _refuse_behind_proxy()
    try:
        form, _ = load(PasswordForm, request.form.to_dict())
        passwords.require_long_enough(form["password"])
        attempt = sign_ins.begin(person().email, request.remote_addr or "", moment())
    except InvalidPayload as error:
        return password_refused(422, error.errors)
    except RateLimited as error:
        db.session.rollback()
        return password_refused(429, [{"field": "current", "reason": error.detail}], error.headers)
    db.session.commit()  # counted, and nothing is held while passwords are hashed
    right = attempt.challenge.is_met_by(form["current"])
    new_hash = passwords.make_hash(form["password"]) if right else ""
    user = sign_ins.succeed(attempt) if right else None
    if user is None:
        reason = "This is not your password."
        return password_refused(422, [{"field": "current", "reason": reason}])
    accounts.set_password_hash(user, new_hash, by=principal())
    begin_session(user)
    db.session.commit()
    flash("Your password has been changed. Every other session has ended.")
    return see_other(url_for("web.show_account"))


def password_refused(
    status: int, errors: Sequence[Mapping[str, Any]] | None, headers: Mapping[str, str] | None = None
) -> Response:
    return account_page(status, refused="password", errors=errors, headers=headers)


@web.post("/account/sign-out-everywhere")
def sign_out_everywhere() -> Response:
    _refuse_behind_proxy()
    accounts.end_sessions(person(), by=principal())
    db.session.commit()
    session.clear()
    flash("You have been signed out everywhere.")
    return see_other(url_for("web.sign_in"))


def _refuse_behind_proxy() -> None:
    if principal().by_proxy:
        raise Forbidden(
            "You were signed in by the proxy in front of this server; passwords and sessions are its own."
        )
