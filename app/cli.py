"""The `flask` commands. Each is one transaction, written down in the audit trail as `system`."""

import secrets
from pathlib import Path

import click
from flask import Flask
from flask.cli import AppGroup, with_appcontext

from app import storage
from app.errors import LoupeError
from app.extensions import db
from app.models import SYSTEM, Principal, Project, Role, UserKey
from app.services import accounts, images, projects

user_commands = AppGroup("user", help="Make and manage accounts.")
key_commands = AppGroup("user-key", help="Make and revoke the keys of people's programs.")
project_commands = AppGroup("project", help="Make projects and set their members.")

DEMO_PROJECT = "Demo"
DEMO_ADMIN = "admin@loupe.example"
DEMO_PIPELINE = "example-pipeline@loupe.example"


def register(app: Flask) -> None:
    for group in (user_commands, key_commands, project_commands):
        app.cli.add_command(group)
    app.cli.add_command(demo)


def _done(message: str) -> None:
    db.session.commit()
    click.echo(message)


class _Refused(click.ClickException):
    """A rule said no: the reason, without a traceback."""

    def __init__(self, error: LoupeError) -> None:
        reasons = "; ".join(f"{entry['field']} {entry['reason']}" for entry in error.errors or [])
        super().__init__(reasons or error.detail)


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
        raise _Refused(error) from None
    _done(f"Account {user.email} made." + ("" if password else f" Password: {chosen}"))


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
        raise _Refused(error) from None
    _done(f"Password of {user.email} changed." + ("" if password else f" Password: {chosen}"))


@user_commands.command("disable")
@click.argument("email")
@click.option("--undo", is_flag=True, help="Let the account in again.")
def disable_user(email: str, undo: bool) -> None:
    """Keep an account out, with its keys and sessions."""
    try:
        user = accounts.get(email)
        accounts.set_disabled(user, not undo, by=SYSTEM)
    except LoupeError as error:
        raise _Refused(error) from None
    _done(f"Account {user.email} {'enabled' if undo else 'disabled'}.")


@key_commands.command("create")
@click.argument("email")
@click.option("--name", default="", help="What the key is for.")
def create_user_key(email: str, name: str) -> None:
    """Make a key for a person's programs and print it, once."""
    try:
        key = accounts.create_user_key(accounts.get(email), name, by=SYSTEM)
    except LoupeError as error:
        raise _Refused(error) from None
    _done(key)


@key_commands.command("revoke")
@click.argument("key_id")
def revoke_user_key(key_id: str) -> None:
    """End a key by the id between its underscores."""
    key = db.session.get(UserKey, key_id)
    if key is None:
        raise click.ClickException("There is no such key.")
    accounts.revoke_user_key(key, by=SYSTEM)
    _done(f"Key {key_id} revoked.")


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
        raise _Refused(error) from None
    _done(str(project.id))


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
        raise _Refused(error) from None
    _done(f"{email} is {role} of {project.name}.")


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
    _done("The demo project is ready.")


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
