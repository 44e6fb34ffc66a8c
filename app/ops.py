"""For whoever runs it: is it alive, is it ready."""

from flask import Blueprint, Response
from sqlalchemy import text

from app import guards, storage
from app.extensions import db
from app.responses import answer

ops = Blueprint("ops", __name__)
ops.before_request(guards.anyone)


@ops.get("/healthz")
def show_health() -> Response:
    """Alive: the process answers. Asks nothing of anyone else."""
    return answer({"status": "ok"})


@ops.get("/readyz")
def show_readiness() -> Response:
    """Ready: database and storage answer. Otherwise 503 with the code of what is missing."""
    db.session.execute(text("SELECT 1"))
    storage.current().check()
    return answer({"status": "ok"})
