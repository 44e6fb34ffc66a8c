"""The bytes people's browsers fetch: the image, its preview, the layers laid over it."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from flask import Flask
from PIL import Image as Picture

from app.models import Analysis, Image, Project
from app.services.renders import LARGEST_ARTIFACT
from tests.cast import Person, Pipeline
from tests.factories import World, picture, some_id
from tests.fakes import FixedClock
from tests.html import LintClient
from tests.steps import box, finalize, store, upload

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


def upsert(pipeline: Pipeline, analysis: Analysis, **item: Any) -> str:
    """Sends one annotation under an id of its own, over what was there; its id."""
    body = {"annotations": [{"client_id": "same", **item}], "mode": "upsert"}
    answer = pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", body)
    assert answer.status_code == 200, answer.text
    annotation_id: str = answer.json["annotations"][0]["id"]
    return annotation_id


def layer_href(person: Person, image: Image) -> str:
    """The address of the only layer on the page of an image."""
    page = person.client.get(f"/images/{image.id}").text
    (href,) = set(re.findall(r'"(/annotations/[^"]+/layer\.png[^"]*)"', page))
    return href


def kept_renders(app: Flask, analysis: Analysis) -> list[str]:
    """The pictures that are kept of an analysis."""
    folder = Path(app.instance_path) / "storage" / "renders" / "analyses" / str(analysis.id)
    return sorted(file.name for file in folder.iterdir() if file.suffix == ".png")


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


def test_another_colour_map_makes_a_new_layer(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    heatmap = {"annotation_type": "heatmap", "storage_path": upload(app, pipeline, analysis, content=grey())}
    shown = {}
    for color_map in ("viridis", "magma"):
        heatmap_id = upsert(pipeline, analysis, **heatmap, data={**HEATMAP, "color_map": color_map})
        href = layer_href(viewer, image)
        assert href.startswith(f"/annotations/{heatmap_id}/")
        shown[href] = fetched(viewer, href).convert("RGBA").getpixel((8, 11))
    assert len(shown) == 2  # the page asks by another address, as browsers keep what they have
    assert len(set(shown.values())) == 2


def test_another_class_makes_a_new_layer(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, "mask", content=grey())
    shown = {}
    for class_name in ("leaf", "stem"):
        upsert(pipeline, analysis, annotation_type="mask", data={}, storage_path=path, class_name=class_name)
        href = layer_href(viewer, image)
        shown[href] = fetched(viewer, href).convert("RGBA").getpixel((8, 11))
    assert len(shown) == len(set(shown.values())) == 2


def test_of_layers_that_changed_only_the_last_is_kept(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, content=grey())
    item = {"annotation_type": "heatmap", "data": HEATMAP, "storage_path": path}
    (heatmap_id, other_id) = store(pipeline, analysis, [item, item])
    fetched(viewer, f"/annotations/{other_id}/layer.png")
    seen = []
    for width in range(16, 20):
        upload(app, pipeline, analysis, content=grey(width))
        for _ in range(2):
            layer = fetched(viewer, f"/annotations/{heatmap_id}/layer.png")
        assert layer.size[0] == width
        (new,) = {name for name in kept_renders(app, analysis) if heatmap_id in name} - set(seen)
        seen.append(new)
    names = kept_renders(app, analysis)
    assert [name for name in names if heatmap_id in name] == sorted(seen[-2:])
    assert len([name for name in names if other_id in name]) == 1


def test_a_running_analysis_does_not_fill_the_storage(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    address = f"/analyses/{analysis.id}/masks.png"
    for step in range(5):
        store(pipeline, analysis, [{**RLE, "class_name": f"leaf {step}"}])
        before = viewer.client.get(address).location
        assert viewer.client.get(address).location == before
    names = kept_renders(app, analysis)
    assert len(names) == 2
    store(pipeline, analysis, [RLE])
    assert fetched(viewer, address).size == (64, 48)
    # who was sent to the one before a moment ago still finds it
    parts = urlsplit(before)
    assert viewer.app.test_client(use_cookies=False).get(f"{parts.path}?{parts.query}").status_code == 200
    assert len(kept_renders(app, analysis)) == 2 and names != kept_renders(app, analysis)


def test_an_artifact_that_is_too_large_is_not_read(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, content=grey())
    padded = grey() + bytes(LARGEST_ARTIFACT)  # a sound picture, so only its size speaks against it
    app.extensions["storage"].put(path, padded, "image/png")
    (heatmap_id,) = store(
        pipeline, analysis, [{"annotation_type": "heatmap", "data": HEATMAP, "storage_path": path}]
    )
    answer = viewer.client.get(f"/annotations/{heatmap_id}/layer.png")
    assert answer.status_code == 422 and "larger than" in answer.text


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


def test_chosen_colours_are_answered_and_never_stored(
    app: Flask,
    clock: FixedClock,
    image: Image,
    analysis: Analysis,
    pipeline: Pipeline,
    viewer: Person,
    stranger: Person,
) -> None:
    clock.set(datetime.now(UTC))
    heatmap = {"annotation_type": "heatmap", "storage_path": upload(app, pipeline, analysis, content=grey())}
    (heatmap_id,) = store(pipeline, analysis, [{**heatmap, "data": HEATMAP}])
    finalize(pipeline, analysis)
    clock.advance(app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"] + 60)
    page = viewer.client.get(f"/images/{image.id}?map=grey&low=20&high=60").text
    assert 'value="grey" selected' in page and "Colour scale grey from 20 % to 60 %" in page
    (href,) = set(re.findall(r'"(/annotations/[^"]+/layer\.png[^"]*)"', page))
    address = href.replace("&amp;", "&")
    answer = viewer.client.get(address)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (
        200,
        "private, max-age=31536000, immutable",
    )
    pixels = np.asarray(Picture.open(io.BytesIO(answer.data)).convert("RGBA"))
    assert pixels[0, 0].tolist() == [0, 0, 0, 0] and pixels[-1, 0].tolist() == [255] * 4
    kept = kept_renders(app, analysis)
    again = viewer.client.get(address, headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = viewer.client.get(address.replace("low=20", "low=21"))
    assert other.headers["ETag"] != answer.headers["ETag"] and other.data != answer.data
    assert kept_renders(app, analysis) == kept and len(kept) == 1
    assert stranger.client.get(address).status_code == 403
    own = viewer.client.get(f"/annotations/{heatmap_id}/layer.png?v=1")
    assert own.status_code == 302 and re.fullmatch(r"private, max-age=\d+", own.headers["Cache-Control"])


def test_an_artifact_that_is_put_again_after_the_end_is_seen(
    app: Flask, clock: FixedClock, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    """An address to put it at stays good for a while, whatever becomes of the analysis."""
    clock.set(datetime.now(UTC))
    signed = pipeline.post(
        f"/api/analyses/{analysis.id}/artifacts/presign", {"artifact_type": "heatmap"}
    ).json
    sender = LintClient(app, app.response_class, use_cookies=False)

    def put(content: bytes) -> int:
        return sender.put(signed["upload_url"], data=content, headers=signed["headers"]).status_code

    assert put(grey()) == 200
    heatmap = {"annotation_type": "heatmap", "data": HEATMAP, "storage_path": signed["storage_path"]}
    (heatmap_id,) = store(pipeline, analysis, [heatmap])
    finalize(pipeline, analysis)
    own = f"/annotations/{heatmap_id}/layer.png?v=1"
    chosen = f"{own}&map=magma"
    before = viewer.client.get(chosen)
    assert put(grey(32, 24)) == 200
    after = viewer.client.get(chosen, headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.data != before.data) == (200, True)
    assert fetched(viewer, own).size == (32, 24)
    for path in (own, chosen):
        assert viewer.client.get(path).headers["Cache-Control"] == "private, no-cache"
    clock.advance(app.config["ML_PRESIGNED_URL_EXPIRY_SECONDS"] + 60)
    assert put(grey()) == 403
    assert "immutable" in viewer.client.get(chosen).headers["Cache-Control"]
    assert re.fullmatch(r"private, max-age=\d+", viewer.client.get(own).headers["Cache-Control"])


def test_filtered_masks_and_tiles_are_answered_and_never_stored(
    app: Flask, analysis: Analysis, pipeline: Pipeline, viewer: Person, stranger: Person
) -> None:
    other = {
        **RLE,
        "data": {**RLE["data"], "counts": [1000, 40, 2032]},
        "class_name": "stem",
        "confidence": 0.4,
    }
    store(pipeline, analysis, [{**RLE, "class_name": "leaf", "confidence": 0.9}, other])
    base = f"/analyses/{analysis.id}/masks"

    def covered(address: str) -> int:
        answer = viewer.client.get(address)
        assert (answer.status_code, answer.mimetype) == (200, "image/png")
        assert (
            viewer.client.get(address, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
        )
        return int((np.asarray(Picture.open(io.BytesIO(answer.data)).convert("RGBA"))[..., 3] > 0).sum())

    assert covered(f"{base}/0/0/0.png") == 80
    for query in ("off=leaf", "only=stem", "q=LEAF", "min=0.5"):
        assert covered(f"{base}.png?{query}") == covered(f"{base}/0/0/0.png?{query}") == 40
    for tile in ("0/1/0", "0/0/1", "99/0/0"):
        assert viewer.client.get(f"{base}/{tile}.png").status_code == 404
    assert stranger.client.get(f"{base}/0/0/0.png").status_code == 403
    assert not (Path(app.instance_path) / "storage" / "renders" / "analyses" / str(analysis.id)).exists()


def test_a_heatmap_that_has_colours_already_has_no_scale_and_no_choice(
    app: Flask, image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    path = upload(app, pipeline, analysis, content=picture(16, 12))
    store(pipeline, analysis, [{"annotation_type": "heatmap", "data": HEATMAP, "storage_path": path}])
    for _ in range(2):
        page = viewer.client.get(f"/images/{image.id}?map=magma&low=10").text
        assert "Colour scale" not in page and 'id="heatmap"' not in page
    answer = viewer.client.get(layer_href(viewer, image) + "&map=magma&low=10")
    assert np.array_equal(
        np.asarray(Picture.open(io.BytesIO(answer.data))),
        np.asarray(Picture.open(io.BytesIO(picture(16, 12)))),
    )


def test_the_page_of_a_large_image_has_masks_in_tiles_that_fit_together(
    world: World, project: Project, pipeline: Pipeline, viewer: Person
) -> None:
    image = world.image(project, "large.png", picture(4600, 296))
    analysis = world.analysis(image, "processing")
    bits = np.zeros((296, 4600), dtype=np.uint8)
    bits[16:240, 80:1600] = bits[80:280, 2040:4200] = 1
    steps = np.flatnonzero(np.diff(bits.ravel(order="F"))) + 1
    runs = np.diff([0, *steps.tolist(), bits.size]).tolist()
    data = {"format": "rle", "counts": runs, "size": [296, 4600]}
    store(pipeline, analysis, [{"annotation_type": "segmentation", "data": data}])

    def check(query: str, tiles: int) -> None:
        """Laid where the page says, the tiles are the mask to the pixel."""
        page = viewer.client.get(f"/images/{image.id}?{query}").text
        found = re.findall(r'href="(/analyses/[^"]+/masks/[^"]+)"((?: \w+="[\d.]+"){4})', page)
        assert len(found) == tiles and "masks.png" not in page
        for href, attributes in found:
            x, y, width, height = (round(float(one)) for one in re.findall(r"[\d.]+", attributes))
            answer = viewer.client.get(href.replace("&amp;", "&"))
            alpha = np.asarray(Picture.open(io.BytesIO(answer.data)).convert("RGBA"))[..., 3]
            across = width // alpha.shape[1]
            assert (alpha.shape[1] * across, alpha.shape[0] * across) == (width, height), "stretched"
            seen = (alpha > 0).repeat(across, axis=0).repeat(across, axis=1)
            assert np.array_equal(seen, bits[y : y + height, x : x + width])

    check("", 2)
    check("at=1800,148,1", 2)
    check("at=4100,148,8", 2)
