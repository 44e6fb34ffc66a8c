"""Rows made the short way, for tests that are about something else."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Flask
from PIL import Image as Picture
from PIL import ImageDraw
from sqlalchemy import inspect
from werkzeug.security import generate_password_hash

from app import signing
from app.extensions import db
from app.models import (
    SYSTEM,
    Analysis,
    Export,
    Image,
    Membership,
    Project,
    Role,
    Status,
    User,
    UserKey,
    WebhookDelivery,
)
from app.models.analyses import place_of
from app.models.columns import new_id, now
from app.services import groups, images
from tests.cast import PASSWORD, Person

# the settings of an app that sends webhooks, to a name that stands for nothing (RFC 6761)
WEBHOOKS = {
    "ML_PIPELINE_PUSH_WEBHOOKS_ENABLED": "true",
    "ML_WEBHOOK_URL": "https://hooks.invalid/loupe",
}
# a real hash costs a tenth of a second each time it is made or checked
QUICK_HASH = generate_password_hash(PASSWORD, method="pbkdf2:sha256:1")


def picture(width: int = 64, height: int = 48, kind: str = "PNG", colour: str = "#3f7f5f") -> bytes:
    """The bytes of a small picture, the same every time."""
    file = io.BytesIO()
    Picture.new("RGB", (width, height), colour).save(file, kind)
    return file.getvalue()


class World:
    """Makes rows in the database of one app.

    Each method commits, and what it returns has left its session: its own columns can be read, its relations not.
    """

    def __init__(self, app: Flask) -> None:
        self.app = app

    def person(self, email: str, role: str = "user", *, app: Flask | None = None) -> Person:
        user = User(
            id=new_id(), email=email, name=email.partition("@")[0], password_hash=QUICK_HASH, role=role
        )
        minted = signing.mint_key("mluser")
        # used before: its first use would be one more statement in a transaction of its own
        used = {"last_used_at": self.app.extensions["clock"](), "last_used_from": "127.0.0.1"}
        key = UserKey(id=minted.key_id, user_id=user.id, name="tests", secret_hash=minted.secret_hash, **used)
        with self.app.app_context():
            db.session.add_all([user, key])
            db.session.commit()
            return Person(app or self.app, user.id, user.email, minted.full)

    def project(self, name: str = "Leaves", *, description: str = "", **members: Person) -> Project:
        """`members` by role: project("Leaves", owner=somebody, viewer=another)."""
        with self._making() as made:
            project = Project(name=name, description=description)
            db.session.add(project)
            db.session.flush()
            for role, person in members.items():
                row = Membership(project_id=project.id, user_id=person.id, role=Role(role).value)
                db.session.add(row)
            made.append(project)
        return project

    def member(self, project: Project, person: Person, role: str) -> None:
        with self.app.app_context():
            db.session.add(Membership(project_id=project.id, user_id=person.id, role=Role(role).value))
            db.session.commit()

    def image(self, project: Project, filename: str = "leaf.png", content: bytes | None = None) -> Image:
        """Checked and stored like an upload; 64 × 48 pixels unless `content` says otherwise."""
        with self.app.app_context():
            stored = images.store(io.BytesIO(content or picture()), self.app.extensions["storage"])
        with self._making() as made:
            owner = db.session.get_one(Project, project.id)
            image = images.add(owner, stored, filename, None, by=SYSTEM)
            made.append(image)
        return image

    def analysis(self, image: Image, status: str = "queued", **columns: Any) -> Analysis:
        """In any state, with the times that belong to it."""
        state, moment = Status(status), now()
        columns = {"model_name": "leaf-net", "model_version": "1.0.0", **columns}
        if state is not Status.QUEUED:
            columns.setdefault("started_at", moment)
        if state.is_terminal:
            columns.setdefault("completed_at", moment)
        with self._making() as made:
            row_id = groups.row_id(image.project_id, columns.get("group_id"))
            of_image = {"image_id": image.id, **place_of(image)}
            analysis = Analysis(status=state.value, group_row_id=row_id, **of_image, **columns)
            db.session.add(analysis)
            made.append(analysis)
        return analysis

    def delivery(self, analysis: Analysis, event: str = "analysis.queued", **columns: Any) -> WebhookDelivery:
        """A webhook as it is written; given up unless the columns say otherwise."""
        with self._making() as made:
            delivery = WebhookDelivery(event=event, analysis_id=analysis.id, **{"body": "{}", **columns})
            db.session.add(delivery)
            made.append(delivery)
        return delivery

    def export(self, state: str = "done", **columns: Any) -> Export:
        """A kept export; one that is done has a file."""
        export_id, body = columns.setdefault("id", new_id()), b'{"analyses":[]}\n'
        moment = now()
        plain: dict[str, Any] = {
            "selection": {"annotations": True},
            "format": "json",
            "filename": "analyses_all_20260304_120000.json",
            "content_type": "application/json",
        }
        if state not in ("queued", "running"):
            plain |= {"finished_at": moment, "expires_at": moment + timedelta(days=7)}
        if state == "done":
            key = f"exports/{export_id}/1"
            stored = self.app.extensions["storage"].put(key, body, "application/json")
            plain |= {"storage_path": key, "size_bytes": stored.size, "sha256": stored.sha256}
        with self._making() as made:
            export = Export(state=state, **{**plain, **columns})
            db.session.add(export)
            made.append(export)
        return export

    def reload(self, row: Any) -> Any:
        """The row as it is in the database now; None when it is gone."""
        with self.app.app_context():
            found = db.session.get(type(row), row.id)
            if found is not None:
                db.session.expunge(found)
            return found

    def rows(self, model: type[Any], **columns: Any) -> list[Any]:
        """Every row of a table with these values, oldest first."""
        with self.app.app_context():
            statement = db.select(model).filter_by(**columns).order_by(*inspect(model).primary_key)
            found = list(db.session.scalars(statement))
            db.session.expunge_all()
            return found

    def count(self, model: type[Any], **columns: Any) -> int:
        return len(self.rows(model, **columns))

    @contextmanager
    def _making(self) -> Iterator[list[Any]]:
        with self.app.app_context():
            made: list[Any] = []
            yield made
            db.session.commit()
            for row in made:
                db.session.refresh(row)
            db.session.expunge_all()


def some_id() -> UUID:
    """A well-formed id of nothing."""
    return UUID("01900000-0000-7000-8000-000000000000")


def gradient(width: int, height: int) -> bytes:
    """A grey picture that grows lighter to the right: a heatmap as a pipeline sends it."""
    return _written(Picture.linear_gradient("L").rotate(90).resize((width, height)))


def spots(width: int, height: int) -> bytes:
    """A mask: white where something is, a few round spots."""
    made = Picture.new("L", (width, height))
    for n in range(4):
        left, top = width * n // 4 + 2, height * (n % 2) // 2 + 4
        ImageDraw.Draw(made).ellipse((left, top, left + width // 8, top + width // 8), fill=255)
    return _written(made)


def _written(made: Picture.Image) -> bytes:
    file = io.BytesIO()
    made.save(file, "PNG")
    return file.getvalue()
