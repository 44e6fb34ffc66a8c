"""`flask bundle`: provenance bundles and the keys that sign them."""

import sys

import click
from flask import current_app
from flask.cli import AppGroup

from app.bundles import keys, verifying

commands = AppGroup("bundle", help="Check provenance bundles.")


@commands.command("verify")
@click.argument("file")
@click.option("--public-key", "public_keys", multiple=True, help="Trust this key instead; once for each.")
def verify_bundle(file: str, public_keys: tuple[str, ...]) -> None:
    """Say whether a bundle is whole and signed by this server, or which byte is the first that lies.

    Ends with 0 when it is whole, 1 when it lies, 2 when it could not be checked.
    """
    own = [key.public for key in keys.from_config(current_app.config)]
    sys.exit(verifying.tell(file, public_keys or own))


@commands.command("keys")
def list_bundle_keys() -> None:
    """Print the ids and public keys of this server; the first signs."""
    for key in keys.from_config(current_app.config):
        click.echo(f"{key.id}\t{key.public}")
