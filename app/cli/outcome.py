"""How a command ends: its transaction kept and a line printed, or the reason why not."""

import click

from app.errors import LoupeError
from app.extensions import db


def done(message: str) -> None:
    db.session.commit()
    click.echo(message)


class Refused(click.ClickException):
    """A rule said no: the reason, without a traceback."""

    def __init__(self, error: LoupeError) -> None:
        reasons = "; ".join(f"{entry['field']} {entry['reason']}" for entry in error.errors or [])
        super().__init__(reasons or error.detail)
