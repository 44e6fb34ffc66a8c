"""The admin pages: accounts, projects, exports, the audit trail, the settings as they are in force."""

from flask import Blueprint

from app import guards

admin = Blueprint("admin", __name__, url_prefix="/admin")
admin.before_request(guards.admin)

from app.admin import audit, exports, projects, returns, settings, users  # noqa: E402

__all__ = ["admin", "audit", "exports", "projects", "returns", "settings", "users"]
