"""Signing in and out. A session holds the person's id and session version; it is made anew at every sign-in."""

from flask import Response, redirect, render_template, request, session, url_for

from app.extensions import db
from app.guards import open_to_anyone, principal
from app.responses import see_other
from app.schemas.base import load
from app.schemas.forms import SignIn, as_sent
from app.services import accounts
from app.web import web


@web.get("/sign-in")
@open_to_anyone
def sign_in() -> Response:
    wanted = load(SignIn(), {"next": request.args.get("next", "")})[0]["next"]
    if principal().user is not None:
        return see_other(wanted or url_for("web.list_projects"))
    return Response(render_template("sessions/sign_in.html", next=wanted))


@web.post("/sign-in")
@open_to_anyone
def check_sign_in() -> Response:
    form, _ = load(SignIn(), request.form.to_dict())
    user = accounts.authenticate(form["email"], form["password"])
    if user is None:
        failed = "The e-mail address or the password is not right."
        return Response(render_template("sessions/sign_in.html", failed=failed, **as_sent(form)), 401)
    session.clear()
    session.permanent = True
    session["user_id"], session["version"] = str(user.id), user.session_version
    db.session.commit()
    return see_other(form["next"] or url_for("web.list_projects"))


@web.post("/sign-out")
def sign_out() -> Response:
    session.clear()
    return redirect(url_for("web.sign_in"), 303)  # type: ignore[return-value]
