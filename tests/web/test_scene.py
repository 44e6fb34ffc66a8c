"""What the image page is built from: addresses of layers, colours of rows, where chosen annotations are marked."""

import re

from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.steps import box, finalize, store

RLE = {
    "annotation_type": "segmentation",
    "data": {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]},
}


def test_the_address_of_a_layer_changes_with_its_analysis_and_only_then(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    def layer() -> str:
        return viewer.client.get(f"/images/{image.id}").text.split("masks.png?v=")[1].split('"')[0]

    store(pipeline, analysis, [{**RLE, "client_id": "a"}])
    first = layer()
    store(pipeline, analysis, [{**RLE, "client_id": "b"}])
    second = layer()
    assert first != second == layer()
    finalize(pipeline, analysis)
    assert layer() not in (first, second)
    assert layer() == layer()


def test_only_what_is_drawn_in_the_colour_of_its_class_has_a_swatch(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    said = {"annotation_type": "classification", "data": {"topk": [{"class": "oak", "confidence": 0.75}]}}
    store(pipeline, analysis, [box(class_name="leaf"), {**said, "class_name": "oak"}])
    rows = viewer.client.get(f"/images/{image.id}").text.split("<tbody>")[1].split("<tr ")[1:]
    assert re.search(r'class="swatch k\d"', rows[0]) and 'class="swatch none"' in rows[1]


def test_a_queued_analysis_does_not_turn(world: World, image: Image, viewer: Person) -> None:
    world.analysis(image, "queued")
    text = viewer.client.get(f"/images/{image.id}").text
    assert "leaf-net is queued" in text and "spinner" not in text and 'id="view-choice"' not in text
