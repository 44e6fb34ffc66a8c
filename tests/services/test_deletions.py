"""Deleting softly, below the routes: what was read before another deleted it can be locked no more."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.errors import Deleted
from app.extensions import db
from app.models import SYSTEM, Analysis, Image
from app.models.columns import now
from app.services import deletions
from app.services.locking import lock
from tests.cast import Person
from tests.factories import World


@pytest.mark.parametrize("kind", ["analyses", "images"])
def test_what_was_deleted_since_it_was_read_is_refused(
    app: Flask, image: Image, analysis: Analysis, editor: Person, kind: str
) -> None:
    row = analysis if kind == "analyses" else image
    with app.app_context():
        read = db.session.get_one(type(row), row.id)
        db.session.rollback()
        assert lock(read) is read
        db.session.rollback()
        assert editor.api("DELETE", f"/api/{kind}/{row.id}").status_code == 200
        with pytest.raises(Deleted):
            lock(read)
        assert lock(read, deleted=True) is read
        db.session.rollback()


def test_an_analysis_whose_image_was_deleted_since_it_was_read_is_refused(
    app: Flask, image: Image, analysis: Analysis, editor: Person
) -> None:
    with app.app_context():
        read = db.session.get_one(Analysis, analysis.id)
        assert read.image.deleted_at is None
        db.session.rollback()
        assert editor.api("DELETE", f"/api/images/{image.id}").status_code == 200
        with pytest.raises(Deleted):
            lock(read)
        assert lock(read, deleted=True) is read
        db.session.rollback()


@pytest.mark.parametrize("kind", [Image, Analysis])
def test_whether_it_can_be_restored_is_asked_once_it_is_held(
    app: Flask, world: World, image: Image, count_queries: Callable[..., Any], kind: type[Any]
) -> None:
    """Whoever held it may have been the sweeper, and its time have come while it was waited for."""
    deleted_at = now() - timedelta(days=30)
    analysis = world.analysis(image, deleted_at=deleted_at)
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = deleted_at if kind is Image else None
        db.session.commit()
        row: Any = db.session.get_one(kind, image.id if kind is Image else analysis.id)
        with count_queries() as statements:

            def clock() -> datetime:
                assert kind.__tablename__ in statements[-1], "it is held"
                return deleted_at + timedelta(days=30)

            with pytest.raises(Deleted):
                if kind is Image:
                    deletions.restore_image(row, days=30, clock=clock, by=SYSTEM)
                else:
                    limits = {"limit": 9, "pending_limit": 0}
                    deletions.restore_analysis(row, days=30, clock=clock, by=SYSTEM, **limits)
        db.session.rollback()
