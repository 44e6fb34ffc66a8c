"""Analyses with thousands of boxes, put straight into the database: sending them would take longer than the test."""

from app.extensions import db
from app.models import Analysis, Image
from benchmarks.viewer import boxes
from tests.factories import World


def crowd(
    world: World, image: Image, count: int, *, status: str = "completed", width: int | None = None
) -> Analysis:
    """An analysis of so many boxes in 12 classes, all inside the image, the same every time.

    They fill the image as far as `width`, from its left edge.
    """
    analysis = world.analysis(image, status, model_name="crowd")
    with world.app.app_context(), db.engine.begin() as connection:
        boxes.fill(connection, analysis.id, count, width or image.width, image.height)
    return analysis
