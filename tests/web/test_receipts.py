"""The last receipts of the chosen analysis on the image page."""

import re
from collections.abc import Callable
from typing import Any

from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.steps import box, store

HTMX = {"HX-Request": "true"}
ALIAS = {"left": 1, "top": 2, "right": 9, "bottom": 12}


def send(pipeline: Pipeline, analysis: Analysis, items: list[Any], key: str, **more: Any) -> None:
    answer = pipeline.post(
        f"/api/analyses/{analysis.id}/annotations:bulk?on_invalid=skip",
        {"annotations": items, **more},
        headers={"Idempotency-Key": key},
    )
    assert answer.status_code == 200, answer.text


def told(page: str, analysis: Analysis) -> list[str]:
    """Each receipt of the page as words."""
    shown = page.split(f'id="receipts-{analysis.id}"')
    if len(shown) == 1:
        return []
    parts = re.findall(r'<dl class="facts receipt".*?</dl>', shown[1], re.DOTALL)
    return [" ".join(re.sub(r"<[^>]+>", " ", part).split()) for part in parts]


def test_there_is_nothing_without_one(image: Image, analysis: Analysis, viewer: Person) -> None:
    assert "receipt" not in viewer.client.get(f"/images/{image.id}").text


def test_what_it_tells(image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline) -> None:
    items = [box(client_id="a"), box(data=ALIAS, confidence=0.123456), box(confidence=2), box(typo=1)]
    send(pipeline, analysis, items, "tile-7", mode="upsert")
    page = viewer.client.get(f"/images/{image.id}").text
    (receipt,) = told(page, analysis)
    assert "From pipeline" in receipt and "Batch tile-7" in receipt
    assert "3 inserted, 3 in all (upsert)" in receipt
    assert "Skipped 1 item #2 confidence Must be a number from 0 to 1." in receipt
    assert "#1 confidence rounded 0.123456 → 0.1235" in receipt
    assert "#1 data alias left, top, right, bottom → x_min, y_min, x_max, y_max" in receipt
    assert "Ignored annotations.typo" in receipt
    assert f'<details class="fold" id="receipts-{analysis.id}"><summary>' in page, "folded"


def test_what_it_tells_of_a_file(
    image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    images = [{"id": 1, "file_name": "leaf.png"}, {"id": 2, "file_name": "<b>.png"}]
    seen = {"category_id": 4, "bbox": [1, 2, 3, 4], "<i>": 1}
    wrong = {"image_id": 1, "bbox": [1, 2, 0, 4]}
    entries = [{"image_id": 1, **seen}, {"image_id": 2, **seen}, wrong]
    path = f"/api/analyses/{analysis.id}/annotations:import?format=coco&on_invalid=skip"
    assert pipeline.post(path, {"images": images, "annotations": entries}).status_code == 200
    (receipt,) = told(viewer.client.get(f"/images/{image.id}").text, analysis)
    assert "File coco, 2 annotations of this image" in receipt
    assert "left out, 1 ×: is of another image ( annotations.1 )" in receipt
    assert "1 ×: has a class without a name, whose number is taken for it ( annotations.0 )" in receipt
    assert "kept as extra, 1 ×: &lt;i&gt;" in receipt
    assert "Skipped 1 item annotations.2 data.bbox.2 must lie right of the left edge" in receipt


def test_the_last_five_newest_first(
    image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    for number in range(7):
        send(pipeline, analysis, [box()], f"k{number}")
    shown = told(viewer.client.get(f"/images/{image.id}").text, analysis)
    assert [re.findall(r"Batch (\w+)", one) for one in shown] == [
        [f"k{number}"] for number in range(6, 1, -1)
    ]


def test_those_of_the_chosen_analysis_only(
    world: World, image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    other = world.analysis(image, "processing")
    send(pipeline, analysis, [box()], "mine")
    page = viewer.client.get(f"/images/{image.id}?analysis={other.id}").text
    assert "receipt" not in page
    assert told(viewer.client.get(f"/images/{image.id}?analysis={analysis.id}").text, analysis)


def test_those_that_are_not_kept_are_counted(
    image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    send(
        pipeline,
        analysis,
        [*(box(data=ALIAS) for _ in range(30)), *(box(confidence=2) for _ in range(30))],
        "k",
    )
    (receipt,) = told(viewer.client.get(f"/images/{image.id}").text, analysis)
    assert "Normalised 30 items" in receipt and "Skipped 30 items" in receipt
    assert receipt.count("and 20 more") == 2, "ten of each fit"


def test_hostile_text_is_text(image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline) -> None:
    attack = "<img src=x onerror=alert(1)>\"'"
    corners = {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 12}
    items = [
        box(data=corners | {attack: 1}, **{attack: 1}),
        {"annotation_type": "classification", "data": {"scores": {f"{attack}e\u0301": 0.5}}},
        {"annotation_type": "classification", "data": {"scores": {attack: 5}}},
    ]
    send(pipeline, analysis, items, "<b>&'\"")
    page = viewer.client.get(f"/images/{image.id}").text
    assert "<img src=x" not in page and "<b>&" not in page
    (receipt,) = told(page, analysis)
    assert receipt.count("&lt;img src=x onerror=alert(1)&gt;") >= 5
    assert "&lt;b&gt;&amp;" in receipt


def test_it_takes_one_query_and_no_part_in_polls_and_drawing(
    image: Image,
    analysis: Analysis,
    viewer: Person,
    pipeline: Pipeline,
    count_queries: Callable[[], Any],
) -> None:
    store(pipeline, analysis, [box()])
    address = f"/images/{image.id}"
    page = viewer.client.get(address).text
    poll = re.findall(r'hx-get="(/images/[^"]+/panel[^"]*)"', page)[0].replace("&amp;", "&")
    asked = {address: 1, poll: 0, f"{address}/overlay?at=0,0,32,24": 0, f"{address}/pick?x=5&y=5": 0}
    for path, wanted in asked.items():
        with count_queries() as statements:
            answer = viewer.client.get(path, headers=HTMX if path != address else None)
        assert answer.status_code == (204 if path == poll else 200)
        assert sum("FROM receipts" in one for one in statements) == wanted, path
