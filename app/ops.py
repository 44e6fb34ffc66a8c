"""For whoever runs it: is it alive, is it ready."""

from flask import Blueprint, Response, current_app
from sqlalchemy.exc import SQLAlchemyError

from app import dialect, guards, storage
from app.errors import DatabaseUnavailable, LoupeError
from app.extensions import db
from app.responses import answer, problem

ops = Blueprint("ops", __name__)
ops.before_request(guards.anyone)


@ops.get("/healthz")
def show_health() -> Response:
    """Alive: the process answers. Asks nothing of anyone else."""
    return answer({"status": "ok"})


@ops.get("/readyz")
def show_readiness() -> Response:
    """Ready: database and storage answer. Otherwise 503 with the code of what is missing, in about five seconds."""
    dialect.probe(db.engine)
    storage.current().check()
    return answer({"status": "ok"})


@ops.errorhandler(LoupeError)
def name_what_is_missing(error: LoupeError) -> Response:
    """Probes read JSON, not pages."""
    return problem(error)


@ops.errorhandler(SQLAlchemyError)
def name_the_database(error: SQLAlchemyError) -> Response:
    current_app.logger.error("database unavailable", exc_info=error)
    return problem(DatabaseUnavailable())
