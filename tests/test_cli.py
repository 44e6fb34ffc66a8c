"""The `flask` commands, each as an operator types it."""

import os
import re
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from app import sealing
from app.extensions import db
from app.models import Analysis, AuditEvent, Image, Membership, PipelineKey, Project, User, UserKey
from app.models.columns import now
from app.services import accounts, passwords
from tests.cast import Person
from tests.factories import World, picture, some_id

ROOT = Path(__file__).parent.parent

LONG = "long enough password"


@pytest.fixture
def run(app: Flask) -> Any:
    runner = app.test_cli_runner()

    def invoke(*arguments: object) -> Result:
        return runner.invoke(args=[str(argument) for argument in arguments])

    return invoke


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.output


def refused(result: Result) -> str:
    """The reason; never a traceback."""
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result.output


def signs_in(app: Flask, email: str, password: str) -> bool:
    with app.app_context():
        challenge = passwords.challenge(accounts.find(email))
        return challenge.is_met_by(password) and passwords.passed(challenge) is not None


def memberships(app: Flask) -> dict[str, str]:
    with app.app_context():
        return {row.user.email: row.role for row in db.session.scalars(db.select(Membership))}


def test_every_command_has_help(app: Flask, run: Any) -> None:
    commands = ["user create", "user password", "user disable", "user-key create", "user-key revoke"]
    commands += [f"pipeline-key {name}" for name in ("create", "list", "rotate", "revoke", "seal-anew")]
    for command in (*commands, "project create", "project member", "webhooks deliver", "sweep", "demo"):
        assert "Usage:" in done(run(*command.split(), "--help"))


# --- accounts ----------------------------------------------------------------------------------------------------


def test_user_create_with_a_random_password(app: Flask, run: Any, world: World) -> None:
    output = done(run("user", "create", "Ann@Example.org", "--name", "Ann", "--role", "admin"))
    password = re.search(r"Password: (\S+)", output)
    assert password and len(password[1]) >= 16
    assert signs_in(app, "ann@example.org", password[1])
    [user] = world.rows(User)
    assert (user.email, user.name, user.role) == ("ann@example.org", "Ann", "admin")
    [event] = world.rows(AuditEvent)
    assert (event.actor_kind, event.actor_label, event.action) == ("system", "system", "user.created")
    assert event.subject_id == str(user.id)
    assert password[1] not in str(event.after)


def test_user_create_with_a_password_of_ones_own(app: Flask, run: Any) -> None:
    output = done(run("user", "create", "ann@example.org", "--password", LONG))
    assert LONG not in output
    assert signs_in(app, "ann@example.org", LONG)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-address"], "e-mail"),
        (["a b@example.org"], "e-mail"),
        (["x" * 250 + "@example.org"], "e-mail"),
        (["ann@example.org", "--password", "short"], "10 characters"),
        (["ann@example.org", "--role", "owner"], "owner"),
        (["ann@example.org", "--name", "x" * 256], "name"),
        (["ann@example.org", "--name", "a\nb"], "name"),
        ([], "EMAIL"),
    ],
)
def test_user_create_refuses(run: Any, world: World, arguments: list[str], reason: str) -> None:
    assert reason in refused(run("user", "create", *arguments))
    assert world.count(User) == 0


def test_user_create_twice(run: Any, world: World, owner: Person) -> None:
    assert "already" in refused(run("user", "create", "OWNER@example.org"))
    assert world.count(User) == 1


def test_user_password(app: Flask, run: Any, owner: Person) -> None:
    assert owner.client.get("/").status_code == 200
    output = done(run("user", "password", owner.email))
    password = re.search(r"Password: (\S+)", output)
    assert password and signs_in(app, owner.email, password[1])
    assert not signs_in(app, owner.email, owner.password)
    assert owner.client.get("/").status_code == 303, "the session went on"
    assert LONG not in done(run("user", "password", owner.email, "--password", LONG))
    assert signs_in(app, owner.email, LONG)
    assert "10 characters" in refused(run("user", "password", owner.email, "--password", "short"))
    assert "no account" in refused(run("user", "password", "nobody@example.org"))


def test_user_disable_and_back(app: Flask, run: Any, world: World, owner: Person) -> None:
    done(run("user", "disable", owner.email))
    assert not signs_in(app, owner.email, owner.password)
    assert owner.api("GET", "/api/projects").status_code == 401
    done(run("user", "disable", owner.email, "--undo"))
    assert signs_in(app, owner.email, owner.password)
    assert owner.api("GET", "/api/projects").status_code == 200
    actions = [event.action for event in world.rows(AuditEvent, subject_type="user")]
    assert actions == ["user.disabled", "user.enabled"]
    assert "no account" in refused(run("user", "disable", "nobody@example.org"))


def test_the_last_admin_is_not_disabled(app: Flask, run: Any, admin: Person) -> None:
    assert "last admin" in refused(run("user", "disable", admin.email))
    assert signs_in(app, admin.email, admin.password)


# --- keys --------------------------------------------------------------------------------------------------------


def test_user_key_create_and_revoke(app: Flask, run: Any, world: World, owner: Person) -> None:
    key = done(run("user-key", "create", owner.email, "--name", "notebook")).strip()
    person = Person(app, owner.id, owner.email, key)
    assert person.api("GET", "/api/projects").status_code == 200
    key_id = key.split("_")[1]
    [row] = world.rows(UserKey, id=key_id)
    assert row.name == "notebook"
    assert key.split("_", 2)[2] not in row.secret_hash
    done(run("user-key", "revoke", key_id))
    done(run("user-key", "revoke", key_id))
    assert person.api("GET", "/api/projects").status_code == 401
    assert owner.api("GET", "/api/projects").status_code == 200, "another key of the same person"
    events = world.rows(AuditEvent, subject_type="user_key", subject_id=key_id)
    assert [event.action for event in events] == ["user_key.created", "user_key.revoked"]


def test_user_key_refuses(run: Any, owner: Person) -> None:
    assert "no account" in refused(run("user-key", "create", "nobody@example.org"))
    assert "name" in refused(run("user-key", "create", owner.email, "--name", "x" * 256))
    assert "no such key" in refused(run("user-key", "revoke", "nothing"))


# --- projects ----------------------------------------------------------------------------------------------------


def test_project_create(app: Flask, run: Any, world: World, owner: Person) -> None:
    output = done(run("project", "create", "Leaves", "--owner", owner.email, "--description", "Green."))
    [project] = world.rows(Project)
    assert output.strip() == str(project.id)
    assert (project.name, project.description) == ("Leaves", "Green.")
    assert memberships(app) == {owner.email: "owner"}


@pytest.mark.parametrize(
    ("name", "owner_email", "reason"),
    [
        (" ", "owner@example.org", "name"),
        ("x" * 256, "owner@example.org", "name"),
        ("x", "nobody@example.org", "no account"),
    ],
)
def test_project_create_refuses(
    run: Any, world: World, owner: Person, name: str, owner_email: str, reason: str
) -> None:
    assert reason in refused(run("project", "create", name, "--owner", owner_email))
    assert world.count(Project) == 0


def test_project_member(app: Flask, run: Any, project: Project, stranger: Person, viewer: Person) -> None:
    done(run("project", "member", project.id, stranger.email, "editor"))
    done(run("project", "member", project.id, viewer.email, "editor"))
    roles = memberships(app)
    assert (roles[stranger.email], roles[viewer.email]) == ("editor", "editor")


def test_project_member_refuses(app: Flask, run: Any, project: Project, owner: Person) -> None:
    before = memberships(app)
    assert "at least one owner" in refused(run("project", "member", project.id, owner.email, "viewer"))
    assert "no such project" in refused(run("project", "member", some_id(), owner.email, "viewer"))
    assert "no account" in refused(run("project", "member", project.id, "nobody@example.org", "viewer"))
    refused(run("project", "member", project.id, owner.email, "boss"))
    refused(run("project", "member", "not-an-id", owner.email, "viewer"))
    assert memberships(app) == before


# --- the keys of pipelines ---------------------------------------------------------------------------------------

MADE = re.compile(r"Key id: (\w{16})\nKey: (mlpip_\1_[\w-]{43})\nSigning secret: (mlsec_[\w-]{43})\n")


@pytest.fixture
def encrypted(app: Flask) -> None:
    app.config["ML_KEY_ENCRYPTION_KEYS"] = ("the newer key", "the older key")


def made_key(output: str) -> tuple[str, str, str]:
    """Its id, the whole key, its signing secret."""
    match = MADE.fullmatch(output)
    assert match, output
    return match[1], match[2], match[3]


def opens(app: Flask, key: str, analysis: Analysis) -> bool:
    client = app.test_client(use_cookies=False)
    return client.get(f"/api/analyses/{analysis.id}", headers={"X-API-Key": key}).status_code == 200


@pytest.mark.usefixtures("encrypted")
def test_pipeline_key_create(
    app: Flask, run: Any, world: World, project: Project, analysis: Analysis
) -> None:
    other = world.project("Moss")
    arguments = ["leaf worker", "--project", project.id, "--project", other.id, "--expires", 30]
    key_id, full, secret = made_key(done(run("pipeline-key", "create", *arguments, "--min-scheme", "plain")))
    assert opens(app, full, analysis)
    [row] = world.rows(PipelineKey)
    assert (row.id, row.name, row.min_scheme) == (key_id, "leaf worker", "plain")
    assert timedelta(days=29) < row.expires_at - now() <= timedelta(days=30)
    [event] = world.rows(AuditEvent, action="pipeline_key.created")
    assert event.actor_label == "system" and event.after["projects"] == sorted(
        [str(project.id), str(other.id)]
    )
    kept = f"{row.secret_hash} {row.signing_secret} {event.after}"
    assert full.split("_", 2)[2] not in kept and secret not in kept


@pytest.mark.usefixtures("encrypted")
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["x"], "--project"),
        (["x", "--project", some_id()], "no such project"),
        (["x", "--project", "leaves"], "UUID"),
        ([" ", "--project", None], "name"),
        (["x", "--project", None, "--min-scheme", "v1"], "v1"),
        (["x", "--project", None, "--expires", "0"], "0"),
    ],
)
def test_pipeline_key_create_refuses(
    run: Any, world: World, project: Project, arguments: list[Any], reason: str
) -> None:
    """None stands for a project that is there."""
    sent = [project.id if one is None else one for one in arguments]
    assert reason in refused(run("pipeline-key", "create", *sent))
    assert world.count(PipelineKey) == 0


def test_pipeline_keys_need_a_key_to_encrypt_under(run: Any, world: World, project: Project) -> None:
    create = refused(run("pipeline-key", "create", "x", "--project", project.id))
    assert "ML_KEY_ENCRYPTION_KEYS is not set" in create
    assert world.count(PipelineKey) == 0
    assert done(run("pipeline-key", "seal-anew")) == "0 sealed anew.\n"


@pytest.mark.usefixtures("encrypted")
def test_pipeline_key_list(run: Any, project: Project) -> None:
    assert done(run("pipeline-key", "list")) == ""
    first, *_ = made_key(done(run("pipeline-key", "create", "one", "--project", project.id)))
    second, *_ = made_key(done(run("pipeline-key", "create", "two", "--project", project.id)))
    done(run("pipeline-key", "revoke", first))
    assert done(run("pipeline-key", "list")) == f"{second}\tlive\tv2\tnever\ttwo\t{project.id}\n"
    lines = done(run("pipeline-key", "list", "--all")).splitlines()
    assert [line.split("\t")[:2] for line in lines] == [[second, "live"], [first, "revoked"]]


@pytest.mark.usefixtures("encrypted")
def test_pipeline_key_rotate_and_revoke(
    app: Flask, run: Any, world: World, project: Project, analysis: Analysis
) -> None:
    first, old, _ = made_key(done(run("pipeline-key", "create", "one", "--project", project.id)))
    second, new, _ = made_key(done(run("pipeline-key", "rotate", first, "--overlap", "90m")))
    assert opens(app, old, analysis) and opens(app, new, analysis)
    left = world.rows(PipelineKey, id=first)[0].expires_at - now()
    assert timedelta(minutes=89) < left <= timedelta(minutes=90)
    made_key(done(run("pipeline-key", "rotate", first, "--overlap", "0")))
    assert not opens(app, old, analysis)
    assert "is over" in refused(run("pipeline-key", "rotate", first))
    done(run("pipeline-key", "revoke", second))
    done(run("pipeline-key", "revoke", second))
    assert not opens(app, new, analysis)
    assert len(world.rows(AuditEvent, action="pipeline_key.revoked")) == 1
    assert "no length of time" in refused(run("pipeline-key", "rotate", second, "--overlap", "a week"))
    assert "no such key" in refused(run("pipeline-key", "revoke", "nothing"))


def test_pipeline_key_seal_anew(app: Flask, run: Any, world: World, project: Project) -> None:
    app.config["ML_KEY_ENCRYPTION_KEYS"] = ("the older key",)
    key_id, _, secret = made_key(done(run("pipeline-key", "create", "one", "--project", project.id)))
    app.config["ML_KEY_ENCRYPTION_KEYS"] = ("the newer key", "the older key")
    assert done(run("pipeline-key", "seal-anew")) == "1 sealed anew.\n"
    [row] = world.rows(PipelineKey, id=key_id)
    assert sealing.unseal(["the newer key"], row.signing_secret) == secret
    app.config["ML_KEY_ENCRYPTION_KEYS"] = ("a third key",)
    assert "encrypted under a key that is not set" in refused(run("pipeline-key", "seal-anew"))
    assert world.rows(PipelineKey, id=key_id)[0].signing_secret == row.signing_secret


# --- the demo ----------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "b.png").write_bytes(picture())
    (folder / "a.jpg").write_bytes(picture(kind="JPEG"))
    (folder / "SOURCES.md").write_text("where they are from")
    return folder


def test_demo_twice(app: Flask, run: Any, world: World, pictures: Path, tmp_path: Path) -> None:
    credentials = tmp_path / "demo.env"
    arguments = ("demo", "--images", pictures, "--credentials", credentials)
    output = done(run(*arguments))
    password = re.search(r"Password: (\S+)", output)
    assert password and signs_in(app, "admin@loupe.example", password[1])
    assert sorted(image.filename for image in world.rows(Image)) == ["a.jpg", "b.png"]
    assert memberships(app) == {"admin@loupe.example": "owner", "example-pipeline@loupe.example": "viewer"}
    assert stat.S_IMODE(credentials.stat().st_mode) == 0o600
    written = credentials.read_text()
    key = written.removeprefix("API_KEY=").strip()
    [project] = world.rows(Project)
    reader = Person(app, some_id(), "example-pipeline@loupe.example", key)
    assert len(reader.api("GET", f"/api/projects/{project.id}/images").json) == 2

    again = done(run(*arguments))
    assert "Password" not in again
    assert credentials.read_text() == written
    assert [world.count(table) for table in (User, Project, Image, UserKey)] == [2, 1, 2, 1]
    assert signs_in(app, "admin@loupe.example", password[1])


def test_demo_makes_a_new_key_when_its_file_is_gone(
    app: Flask, run: Any, world: World, pictures: Path, tmp_path: Path
) -> None:
    credentials = tmp_path / "demo.env"
    arguments = ("demo", "--images", pictures, "--credentials", credentials)
    done(run(*arguments))
    first = credentials.read_text()
    credentials.unlink()
    done(run(*arguments))
    assert credentials.read_text() != first
    assert [world.count(table) for table in (User, Project, Image)] == [2, 1, 2]


def test_demo_takes_a_folder_that_is_there(run: Any, world: World, tmp_path: Path) -> None:
    refused(run("demo", "--images", tmp_path / "none", "--credentials", tmp_path / "demo.env"))
    assert world.count(User) == 0


def test_wrong_settings_are_named_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "flask", "--app", "wsgi", "user", "create", "a@example.org"]
    environ = {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": "x" * 32,
        "TRUSTED_PROXIES": "-1",
        "MAX_IMAGE_BYTES": "abc",
    }
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "TRUSTED_PROXIES must be" in ended.stderr and "MAX_IMAGE_BYTES must be" in ended.stderr
    assert "Traceback" not in ended.stderr
