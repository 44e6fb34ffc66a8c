"""`flask pipeline-key`: the keys of pipelines, as the admin pages have them."""

import re
from datetime import timedelta
from typing import Any
from uuid import UUID

import click
from flask import current_app
from flask.cli import AppGroup

from app import access
from app.cli.outcome import Refused, done
from app.errors import LoupeError
from app.extensions import db
from app.models import SYSTEM, PipelineKey
from app.models.columns import now
from app.services import pipeline_keys

commands = AppGroup("pipeline-key", help="Make, rotate and revoke the keys of pipelines.")

UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LISTED = 1000


class Span(click.ParamType[timedelta]):
    """A length of time: seconds, or a number with s, m, h or d."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = re.fullmatch(r"([0-9]{1,8})([smhd]?)", str(value))
        if match is None:
            self.fail(f"{value!r} is no length of time: write 3600, 90m, 12h or 7d.", param, ctx)
        return timedelta(**{UNITS[match[2]]: int(match[1])})


@commands.command("create")
@click.argument("name")
@click.option(
    "--project", "project_ids", type=click.UUID, multiple=True, required=True, help="Once for each."
)
@click.option(
    "--min-scheme",
    type=click.Choice(pipeline_keys.MIN_SCHEMES),
    default="v2",
    show_default=True,
    help="The weakest signature that is taken.",
)
@click.option("--expires", "days", type=click.IntRange(1, 36_500), help="Days until the key is over.")
def create_pipeline_key(name: str, project_ids: tuple[UUID, ...], min_scheme: str, days: int | None) -> None:
    """Make a key for a pipeline and print it with its signing secret, once."""
    try:
        made = pipeline_keys.create(
            name,
            access.projects_for(SYSTEM, project_ids),
            encryption_keys=_encryption_keys(),
            by=SYSTEM,
            min_scheme=min_scheme,
            expires_at=now() + timedelta(days=days) if days else None,
        )
    except LoupeError as error:
        raise Refused(error) from None
    done(_shown_once(made))


@commands.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are revoked or expired.")
def list_pipeline_keys(everything: bool) -> None:
    """Print the keys, newest first: id, state, signatures, when it was last used, name, ids of its projects."""
    skip, total = 0, 1
    while skip < total:
        keys, total = pipeline_keys.page(live_only=not everything, skip=skip, limit=LISTED)
        for key in keys:
            used = f"{key.last_used_at:%Y-%m-%dT%H:%M:%SZ}" if key.last_used_at else "never"
            ids = ",".join(str(project.id) for project in key.projects)
            click.echo("\t".join([key.id, key.state, key.min_scheme, used, key.name, ids]))
        skip += LISTED


@commands.command("rotate")
@click.argument("key_id")
@click.option(
    "--overlap", type=Span(), default="1d", show_default=True, help="How long the old one works on."
)
def rotate_pipeline_key(key_id: str, overlap: timedelta) -> None:
    """Print a new key that takes the place of this one, once."""
    try:
        made = pipeline_keys.rotate(_key(key_id), overlap, encryption_keys=_encryption_keys(), by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(_shown_once(made))


@commands.command("revoke")
@click.argument("key_id")
def revoke_pipeline_key(key_id: str) -> None:
    """End a key by the id between its underscores."""
    pipeline_keys.revoke(_key(key_id), by=SYSTEM)
    done(f"Key {key_id} revoked.")


@commands.command("seal-anew")
def seal_pipeline_keys_anew() -> None:
    """Encrypt every signing secret under the first of ML_KEY_ENCRYPTION_KEYS."""
    try:
        number = pipeline_keys.seal_anew(_encryption_keys(), by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(f"{number} sealed anew.")


def _key(key_id: str) -> PipelineKey:
    key = db.session.get(PipelineKey, key_id)
    if key is None:
        raise click.ClickException("There is no such key.")
    return key


def _encryption_keys() -> tuple[str, ...]:
    keys: tuple[str, ...] = current_app.config["ML_KEY_ENCRYPTION_KEYS"]
    return keys


def _shown_once(made: pipeline_keys.MadeKey) -> str:
    return f"Key id: {made.key.id}\nKey: {made.full}\nSigning secret: {made.signing_secret}"
