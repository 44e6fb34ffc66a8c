"""The settings as they are in force, where each comes from, and what this server runs on. Secrets are never shown."""

import platform
from dataclasses import dataclass
from typing import Any

from flask import Response, current_app, render_template

from app import config, storage
from app.admin import admin
from app.bundles import keys
from app.errors import StorageUnavailable
from app.extensions import db
from app.outgoing import without_secrets
from app.storage import LocalStorage, Storage

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Shown:
    """A setting as a person may see it."""

    name: str
    value: str
    source: str
    is_secret: bool


@admin.get("/settings")
def show_settings() -> Response:
    """With ML analyses switched off only the switch itself is shown of what belongs to them."""
    off = not current_app.config["ML_ANALYSIS_ENABLED"]
    of_analyses = {name for name in config.SETTINGS if name.startswith(("ML_", "RATE_LIMIT_PIPELINE"))}
    # images, too, are kept for so long when they are deleted
    left_out = of_analyses - {"ML_ANALYSIS_ENABLED", "ML_RETENTION_DAYS"} if off else set()
    settings = {name: current_app.config[name] for name in config.SETTINGS if name not in left_out}
    sources = current_app.config["SETTING_SOURCES"]
    database = database_version()
    db.session.rollback()
    files = storage.current()
    text = render_template(
        "admin/settings/show.html",
        groups={
            title: [
                shown(name, settings[name], sources[name], database) for name in names if name in settings
            ]
            for title, names in config.GROUPS.items()
        },
        weaknesses=config.weaknesses(current_app.config),
        loupe=config.VERSION,
        python=platform.python_version(),
        database=database,
        storage_kind="Local disk" if isinstance(files, LocalStorage) else "S3",
        storage_fault=fault_of(files),
        bundle_keys=() if off else keys.from_config(current_app.config),
    )
    return Response(text)


def shown(name: str, value: Any, source: str, database: str) -> Shown:
    """Of a secret only whether it is set, of several how many; of the database what it is."""
    secret = config.SETTINGS[name].secret
    if name == "DATABASE_URL":
        text = database
    elif secret and isinstance(value, tuple):
        text = f"{len(value)} set" if value else "not set"
    elif secret:
        text = "set" if value else "not set"
    else:
        text = plain(value)
    return Shown(name, text, source, secret)


def plain(value: Any) -> str:
    """As it would be written in the environment; an address without what could be a password."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ", ".join(value)
    text = str(value)
    return without_secrets(text) if "://" in text else text


def database_version() -> str:
    """SQLite 3.45.1, PostgreSQL 16.2: asked when the first connection was made."""
    db.session.connection()
    dialect = db.engine.dialect
    numbers = getattr(dialect, "server_version_info", None) or ()
    return " ".join([DATABASES.get(dialect.name, dialect.name), ".".join(map(str, numbers))]).strip()


def fault_of(files: Storage) -> str | None:
    """Why the storage does not answer now, or None."""
    try:
        files.check()
    except StorageUnavailable as error:
        return error.detail
    return None
