"""The admin pages: accounts, projects, pipeline keys, exports, the audit trail, webhooks, the settings."""

from flask import Blueprint

from app import guards

admin = Blueprint("admin", __name__, url_prefix="/admin")
admin.before_request(guards.admin)

from app.admin import (  # noqa: E402
    audit,
    exports,
    kept_exports,
    pipeline_keys,
    projects,
    returns,
    settings,
    users,
    webhooks,
)

__all__ = [
    "admin",
    "audit",
    "exports",
    "kept_exports",
    "pipeline_keys",
    "projects",
    "returns",
    "settings",
    "users",
    "webhooks",
]
