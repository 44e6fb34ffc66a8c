"""GET /api/analyses/{analysis_id}/receipts: what the last bulk requests brought."""

from typing import Any

import pytest

from app.models import Analysis, Image
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.steps import box, check_problem, store


@pytest.fixture
def path(analysis: Analysis) -> str:
    return f"/api/analyses/{analysis.id}/receipts"


def test_who_may(path: str, viewer: Person, stranger: Person) -> None:
    assert viewer.api("GET", path).json == {"receipts": []}
    check_problem(stranger.api("GET", path), 403, "forbidden")
    check_problem(viewer.api("GET", f"/api/analyses/{some_id()}/receipts"), 404, "not-found")


def test_the_newest_first(
    path: str, viewer: Person, pipeline: Pipeline, analysis: Analysis, world: World, image: Image
) -> None:
    store(pipeline, world.analysis(image), [box()])
    store(pipeline, analysis, [box(client_id="a")])
    body: dict[str, Any] = {"annotations": [box(client_id="b", confidence=0.55555), box(confidence=2)]}
    bulk = f"/api/analyses/{analysis.id}/annotations:bulk?on_invalid=skip"
    sent = pipeline.post(bulk, body, headers={"Idempotency-Key": "k"})
    second, first = viewer.api("GET", path).json["receipts"]
    counts = {"unchanged": 0, "updated": 0, "removed": 0, "inserted": 1}
    assert {name: second.pop(name) for name in ("id", "created_at")}.keys() == {"id", "created_at"}
    said = ("normalised", "normalised_count", "skipped", "skipped_count")
    assert second == {
        "actor": "pipeline",
        "request_id": sent.headers["X-Request-ID"],
        "batch": "k",
        "mode": "append",
        "total": 2,
        **counts,
        **{name: sent.json[name] for name in said},
    }
    assert (first["total"], len(first["batch"]), "normalised" in first) == (1, 32, False)
    (newest,) = viewer.api("GET", f"{path}?limit=1").json["receipts"]
    assert newest["batch"] == "k"


@pytest.mark.parametrize("limit", ["0", "21", "-1", "x", ""])
def test_wrong_limits(path: str, viewer: Person, limit: str) -> None:
    body = check_problem(viewer.api("GET", f"{path}?limit={limit}"), 422, "invalid-payload")
    assert [error["field"] for error in body["errors"]] == ["limit"]


def test_what_means_nothing_is_named(path: str, viewer: Person) -> None:
    assert viewer.api("GET", f"{path}?skip=1").json == {"receipts": [], "ignored": ["skip"]}
