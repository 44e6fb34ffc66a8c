"""The image page of an analysis whose worker was lost: every attempt is there, and leads to the others."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from app.extensions import db
from app.models import Analysis, Image, Principal
from app.models.columns import now
from app.services import leases
from tests.cast import Person
from tests.factories import World
from tests.html import elements, parse_page, text_of


@pytest.fixture
def claim(app: Flask) -> Callable[..., None]:
    """claim(analysis, seconds=-1): a worker has it; the lease ran out a second ago."""

    def run(analysis: Analysis, seconds: int = 60) -> None:
        with app.app_context():
            wanted = leases.Claim(Principal("pipeline"), "gpu-<3>", 60)
            held = leases.claim(db.session.get_one(Analysis, analysis.id), wanted)
            held.lease_expires_at = now() + timedelta(seconds=seconds)
            db.session.commit()

    return run


def part(person: Person, analysis: Analysis, name: str) -> str | None:
    """The text of the element with this id on the page that has the analysis chosen."""
    answer = person.client.get(f"/images/{analysis.image_id}?analysis={analysis.id}")
    assert answer.status_code == 200
    root, _ = parse_page(answer.text)
    found = [one for one in elements(root) if one.get("id") == name]
    return text_of(found[0]) if found else None


def test_while_it_is_leased(world: World, image: Image, viewer: Person, claim: Callable[..., None]) -> None:
    analysis = world.analysis(image)
    assert part(viewer, analysis, "worker") is None
    claim(analysis)
    told = part(viewer, analysis, "worker")
    assert told is not None and told.startswith("gpu-<3> leased until ") and told.endswith(" or longer")


def test_every_attempt_leads_to_the_others(
    app: Flask, world: World, image: Image, viewer: Person, claim: Callable[..., None]
) -> None:
    first = world.analysis(image)
    claim(first, -1)
    with app.app_context():
        assert leases.expire(first.id, retries=1)
        db.session.commit()
    first, second = world.rows(Analysis)
    assert part(viewer, first, "failure") == "Why it failed" + "Its worker was not heard of in time."
    assert part(viewer, first, "attempt-after") == "attempt 2, queued"
    assert part(viewer, first, "attempt-before") is None
    assert part(viewer, first, "worker") == "gpu-<3>"
    assert part(viewer, second, "attempt-before") == "2 of an analysis that lost its worker"
    assert part(viewer, second, "attempt-after") is None
    assert part(viewer, second, "worker") is None
    for here, there in ((first, second), (second, first)):
        text = viewer.client.get(f"/images/{image.id}?analysis={here.id}").text
        link = 'id="attempt-after"' if here is first else 'id="attempt-before"'
        assert f"analysis={there.id}" in text[text.index(link) :].partition("</dd>")[0]
        assert "attempt 2 · " in text


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("stale", "Nobody worked on it for too long."),
        ("a < b", "a < b"),
    ],
)
def test_why_it_was_canceled(world: World, image: Image, viewer: Person, message: str, told: str) -> None:
    analysis = world.analysis(image, "canceled", error_message=message)
    assert part(viewer, analysis, "failure") == "Why it was canceled" + told
