"""GET /api/analyses/{id}: the analysis with all its annotations."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from app.extensions import db
from app.models import Analysis, Image
from app.models.columns import now
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.html import LintClient
from tests.steps import box, check_problem, finalize, store

ANNOTATION_FIELDS = {
    "id",
    "analysis_id",
    "annotation_type",
    "class_name",
    "confidence",
    "data",
    "storage_path",
    "ordering",
    "created_at",
    "client_id",
}


def test_who_may(
    client: LintClient, analysis: Analysis, viewer: Person, stranger: Person, pipeline: Pipeline
) -> None:
    path = f"/api/analyses/{analysis.id}"
    check_problem(client.get(path), 401, "unauthenticated")
    check_problem(stranger.api("GET", path), 403, "forbidden")
    check_problem(pipeline.request("GET", path), 401, "scheme-not-allowed")
    check_problem(viewer.api("GET", f"/api/analyses/{some_id()}"), 404, "not-found")
    check_problem(viewer.api("PUT", path), 405, "method-not-allowed")
    assert viewer.api("GET", path).status_code == 200


def test_an_id_that_is_none_is_404(viewer: Person) -> None:
    for text in ("1", "x", "00000000-0000-0000-0000-00000000000g", str(some_id()).replace("-", "")):
        check_problem(viewer.api("GET", f"/api/analyses/{text}"), 404, "not-found")


def test_an_id_in_capitals_is_the_same_id(analysis: Analysis, viewer: Person) -> None:
    assert viewer.api("GET", f"/api/analyses/{str(analysis.id).upper()}").json["id"] == str(analysis.id)


def test_annotations_in_the_order_of_insertion(
    analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    sent = [
        box(class_name="bée", confidence=0.12344, ordering=2, client_id="b"),
        {"annotation_type": "custom", "data": {"deep": {"er": [1, 2.5, "x", None, True]}}},
        {"annotation_type": "classification", "data": {"scores": {"cat": 0.9}}, "client_id": "a"},
    ]
    made = store(pipeline, analysis, sent[:2]) + store(pipeline, analysis, sent[2:])
    answer = viewer.api("GET", f"/api/analyses/{analysis.id}").json
    assert [entry["id"] for entry in answer["annotations"]] == made
    assert all(set(entry) == ANNOTATION_FIELDS for entry in answer["annotations"])
    first, second, third = answer["annotations"]
    assert {name: first[name] for name in ANNOTATION_FIELDS - {"id", "created_at"}} == {
        "analysis_id": str(analysis.id),
        "annotation_type": "bounding_box",
        "class_name": "bée",
        "confidence": 0.1234,
        "data": {"x_min": 4.0, "y_min": 4.0, "x_max": 14.0, "y_max": 12.0},
        "storage_path": None,
        "ordering": 2,
        "client_id": "b",
    }
    assert second["data"] == {"deep": {"er": [1, 2.5, "x", None, True]}}
    assert third["data"] == {"topk": [{"class": "cat", "confidence": 0.9}]}
    assert answer["annotation_count"] == 3


def test_agrees_with_the_list(analysis: Analysis, image: Image, viewer: Person, pipeline: Pipeline) -> None:
    store(pipeline, analysis, [box(), box()])
    finalize(pipeline, analysis, "failed", error_message="too dark")
    shown = viewer.api("GET", f"/api/analyses/{analysis.id}").json
    assert (shown["status"], shown["error_message"]) == ("failed", "too dark")
    said = shown.pop("annotations")
    assert [shown] == viewer.api("GET", f"/api/images/{image.id}/analyses").json["analyses"]
    assert said == viewer.api("GET", f"/api/analyses/{analysis.id}/annotations").json["annotations"]


def test_the_number_of_queries_does_not_grow(
    analysis: Analysis, viewer: Person, pipeline: Pipeline, count_queries: Callable[[], Any]
) -> None:
    path = f"/api/analyses/{analysis.id}"
    store(pipeline, analysis, [box()])
    with count_queries() as few:
        viewer.api("GET", path)
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(50)])
    with count_queries() as many:
        assert len(viewer.api("GET", path).json["annotations"]) == 51
    assert len(few) == len(many) <= 8


def test_of_a_deleted_image_is_410(app: Flask, analysis: Analysis, image: Image, viewer: Person) -> None:
    with app.app_context():
        db.session.get_one(Image, image.id).deleted_at = now()
        db.session.commit()
    for path in ("", "/annotations", "/export"):
        check_problem(viewer.api("GET", f"/api/analyses/{analysis.id}{path}"), 410, "deleted")


def test_the_feature_off_is_404(
    make_app: Callable[..., Flask], world: World, analysis: Analysis, viewer: Person
) -> None:
    person = Person(make_app(ML_ANALYSIS_ENABLED="false"), viewer.id, viewer.email, viewer.key)
    for path in ("", "/annotations", "/export"):
        check_problem(person.api("GET", f"/api/analyses/{analysis.id}{path}"), 404, "not-found")
