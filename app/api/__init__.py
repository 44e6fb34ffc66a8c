"""The JSON API of people and their programs: reading everything, making projects, uploading images."""

from flask import Blueprint

from app import guards

api = Blueprint("api", __name__, url_prefix="/api")
api.before_request(guards.person)

from app.api import (  # noqa: E402
    analyses,
    artifacts,
    bundles,
    deletions,
    exports,
    groups,
    images,
    projects,
    reference,
)

__all__ = [
    "analyses",
    "api",
    "artifacts",
    "bundles",
    "deletions",
    "exports",
    "groups",
    "images",
    "projects",
    "reference",
]
