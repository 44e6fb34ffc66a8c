"""How each type is drawn, to the letter: the overlay of one annotation of it, kept in tests/data/overlay/.

After a change that is meant, TEST_KEEP=1 writes the files anew; look at the difference before it is committed.
"""

import os
import re
from pathlib import Path

import pytest
from flask import Flask

from app.annotations import TYPES
from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.factories import gradient
from tests.steps import store, upload

KEPT = Path(__file__).resolve().parents[1] / "data" / "overlay"
HTMX = {"HX-Request": "true"}
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VERSION = re.compile(r"\?v=[0-9a-f]+(-[0-9a-f]{8})?")
HOLED = {
    "points": [[4, 4], [40, 6], [36, 40], [6, 36]],
    "holes": [[[14, 14], [26, 14], [20, 26]]],
}
SKELETON = {
    "keypoints": [
        {"x": 10, "y": 8},
        {"x": 30.25, "y": 20},
        {"x": 12, "y": 40},
        {"x": 1, "y": 1, "visible": 0},
    ],
    "skeleton": [[0, 1], [1, 2], [2, 3]],
}
POLYGONS = {"format": "polygon", "polygons": [[2, 2, 20, 2, 20, 20], [30, 30, 50, 30, 50, 44]]}
CASES = {
    "bounding_box": ("bounding_box", {"x_min": 2.25, "y_min": 3, "x_max": 40.5, "y_max": 30}),
    "polygon": ("polygon", HOLED),
    "keypoint": ("keypoint", SKELETON),
    "segmentation-polygon": ("segmentation", POLYGONS),
    "segmentation-rle": ("segmentation", {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]}),
    "segmentation-png": ("segmentation", {"format": "png"}),
    "heatmap": ("heatmap", TYPES["heatmap"].example),
    "classification": ("classification", TYPES["classification"].example),
    "custom": ("custom", {"note": "<b>"}),
}


def test_every_type_is_here() -> None:
    assert {kind for kind, _ in CASES.values()} == set(TYPES)


@pytest.mark.parametrize("name", CASES)
def test_it_is_drawn_as_it_was(
    app: Flask, name: str, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    kind, data = CASES[name]
    said = {"annotation_type": kind, "data": data, "class_name": "leaf & <stem>", "confidence": 0.75}
    if TYPES[kind].needs_storage_path(data):
        said["storage_path"] = upload(app, pipeline, analysis, content=gradient(16, 12))
    store(pipeline, analysis, [said])
    viewer.client.get(f"/images/{image.id}")
    answer = viewer.client.get(f"/images/{image.id}/overlay?box=0,0,64,48&scale=10", headers=HTMX).text
    drawn = "<svg" + answer.split("<svg", 1)[1].split("</svg>")[0] + "</svg>\n"
    drawn = VERSION.sub("?v=version", UUID.sub("id", drawn))
    kept = KEPT / f"{name}.svg"
    if os.environ.get("TEST_KEEP"):
        KEPT.mkdir(exist_ok=True)
        kept.write_text(drawn)
    assert drawn == kept.read_text()
