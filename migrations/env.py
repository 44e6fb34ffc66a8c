"""Runs the migrations on the app's own engine."""

from alembic import context
from alembic.autogenerate.api import AutogenContext
from flask import current_app
from sqlalchemy import DateTime
from sqlalchemy.types import TypeDecorator

from app import dialect
from app.extensions import db

migrate = current_app.extensions["migrate"]


def render_item(kind: str, item: object, _context: AutogenContext) -> str | bool:
    """A migration must not depend on the models of the day: our own column types are written as what they store."""
    if kind == "type" and isinstance(item, TypeDecorator) and isinstance(item.impl, DateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run() -> None:
    with db.engine.connect() as connection:
        dialect.lift_time_limits(connection)
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            render_item=render_item,
            **migrate.configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()


run()
