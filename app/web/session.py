"""Signing in and out. A session holds the person's id and session version; it is made anew at every sign-in."""

from datetime import datetime
from typing import Any

from flask import Response, current_app, g, redirect, render_template, request, session, url_for

from app.errors import RateLimited
from app.extensions import db
from app.guards import open_to_anyone, principal
from app.models import User
from app.responses import see_other
from app.schemas.base import load
from app.schemas.forms import SignIn, as_sent
from app.services import sign_ins
from app.web import web


@web.get("/sign-in")
@open_to_anyone
def sign_in() -> Response:
    wanted = load(SignIn, {"next": request.args.get("next", "")})[0]["next"]
    if principal().user is not None:
        return see_other(wanted or url_for("web.list_projects"))
    return Response(render_template("sessions/sign_in.html", next=wanted))


@web.post("/sign-in")
@open_to_anyone
def check_sign_in() -> Response:
    form, _ = load(SignIn, request.form.to_dict())
    address = request.remote_addr or ""
    try:
        attempt = sign_ins.begin(form["email"], address, moment())
    except RateLimited as error:
        db.session.rollback()
        return refused(error.detail, form, 429, error.headers)
    db.session.commit()  # counted, and nothing is held while the password is checked
    right = attempt.challenge.is_met_by(form["password"])
    user = sign_ins.sign_in(attempt, address, g.request_id) if right else None
    if user is None:
        return refused("The e-mail address or the password is not right.", form, 401)
    begin_session(user)
    db.session.commit()
    return see_other(form["next"] or url_for("web.list_projects"))


def moment() -> datetime:
    now: datetime = current_app.extensions["clock"]()
    return now


def refused(why: str, form: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    text = render_template("sessions/sign_in.html", failed=why, wrong=status == 401, **as_sent(form))
    return Response(text, status, headers)


def begin_session(user: User) -> None:
    """Nothing of a session before this one is kept."""
    session.clear()
    session.permanent = True
    session["user_id"], session["version"] = str(user.id), user.session_version


@web.post("/sign-out")
def sign_out() -> Response:
    session.clear()
    return redirect(url_for("web.sign_in"), 303)  # type: ignore[return-value]
