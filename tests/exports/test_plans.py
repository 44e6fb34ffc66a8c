"""How an export means to read: what it takes does not depend on what else is in the database."""

from functools import partial
from uuid import UUID

import pytest
from flask import Flask

from app.annotations import TYPES
from app.exports import FORMATS, Selection, manifests
from app.exports.reading import annotations_of
from app.extensions import db
from app.models import Analysis, Annotation, Image, Project
from app.models.columns import new_id
from tests.factories import World
from tests.support.plans import check_walks, plan_of, refresh_statistics

OTHERS = 5000
LARGE = 20_000


@pytest.fixture
def beside_many(app: Flask, world: World, project: Project, analysis: Analysis) -> UUID:
    """An analysis with little, in a database where another project has many classifications."""
    other = world.analysis(world.image(world.project("Bark")), "completed")
    kind = {"annotation_type": "classification", "data": TYPES["classification"].example}
    rows = [
        {"id": new_id(), "analysis_id": of, "position": n, "client_id": f"c{n}", "content_hash": "0" * 64}
        for of, number in ((analysis.id, 10), (other.id, OTHERS))
        for n in range(number)
    ]
    with app.app_context():
        db.session.execute(db.insert(Annotation), [row | kind for row in rows])
        db.session.commit()
    return analysis.id


@pytest.mark.one_database  # PostgreSQL weighs what it counted, and reads a table as small as this one whole
@pytest.mark.parametrize("analyzed", [False, True])
def test_the_header_counts_along_the_analyses(
    app: Flask, project: Project, beside_many: UUID, analyzed: bool
) -> None:
    if analyzed:
        refresh_statistics(app)
    for scope in (beside_many, Selection(project_id=project.id)):
        plan = plan_of(app, partial(manifests.by_type, scope, FORMATS["coco"].drops))
        for bad in ("idx_ml_annotations_annotation_type", "SCAN ml_annotations"):
            assert bad not in plan, plan


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_page_is_read_along_the_index(app: Flask, world: World, image: Image, analyzed: bool) -> None:
    """Also in a table that nobody has counted, or not since the analysis came: without, all that is left is sorted for
    each page, and an export takes the square of what it holds."""
    if analyzed:
        refresh_statistics(app)
    large = world.analysis(image, "completed", annotation_count=LARGE)
    kind = {"annotation_type": "classification", "data": TYPES["classification"].example}
    rows = [
        {
            "id": new_id(),
            "analysis_id": large.id,
            "position": n,
            "client_id": f"c{n}",
            "content_hash": "0" * 64,
        }
        for n in range(LARGE)
    ]
    with app.app_context():
        db.session.execute(db.insert(Annotation), [row | kind for row in rows])
        db.session.commit()
    check_walks(
        plan_of(app, lambda: next(annotations_of(large.id))),
        "ml_annotations",
        "idx_ml_annotations_analysis_id",
    )
