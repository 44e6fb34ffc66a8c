"""Layers that come from an object store at another origin: the page's policy lets exactly that one through."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import LiveServer
from tests.factories import picture
from tests.steps import finalize
from tests.support.browser import Pages
from tests.support.s3 import Bucket

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

RLE = {
    "annotation_type": "segmentation",
    "data": {"format": "rle", "counts": [100, 40, 2932], "size": [48, 64]},
}


def test_a_layer_comes_from_the_bucket(
    browser: Browser, s3: Bucket, serve: Callable[..., LiveServer]
) -> None:
    server = serve(**s3.environ)
    person = server.world.person("owner@example.org")
    image = server.world.image(server.world.project("Leaves", owner=person), "leaf.png", picture())
    analysis = server.world.analysis(image, "processing")
    answer = server.pipeline.post(f"/api/analyses/{analysis.id}/annotations:bulk", {"annotations": [RLE]})
    assert answer.status_code == 200, answer.text
    finalize(server.pipeline, analysis)

    pages = Pages(browser, server.url)
    try:
        page = pages.sign_in(pages.open(), person)
        with page.expect_response(lambda answer: answer.url.startswith(s3.endpoint)) as layer:
            page.goto(f"/images/{image.id}")
        assert layer.value.ok
        assert layer.value.headers["content-type"] == "image/png"
        expect(page.locator("#stage")).to_have_attribute("data-bitmaps", "")
        assert pages.problems == []
    finally:
        pages.close()
