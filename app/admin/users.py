"""Accounts: who has one, what they may, and what an admin changes about it."""

from functools import partial
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from flask import Response, current_app, flash, render_template, request, url_for

from app import access
from app.admin import admin
from app.admin.paging import listing, read_page, read_text
from app.errors import Conflict, InvalidPayload
from app.extensions import db
from app.guards import principal
from app.models import User
from app.responses import see_other
from app.schemas.admin import RoleForm, StateForm, UserForm, VersionForm
from app.schemas.base import load
from app.schemas.forms import as_sent
from app.services import accounts, overviews, passwords, projects, sign_ins


@admin.get("/users")
def list_users() -> Response:
    return users_page()


def users_page(status: int = 200, **form: Any) -> Response:
    """`errors` and `sent` are those of the form for a new account."""
    text, state = read_text(request.args, "q"), request.args.get("state", "")
    state = state if state in accounts.STATES else ""
    load_page = partial(accounts.page, text, state)
    found = listing("admin.list_users", {"q": text, "state": state}, read_page(request.args), load_page)
    ids = [user.id for user in found.rows]
    return Response(
        render_template(
            "admin/users/list.html",
            listing=found,
            projects=overviews.memberships(ids),
            keys=overviews.live_keys(ids),
            states=accounts.STATES,
            roles=accounts.ROLES,
            **form,
        ),
        status,
    )


@admin.post("/users/new")
def create_user() -> Response:
    """The page of the new account; a password that was made here is shown on this answer and never again."""
    try:
        form, _ = load(UserForm, request.form)
        password = form["password"] or token_urlsafe(12)
        db.session.rollback()  # nothing is held while a password is hashed
        user = accounts.create_user(form["email"], password, form["name"], form["role"], by=principal())
    except (InvalidPayload, Conflict) as error:
        db.session.rollback()
        return users_page(error.status, errors=at_fields(error, "email"), sent=without_password())
    if not form["password"]:
        return kept(user_page(user, password=password, made=True))
    db.session.commit()
    flash(f"The account {user.email} has been made.")
    return see_other(url_for("admin.show_user", user_id=user.id))


def kept(page: Response) -> Response:
    """A page that shows what nobody can see again, made before the commit: after it nothing may go wrong any more."""
    db.session.commit()
    return page


@admin.get("/users/<uuid:user_id>")
def show_user(user_id: UUID) -> Response:
    return user_page(access.user_for(principal(), user_id))


def user_page(user: User, status: int = 200, **more: Any) -> Response:
    """`password` is one that was made just now, `errors` are those of the forms on the page."""
    text = render_template(
        "admin/users/show.html",
        user=user,
        memberships=projects.of_user(user),
        membership_count=overviews.memberships([user.id])[user.id],
        keys=accounts.keys_of(user),
        failures=sign_ins.failures(user.email, current_app.extensions["clock"]()),
        slowed=sign_ins.MOST_OF_ACCOUNT,
        roles=accounts.ROLES,
        is_self=user.id == getattr(principal().user, "id", None),
        **more,
    )
    return Response(text, status)


@admin.post("/users/<uuid:user_id>/role")
def set_role(user_id: UUID) -> Response:
    user = access.user_for(principal(), user_id)
    try:
        form, _ = load(RoleForm, request.form)
        accounts.set_role(user, form["role"], by=principal())
    except (InvalidPayload, Conflict) as error:
        return refused(user, error, "role")
    db.session.commit()
    flash(f"{user.email} is now {'an admin' if user.is_admin else 'a user'}.")
    return see_other(url_for("admin.show_user", user_id=user.id))


@admin.post("/users/<uuid:user_id>/state")
def set_state(user_id: UUID) -> Response:
    user = access.user_for(principal(), user_id)
    try:
        form, _ = load(StateForm, request.form)
        accounts.set_disabled(user, form["state"] == "disabled", by=principal())
    except (InvalidPayload, Conflict) as error:
        return refused(user, error, "state")
    db.session.commit()
    flash(f"{user.email} is {'disabled' if user.disabled_at else 'enabled'}.")
    return see_other(url_for("admin.show_user", user_id=user.id))


@admin.post("/users/<uuid:user_id>/password")
def reset_password(user_id: UUID) -> Response:
    """The account's page with its new password, once: a reload sends the same form again, and that is refused."""
    user = access.user_for(principal(), user_id)
    password = token_urlsafe(12)
    db.session.rollback()  # nothing is held while a password is hashed
    password_hash = passwords.make_hash(password)
    try:
        form, _ = load(VersionForm, request.form)
        accounts.reset_password(user, password_hash, form["version"], by=principal())
    except (InvalidPayload, Conflict) as error:
        return refused(user, error, "password")
    return kept(user_page(user, password=password))


@admin.post("/users/<uuid:user_id>/sign-out")
def sign_out_user(user_id: UUID) -> Response:
    user = access.user_for(principal(), user_id)
    accounts.sign_out(user, by=principal())
    db.session.commit()
    flash(f"{user.email} has been signed out everywhere.")
    return see_other(url_for("admin.show_user", user_id=user.id))


@admin.post("/users/<uuid:user_id>/let-in")
def let_in(user_id: UUID) -> Response:
    user = access.user_for(principal(), user_id)
    sign_ins.forgive(user, by=principal())
    db.session.commit()
    flash(f"{user.email} may try to sign in again at once.")
    return see_other(url_for("admin.show_user", user_id=user.id))


@admin.post("/users/<uuid:user_id>/keys/<key_id>/revoke")
def revoke_key(user_id: UUID, key_id: str) -> Response:
    key = access.user_key_for(principal(), user_id, key_id)
    accounts.revoke_user_key(key, by=principal())
    db.session.commit()
    flash("The key has been revoked.")
    return see_other(url_for("admin.show_user", user_id=user_id))


def refused(user: User, error: InvalidPayload | Conflict, field: str) -> Response:
    db.session.rollback()
    return user_page(user, error.status, errors=at_fields(error, field))


def at_fields(error: InvalidPayload | Conflict, field: str) -> dict[str, str]:
    """The reasons by field; those that name none stand at `field`."""
    if error.errors is None:
        return {field: error.detail}
    return {entry["field"] or field: entry["reason"] for entry in error.errors}


def without_password() -> dict[str, str]:
    return {name: text for name, text in as_sent(request.form).items() if name != "password"}
