"""Reading many analyses: every page begins where the last one ended, whatever is chosen."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.exports import Selection
from app.exports.many import entries, page_of
from app.exports.reading import read
from app.extensions import db
from app.models import Analysis, Image, Project, Status
from app.models.columns import new_id
from tests.factories import World
from tests.support.plans import check_walks, plan_of, refresh_statistics

NUMBER = 8000
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
LATER = FIRST + timedelta(days=30)
PROJECTS, MODELS, STATES = 10, 7, [Status.COMPLETED] * 8 + [Status.FAILED, Status.QUEUED]
ALL, OF_MODEL = "ix_ml_analyses_created_at_id", "ix_ml_analyses_model_name_created_at_id"
OF_STATUS = "ix_ml_analyses_status_created_at_id"


@pytest.fixture
def projects(app: Flask, world: World) -> list[Project]:
    """With 200 images and 8,000 analyses between them, one a second."""
    made = [world.project(f"P{n}") for n in range(PROJECTS)]
    picture = {"content_type": "image/png", "size_bytes": 1, "sha256": "0" * 64, "width": 1, "height": 1}
    images = [
        {
            "id": new_id(),
            "project_id": made[n % PROJECTS].id,
            "filename": f"{n}",
            "storage_path": "x",
            **picture,
        }
        for n in range(200)
    ]
    analyses: list[dict[str, Any]] = [
        {
            "id": new_id(),
            "image_id": images[n % 200]["id"],
            "model_name": f"m{n % MODELS}",
            "model_version": "1",
            "status": STATES[n // 3 % 10].value,
            "created_at": FIRST + timedelta(seconds=n),
        }
        for n in range(NUMBER)
    ]
    with app.app_context():
        db.session.execute(db.insert(Image), images)
        db.session.execute(db.insert(Analysis), analyses)
        db.session.commit()
    refresh_statistics(app)
    return made


def chosen(projects: list[Project]) -> Iterator[tuple[Selection, str, Callable[[int], bool]]]:
    """What is chosen, the index that has it in order, and which of the 8,000 it is."""
    one = projects[4].id
    failed = STATES.index(Status.FAILED)
    yield Selection(), ALL, lambda _: True
    yield Selection(project_id=one), ALL, lambda n: n % PROJECTS == 4
    yield Selection(model_name="m3"), OF_MODEL, lambda n: n % MODELS == 3
    yield Selection(status=Status.FAILED), OF_STATUS, lambda n: n // 3 % 10 == failed
    both = Selection(project_id=one, status=Status.FAILED)
    yield both, OF_STATUS, lambda n: n // 3 % 10 == failed and n % PROJECTS == 4
    yield Selection(created_from=FIRST.date(), created_to=LATER.date()), ALL, lambda _: True


def test_no_page_sorts_or_reads_what_came_before(app: Flask, projects: list[Project]) -> None:
    middle = (FIRST + timedelta(seconds=NUMBER // 2), projects[0].id)
    for selection, index, _ in chosen(projects):
        for after in (None, middle):
            statement = page_of(selection, LATER, after)
            plan = plan_of(app, lambda statement=statement: read(statement))
            check_walks(plan, "ml_analyses", index)


def test_everything_comes_once_and_in_order(app: Flask, projects: list[Project]) -> None:
    for selection, _, fits in chosen(projects):
        with app.app_context():
            found = [entry.row.created_at for entry in entries(selection, LATER, None)]
        assert found == [FIRST + timedelta(seconds=n) for n in range(NUMBER) if fits(n)]
