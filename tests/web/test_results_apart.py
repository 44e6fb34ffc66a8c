"""Results without a place in the image: ranked classifications, readable trees, and that none is left out unsaid."""

import re
from typing import Any

import pytest

from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.steps import store

HTMX = {"HX-Request": "true"}


def custom(data: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"annotation_type": "custom", "data": data, **more}


def guesses(count: int) -> dict[str, Any]:
    topk = [{"class": f"guess {n}", "confidence": n / 100} for n in range(count)]
    return {"annotation_type": "classification", "data": {"topk": topk}}


def section(text: str, name: str) -> str:
    return text.split(f'id="{name}">')[1].split("</section>")[0]


def test_a_classification_is_ranked_whatever_its_order(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    store(pipeline, analysis, [guesses(40)])
    page = viewer.client.get(f"/images/{image.id}").text
    bars = section(page, "classification")
    assert re.findall(r"<span>(guess \d+)</span>", bars) == [f"guess {n}" for n in range(39, 19, -1)]
    assert "and 20 less likely" in bars
    assert re.findall(r"<li><span>(.*?)</span> <b>(.*?)</b>", page) == [("guess 39", "39.0 %")], "the badge"


def test_those_beyond_the_first_twenty_are_counted_and_told_by_their_rows(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person
) -> None:
    said = [custom({"number": n}, class_name=f"report {n}", ordering=n) for n in range(25)]
    ids = store(pipeline, analysis, [*said, *(guesses(n + 1) for n in range(25))])
    page = viewer.client.get(f"/images/{image.id}").text
    customs = section(page, "custom")
    assert 'class="muted">25<' in customs and "The first 20 of 25" in customs
    assert customs.count("<details") == 20 and "report 24" not in customs
    assert section(page, "classification").count('<ol class="bars"') == 20
    assert "<li>+22</li>" in page, "of the badges"
    for row, told in ((ids[24], "<code>24</code>"), (ids[49], "guess 24")):
        assert f'data-pick="{row}"' in page
        picked = viewer.client.get(f"/images/{image.id}/pick?pick={row}", headers=HTMX).text
        card = picked.split('id="picked"')[1].split("</section>")[0]
        assert told in card and "Place" not in card
        assert '<path class="spot"' not in picked
    alone = viewer.client.get(f"/images/{image.id}?pick={ids[24]}").text
    assert f'data-pick="{ids[24]}" aria-current="true"' in alone


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({f"key {n}": n for n in range(3000)}, "and 2900 more"),
        ({f"key {n}": {f"inner {m}": [1, 2, 3] for m in range(30)} for n in range(30)}, "There is more"),
    ],
)
def test_a_tree_stays_readable(
    image: Image, analysis: Analysis, pipeline: Pipeline, viewer: Person, data: dict[str, Any], told: str
) -> None:
    store(pipeline, analysis, [custom(data)])
    tree = section(viewer.client.get(f"/images/{image.id}").text, "custom")
    assert told in tree and "export" in tree
    assert 100 <= tree.count("<li") <= 510
