"""How a command ends: its transaction kept and a line printed, or the reason why not."""

from collections.abc import Mapping
from typing import Any

import click

from app.errors import LoupeError
from app.extensions import db


def done(message: str) -> None:
    db.session.commit()
    click.echo(message)


class Refused(click.ClickException):
    """A rule said no: the reason, without a traceback."""

    def __init__(self, error: LoupeError) -> None:
        reasons = "; ".join(told_of(entry) for entry in error.errors or [])
        super().__init__(reasons or error.detail)


def told_of(entry: Mapping[str, Any]) -> str:
    """Where, as far as it is known, and what is wrong there."""
    where = " ".join(str(entry[name]) for name in ("place", "field") if entry.get(name))
    return f"{where}: {entry['reason']}" if "place" in entry else f"{where} {entry['reason']}".strip()
