"""The `flask` commands. Each is one transaction, written down in the audit trail as `system`."""

import secrets
from pathlib import Path

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from app import background, storage
from app.cli import annotations, bundles, pipeline_keys
from app.cli.outcome import Refused, done
from app.deliveries import deliver_due
from app.errors import LoupeError
from app.extensions import db
from app.models import SYSTEM, Principal, Project, Role, UserKey
from app.services import accounts, images, projects

user_commands = AppGroup("user", help="Make and manage accounts.")
key_commands = AppGroup("user-key", help="Make and revoke the keys of people's programs.")
project_commands = AppGroup("project", help="Make projects and set their members.")
webhook_commands = AppGroup("webhooks", help="Tell what analyses have come to.")

DEMO_PROJECT = "Demo"
DEMO_ADMIN = "admin@loupe.example"
DEMO_PIPELINE = "example-pipeline@loupe.example"


def register(app: Flask) -> None:
    for group in (
        user_commands,
        key_commands,
        project_commands,
        pipeline_keys.commands,
        webhook_commands,
        annotations.commands,
        bundles.commands,
    ):
        app.cli.add_command(group)
    app.cli.add_command(sweep)
    app.cli.add_command(demo)


@user_commands.command("create")
@click.argument("email")
@click.option("--name", default="", help="How people see this person.")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--password", help="A random one is made and printed when none is given.")
def create_user(email: str, name: str, role: str, password: str | None) -> None:
    """Make an account."""
    chosen = password or secrets.token_urlsafe(12)
    try:
        user = accounts.create_user(email, chosen, name, role, by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(f"Account {user.email} made." + ("" if password else f" Password: {chosen}"))


@user_commands.command("password")
@click.argument("email")
@click.option("--password", help="A random one is made and printed when none is given.")
def set_password(email: str, password: str | None) -> None:
    """Set a new password and end every session of the account."""
    chosen = password or secrets.token_urlsafe(12)
    try:
        user = accounts.get(email)
        accounts.set_password(user, chosen, by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(f"Password of {user.email} changed." + ("" if password else f" Password: {chosen}"))


@user_commands.command("disable")
@click.argument("email")
@click.option("--undo", is_flag=True, help="Let the account in again.")
def disable_user(email: str, undo: bool) -> None:
    """Keep an account out, with its keys and sessions."""
    try:
        user = accounts.get(email)
        accounts.set_disabled(user, not undo, by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(f"Account {user.email} {'enabled' if undo else 'disabled'}.")


@key_commands.command("create")
@click.argument("email")
@click.option("--name", default="", help="What the key is for.")
def create_user_key(email: str, name: str) -> None:
    """Make a key for a person's programs and print it, once."""
    try:
        key = accounts.create_user_key(accounts.get(email), name, by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(key)


@key_commands.command("revoke")
@click.argument("key_id")
def revoke_user_key(key_id: str) -> None:
    """End a key by the id between its underscores."""
    key = db.session.get(UserKey, key_id)
    if key is None:
        raise click.ClickException("There is no such key.")
    accounts.revoke_user_key(key, by=SYSTEM)
    done(f"Key {key_id} revoked.")


@project_commands.command("create")
@click.argument("name")
@click.option("--owner", required=True, help="The e-mail address of the owner.")
@click.option("--description", default="")
def create_project(name: str, owner: str, description: str) -> None:
    """Make a project and print its id."""
    try:
        project = projects.create(name, description, by=SYSTEM)
        projects.set_member(project, accounts.get(owner), Role.OWNER, by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(str(project.id))


@project_commands.command("member")
@click.argument("project_id", type=click.UUID)
@click.argument("email")
@click.argument("role", type=click.Choice([role.value for role in Role]))
def set_member(project_id: object, email: str, role: str) -> None:
    """Add a person to a project, or change what they may do there."""
    project = db.session.get(Project, project_id)
    if project is None:
        raise click.ClickException("There is no such project.")
    try:
        projects.set_member(project, accounts.get(email), Role(role), by=SYSTEM)
    except LoupeError as error:
        raise Refused(error) from None
    done(f"{email} is {role} of {project.name}.")


@webhook_commands.command("deliver")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The most attempts.")
def deliver_webhooks(limit: int) -> None:
    """Send the webhooks that are due now."""
    if not current_app.config["ML_PIPELINE_PUSH_WEBHOOKS_ENABLED"]:
        raise click.ClickException("ML_PIPELINE_PUSH_WEBHOOKS_ENABLED is off.")
    click.echo(f"{deliver_due(limit)} sent.")


# --- sweeping ----------------------------------------------------------------------------------------------------


@click.command("sweep")
@with_appcontext
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.argument("tasks", nargs=-1, type=click.Choice(list(background.TASKS)))
def sweep(dry_run: bool, tasks: tuple[str, ...]) -> None:
    """Do what the background loop does, once: all of it, or these tasks."""
    failed = []
    for name in tasks or background.TASKS:
        try:
            for said in background.steps(background.TASKS[name], dry_run=dry_run):
                if said:
                    click.echo(f"{name}: {said}")
        except (LoupeError, SQLAlchemyError) as error:  # the others are none the worse for it
            current_app.logger.error("sweeping stopped: %s", name, exc_info=error)
            failed.append(name)
    if failed:
        raise click.ClickException(f"Not done: {', '.join(failed)}.")


# --- the demo ----------------------------------------------------------------------------------------------------


@click.command("demo")
@with_appcontext
@click.option(
    "--images", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True
)
@click.option("--credentials", type=click.Path(dir_okay=False, path_type=Path), required=True)
def demo(folder: Path, credentials: Path) -> None:
    """Make the demo project with its images, an admin and the example pipeline's key; what is there already stays."""
    admin = accounts.find(DEMO_ADMIN)
    if admin is None:
        password = secrets.token_urlsafe(12)
        admin = accounts.create_user(DEMO_ADMIN, password, "Admin", "admin", by=SYSTEM)
        click.echo(f"Admin: {DEMO_ADMIN}\nPassword: {password}   (shown this once)")
    else:
        click.echo(f"Admin: {DEMO_ADMIN}   (a new password: flask --app wsgi user password {DEMO_ADMIN})")
    owner = Principal("user", admin)
    project = db.session.query(Project).filter_by(name=DEMO_PROJECT).order_by(Project.created_at).first()
    if project is None:
        db.session.commit()  # nothing is held while the images are decoded and stored
        pictures = _store_images(folder)
        about = "Public-domain pictures, analysed by the example pipeline."
        project = projects.create(DEMO_PROJECT, about, by=owner)
        for filename, stored in pictures:
            images.add(project, stored, filename, None, by=owner)
    _write_credentials(project, credentials)
    done("The demo project is ready.")


def _store_images(folder: Path) -> list[tuple[str, images.StoredImage]]:
    pictures = []
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
            with file.open("rb") as source:
                pictures.append((file.name, images.store(source, storage.current())))
    return pictures


def _write_credentials(project: Project, file: Path) -> None:
    """The key by which the example pipeline reads the demo project, in a file only its owner can read."""
    if file.exists():
        return
    reader = accounts.find(DEMO_PIPELINE)
    if reader is None:
        reader = accounts.create_user(DEMO_PIPELINE, secrets.token_urlsafe(24), "Example pipeline", by=SYSTEM)
    projects.set_member(project, reader, Role.VIEWER, by=SYSTEM)
    key = accounts.create_user_key(reader, "example pipeline", by=SYSTEM)
    file.touch(mode=0o600)
    file.write_text(f"API_KEY={key}\n")
