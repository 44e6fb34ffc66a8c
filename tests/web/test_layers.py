"""The bytes people's browsers fetch: the image, its preview, the layers laid over it."""

import io
from urllib.parse import urlsplit

import pytest
from flask import Flask
from PIL import Image as Picture

from app.models import Analysis, Image, Project
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.steps import box, store, upload

HEATMAP = {"width": 16, "height": 12}
RLE = {
    "annotation_type": "segmentation",
    "data": {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]},
}


def grey(width: int = 16, height: int = 12) -> bytes:
    file = io.BytesIO()
    Picture.linear_gradient("L").resize((width, height)).save(file, "PNG")
    return file.getvalue()


def fetched(person: Person, address: str) -> Picture.Image:
    """The picture that a redirect leads to."""
    answer = person.client.get(address)
    assert answer.status_code == 302, answer.text
    parts = urlsplit(answer.location)
    sent = person.app.test_client(use_cookies=False).get(f"{parts.path}?{parts.query}")
    assert (sent.status_code, sent.mimetype) == (200, "image/png")
    return Picture.open(io.BytesIO(sent.data))


def test_the_image_itself(image: Image, viewer: Person, stranger: Person) -> None:
    address = f"/images/{image.id}/content"
    answer = viewer.client.get(address)
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", picture())
    assert answer.headers["Cache-Control"] == "private, no-cache"
    again = viewer.client.get(address, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert stranger.client.get(address).status_code == 403
    assert viewer.client.get(f"/images/{some_id()}/content").status_code == 404


def test_a_preview_is_small_and_kept(image: Image, viewer: Person, stranger: Person) -> None:
    address = f"/images/{image.id}/preview"
    answer = viewer.client.get(address)
    assert (answer.status_code, answer.mimetype) == (200, "image/webp")
    assert Picture.open(io.BytesIO(answer.data)).size == (64, 48)
    assert viewer.client.get(address).data == answer.data
    again = viewer.client.get(address, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert stranger.client.get(address).status_code == 403


def test_a_preview_of_a_large_image(world: World, project: Project, viewer: Person) -> None:
    large = world.image(project, "large.jpg", picture(1600, 900, "JPEG"))
    answer = viewer.client.get(f"/images/{large.id}/preview")
    assert max(Picture.open(io.BytesIO(answer.data)).size) == 640


def test_a_heatmap_is_coloured_and_stored(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person, stranger: Person
) -> None:
    path = upload(app, pipeline, analysis, content=grey())
    (heatmap_id,) = store(
        pipeline, analysis, [{"annotation_type": "heatmap", "data": HEATMAP, "storage_path": path}]
    )
    address = f"/annotations/{heatmap_id}/layer.png"
    layer = fetched(viewer, address)
    assert (layer.mode, layer.size) == ("P", (16, 12))
    assert "transparency" in layer.info
    assert stranger.client.get(address).status_code == 403


def test_an_artifact_that_is_put_again_makes_a_new_layer(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, content=grey())
    (heatmap_id,) = store(
        pipeline, analysis, [{"annotation_type": "heatmap", "data": HEATMAP, "storage_path": path}]
    )
    address = f"/annotations/{heatmap_id}/layer.png"
    assert fetched(viewer, address).size == (16, 12)
    upload(app, pipeline, analysis, content=grey(32, 24))
    assert fetched(viewer, address).size == (32, 24)


def test_a_mask_is_coloured_by_its_class(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, "mask", content=grey())
    item = {"annotation_type": "mask", "data": {}, "storage_path": path, "class_name": "leaf"}
    (mask_id,) = store(pipeline, analysis, [item])
    assert fetched(viewer, f"/annotations/{mask_id}/layer.png").mode == "P"


def test_a_layer_that_was_never_uploaded(analysis: Analysis, pipeline: Pipeline, viewer: Person) -> None:
    item = {
        "annotation_type": "heatmap",
        "data": HEATMAP,
        "storage_path": f"ml_outputs/{analysis.id}/heatmap.png",
    }
    (heatmap_id,) = store(pipeline, analysis, [item])
    answer = viewer.client.get(f"/annotations/{heatmap_id}/layer.png")
    assert answer.status_code == 404 and "has not uploaded" in answer.text


def test_a_layer_that_is_no_picture(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, content=b"not a png at all")
    (heatmap_id,) = store(
        pipeline, analysis, [{"annotation_type": "heatmap", "data": HEATMAP, "storage_path": path}]
    )
    assert viewer.client.get(f"/annotations/{heatmap_id}/layer.png").status_code == 422


def test_an_annotation_without_a_picture(analysis: Analysis, pipeline: Pipeline, viewer: Person) -> None:
    (box_id,) = store(pipeline, analysis, [box()])
    assert viewer.client.get(f"/annotations/{box_id}/layer.png").status_code == 404
    assert viewer.client.get(f"/annotations/{some_id()}/layer.png").status_code == 404


def test_masks_are_composed_into_one_picture(
    analysis: Analysis, pipeline: Pipeline, viewer: Person, stranger: Person
) -> None:
    address = f"/analyses/{analysis.id}/masks.png"
    assert viewer.client.get(address).status_code == 404
    store(pipeline, analysis, [RLE])
    layer = fetched(viewer, address)
    assert (layer.mode, layer.size) == ("P", (64, 48))
    first = viewer.client.get(address).location
    store(pipeline, analysis, [{**RLE, "class_name": "leaf"}])
    assert viewer.client.get(address).location.split("?")[0] != first.split("?")[0]
    assert stranger.client.get(address).status_code == 403
    assert viewer.client.get(f"/analyses/{some_id()}/masks.png").status_code == 404


@pytest.mark.parametrize("path", ["layer.png", "masks.png"])
def test_layers_only_answer_to_reading(analysis: Analysis, viewer: Person, path: str) -> None:
    viewer.client.get("/")
    base = "/annotations" if path == "layer.png" else "/analyses"
    assert viewer.client.post(f"{base}/{analysis.id}/{path}").status_code in (403, 405)
