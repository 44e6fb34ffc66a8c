"""services/artifacts.py: the files that annotations name are found however many other annotations there are."""

from uuid import UUID

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, Annotation, Image
from app.services import artifacts, swapping
from tests.factories import World
from tests.support.database import KIND
from tests.support.plans import plan_of, refresh_statistics

INDEX = "ix_ml_annotations_files"


@pytest.fixture
def large(app: Flask, world: World, image: Image) -> Analysis:
    """One of 5,000 annotations, of which three name two files; and another like it."""
    made = [world.analysis(image, "processing") for _ in range(2)]
    with app.app_context():
        for analysis in made:
            rows = [_row(analysis.id, number) for number in range(5000)]
            for number, name in ((7, "a"), (2500, "b"), (4999, "a")):
                rows[number]["storage_path"] = f"ml_outputs/{analysis.id}/{name}.png"
            db.session.execute(db.insert(Annotation), rows)
        db.session.commit()
    return made[0]


def _row(analysis_id: UUID, number: int) -> dict[str, object]:
    text = f"{number:064}"
    return {
        "analysis_id": analysis_id,
        "annotation_type": "custom",
        "data": {},
        "client_id": text,
        "content_hash": text,
        "position": number,
        "storage_path": None,
    }


def test_they_are_found_along_the_index(app: Flask, large: Analysis) -> None:
    refresh_statistics(app)
    plan = plan_of(app, lambda: artifacts.paths(large.id))
    assert INDEX in plan and "Seq Scan on ml_annotations" not in plan, plan
    with app.app_context():
        assert artifacts.paths(large.id) == {f"ml_outputs/{large.id}/{name}.png" for name in "ab"}


if KIND == "postgresql":  # SQLite always takes the lock

    def test_whether_there_are_any_is_read_with_the_analysis(
        app: Flask, world: World, image: Image, large: Analysis
    ) -> None:
        refresh_statistics(app)
        plan = plan_of(app, lambda: (swapping.begin(large.id), swapping.drop()))
        assert INDEX in plan and "Seq Scan on ml_annotations" not in plan, plan
        with app.app_context():
            for analysis, expected in ((large, True), (world.analysis(image), False)):
                read = swapping.begin(analysis.id)
                change = swapping.of(read)
                assert change is not None and change.has_files is expected
                swapping.drop()
