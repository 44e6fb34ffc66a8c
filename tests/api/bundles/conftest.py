"""An analysis with everything a bundle holds."""

import pytest
from flask import Flask

from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.steps import box, finalize, store, upload
from tests.support.bundles import GROUP


@pytest.fixture
def full(app: Flask, world: World, image: Image, pipeline: Pipeline, owner: Person) -> Analysis:
    """Completed, with two artifacts and three annotations."""
    said = {"commit": "0b5ff1e", "container": "registry.example.org/leaf:1", "model_sha256": "ab" * 32}
    more = {"parameters": {"threshold": 0.5, "sizes": [1, 2]}, "provenance": said}
    analysis = world.analysis(image, "processing", group_id=GROUP, requested_by_id=owner.id, **more)
    path = upload(app, pipeline, analysis)
    upload(app, pipeline, analysis, "log", b"done\n")
    heatmap = {"annotation_type": "heatmap", "data": {"width": 16, "height": 12}, "storage_path": path}
    store(pipeline, analysis, [box(client_id="a", class_name="=leaf"), box(client_id="b"), heatmap])
    finalize(pipeline, analysis)
    return analysis
