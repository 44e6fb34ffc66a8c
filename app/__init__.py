"""Loupe: the table of contents of the program."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from app import cli, config, dialect, files, logs, models, ops, rates, responses, sessions, storage
from app.admin import admin
from app.api import api
from app.extensions import csrf, db, migrate
from app.outgoing import Sender
from app.pipeline import pipeline
from app.web import web
from app.web.polls import Polls

ROOT = Path(__file__).parent.parent


def create_app(environ: Mapping[str, str] | None = None, instance_path: str | None = None) -> Flask:
    """The WSGI application. `environ` takes the place of the process's environment.

    Raises config.WrongSettings naming everything that is missing or wrong.
    """
    logs.start()
    app = dialect.RetryingFlask(
        "app",
        root_path=str(ROOT / "app"),
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "static"),
        instance_path=instance_path or str(ROOT / "instance"),
    )
    settings = config.load(environ, app.instance_path)
    app.config.from_mapping(settings)
    app.config.from_mapping(config.for_flask(settings))
    app.config["SETTING_SOURCES"] = config.sources(environ, app.instance_path)
    for weakness in config.weaknesses(settings):
        app.logger.warning(weakness)
    app.wsgi_app = Polls(app)  # type: ignore[method-assign]
    if hops := settings["TRUSTED_PROXIES"]:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]

    app.session_interface = sessions.Sessions(app)
    app.extensions["clock"] = lambda: datetime.now(UTC)
    app.extensions["storage"] = storage.from_config(
        app.config, app.instance_path, lambda: app.extensions["clock"]().timestamp()
    )
    app.extensions["sender"] = Sender(allow_private=settings["ML_WEBHOOK_ALLOW_PRIVATE"])
    db.init_app(app)
    migrate.init_app(app, db, directory=str(ROOT / "migrations"))
    csrf.init_app(app)
    with app.app_context():
        dialect.prepare(db.engine)

    app.before_request(responses.begin_request)
    rates.register(app)
    responses.register(app)
    logs.register(app)
    for blueprint in (web, admin, api, pipeline, files.files, ops.ops):
        app.register_blueprint(blueprint)
    cli.register(app)
    return app


__all__ = ["create_app", "models"]
