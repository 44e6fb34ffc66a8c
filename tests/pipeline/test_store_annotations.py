"""POST /api/analyses/{analysis_id}/annotations:bulk: who may, all or nothing, and what is refused.

What makes a retry safe is in test_bulk_modes.py, the seven types in test_bulk_types.py.
"""

import pytest
from sqlalchemy.exc import IntegrityError

from app.extensions import db
from app.models import Analysis, Annotation
from tests.cast import encode
from tests.factories import some_id
from tests.pipeline.callers import who_may, who_may_not, who_may_without_a_signature

# --- who may -----------------------------------------------------------------------------------------------------


@who_may
def test_who_may(ask, bulk_path, box, who):
    answer = ask(who, "POST", bulk_path, {"annotations": [box()]})
    assert (answer.status_code, answer.json["inserted"]) == (200, 1)


@who_may_not
def test_who_may_not(ask, bulk_path, box, unchanged, who, status, code):
    with unchanged(Analysis, Annotation):
        answer = ask(who, "POST", bulk_path, {"annotations": [box()]})
    assert (answer.status_code, answer.json["code"]) == (status, code)


@who_may_without_a_signature
def test_who_may_where_no_signature_is_required(ask, switched, bulk_path, box, who, status):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)
    assert ask(who, "POST", bulk_path, {"annotations": [box()]}).status_code == status


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_wrong_method(ask, bulk_path, method):
    answer = ask("pipeline", method, bulk_path, {})
    assert (answer.status_code, answer.json["code"]) == (405, "method-not-allowed")


def test_missing_analysis(ask, box):
    answer = ask("pipeline", "POST", f"/api/analyses/{some_id()}/annotations:bulk", {"annotations": [box()]})
    assert (answer.status_code, answer.json["code"]) == (404, "not-found")


def test_the_colon_may_come_escaped(ask, bulk_path, box):
    """As `encodeURIComponent` of JavaScript writes it."""
    answer = ask("pipeline", "POST", bulk_path.replace(":", "%3A"), {"annotations": [box()]})
    assert answer.status_code == 200


# --- what is stored ----------------------------------------------------------------------------------------------


def test_the_receipt(ask, bulk_path, box, world, analysis):
    sent = {"annotations": [box(client_id="a"), box()]}
    receipt = ask("pipeline", "POST", bulk_path, sent).json
    counts = {"inserted": 2, "unchanged": 0, "updated": 0, "removed": 0, "total": 2}
    named = receipt.pop("annotations")
    assert receipt == counts
    assert [(one["index"], one["client_id"] == "a") for one in named] == [(0, True), (1, False)]
    rows = {str(row.id): row.client_id for row in world.rows(Annotation)}
    assert {one["id"]: one["client_id"] for one in named} == rows
    assert world.reload(analysis).annotation_count == 2


def test_every_column(ask, bulk_path, world, analysis):
    item = {
        "annotation_type": "bounding_box",
        "class_name": "Ju\u0308rgen 🌿",
        "confidence": 0.123456,
        "ordering": -7,
        "client_id": "A.z_0:9-",
        "data": {"x_min": -64, "y_min": 0, "x_max": 128, "y_max": 1e1, "color": "red"},
    }
    ask("pipeline", "POST", bulk_path, {"annotations": [item]})
    (row,) = world.rows(Annotation)
    assert (row.class_name, row.confidence, row.ordering) == ("J\u00fcrgen 🌿", 0.1235, -7)
    assert (row.client_id, row.storage_path) == ("A.z_0:9-", None)
    assert (row.x_min, row.y_min, row.x_max, row.y_max) == (-64.0, 0.0, 128.0, 10.0)
    box = {"x_min": -64.0, "y_min": 0.0, "x_max": 128.0, "y_max": 10.0}
    assert row.data == box | {"extra": {"color": "red"}}
    (listed,) = ask("viewer", "GET", f"/api/analyses/{analysis.id}/annotations").json["annotations"]
    assert listed == {
        "id": str(row.id),
        "analysis_id": str(analysis.id),
        "annotation_type": "bounding_box",
        "class_name": "J\u00fcrgen 🌿",
        "confidence": 0.1235,
        "data": row.data,
        "storage_path": None,
        "ordering": -7,
        "created_at": row.created_at.isoformat(),
        "client_id": "A.z_0:9-",
    }


def test_the_order_of_insertion_is_kept(ask, bulk_path, box, analysis):
    names = [f"n{number}" for number in (5, 3, 9, 1, 7)]
    ask("pipeline", "POST", bulk_path, {"annotations": [box(client_id=name) for name in names[:3]]})
    ask("pipeline", "POST", bulk_path, {"annotations": [box(client_id=name) for name in names[3:]]})
    listed = ask("viewer", "GET", f"/api/analyses/{analysis.id}/annotations").json["annotations"]
    assert [one["client_id"] for one in listed] == names


@pytest.mark.parametrize("status", ["queued", "processing"])
def test_before_the_end(ask, world, image, box, status):
    row = world.analysis(image, status)
    path = f"/api/analyses/{row.id}/annotations:bulk"
    assert ask("pipeline", "POST", path, {"annotations": [box()]}).status_code == 200
    assert world.reload(row).status == status


@pytest.mark.parametrize("status", ["completed", "failed", "canceled"])
@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
def test_after_the_end(ask, world, image, box, unchanged, status, mode):
    path = f"/api/analyses/{world.analysis(image, status).id}/annotations:bulk"
    with unchanged(Analysis, Annotation):
        answer = ask("pipeline", "POST", path, {"annotations": [box()], "mode": mode})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert answer.json["current"] == status


def test_nothing_to_store(ask, bulk_path, unchanged):
    with unchanged(Analysis, Annotation):
        answer = ask("pipeline", "POST", bulk_path, {"annotations": []})
    counts = {"inserted": 0, "unchanged": 0, "updated": 0, "removed": 0, "total": 0, "annotations": []}
    assert (answer.status_code, answer.json) == (200, counts)


def test_unknown_fields_are_named(ask, bulk_path, box):
    item = box(clas_name="leaf", client_id=None)
    body = {"annotations": [item, box()], "moed": "upsert"}
    answer = ask("pipeline", "POST", f"{bulk_path}?dry_rum=1", body)
    assert (answer.status_code, answer.json["ignored"]) == (200, ["dry_rum", "moed", "annotations.clas_name"])


def test_ten_thousand(pipeline, bulk_path, box, world, analysis):
    """The most that one request takes; the answer names each of them."""
    body = encode({"annotations": [box() for _ in range(10_000)]})
    receipt = pipeline.post(bulk_path, raw=body).json
    assert (receipt["inserted"], receipt["total"]) == (10_000, 10_000)
    assert [one["index"] for one in receipt["annotations"]] == list(range(10_000))
    again = pipeline.post(bulk_path, raw=body).json
    assert (again["inserted"], again["unchanged"], again["total"]) == (0, 10_000, 10_000)
    assert again["annotations"] == receipt["annotations"]
    assert world.reload(analysis).annotation_count == 10_000


# --- what is refused ---------------------------------------------------------------------------------------------


def test_too_many(ask, switched, bulk_path, box, unchanged):
    switched(ML_MAX_BULK_ANNOTATIONS=3)
    assert ask("pipeline", "POST", bulk_path, {"annotations": [box() for _ in range(3)]}).status_code == 200
    with unchanged(Analysis, Annotation):
        answer = ask("pipeline", "POST", bulk_path, {"annotations": [box() for _ in range(4)]})
    assert (answer.status_code, answer.json["code"]) == (400, "too-many-annotations")
    assert answer.json["limit"] == 3


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ([], [""]),
        ("x", [""]),
        (None, [""]),
        ({}, ["annotations"]),
        ({"annotations": None}, ["annotations"]),
        ({"annotations": {}}, ["annotations"]),
        ({"annotations": [], "mode": "merge"}, ["mode"]),
        ({"annotations": [], "mode": ["append"]}, ["mode"]),
        ({"annotations": 1, "mode": 2}, ["annotations", "mode"]),
    ],
)
def test_wrong_envelope(pipeline, bulk_path, body, fields):
    answer = pipeline.post(bulk_path, body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")
    assert [error["field"] for error in answer.json["errors"]] == fields


WRONG = [
    ({"annotation_type": "box"}, "annotation_type"),
    ({"annotation_type": None}, "annotation_type"),
    ({"annotation_type": ["bounding_box"]}, "annotation_type"),
    ({"annotation_type": {}}, "annotation_type"),
    ({"annotation_type": "Bounding_Box"}, "annotation_type"),
    ({"class_name": ""}, "class_name"),
    ({"class_name": 7}, "class_name"),
    ({"class_name": "x" * 256}, "class_name"),
    ({"class_name": "a\tb"}, "class_name"),
    ({"class_name": "a\u202eb"}, "class_name"),
    ({"class_name": "a\u2066b"}, "class_name"),
    ({"confidence": 1.0001}, "confidence"),
    ({"confidence": -0.1}, "confidence"),
    ({"confidence": "0.5"}, "confidence"),
    ({"confidence": True}, "confidence"),
    ({"confidence": 10**15}, "confidence"),
    ({"ordering": 2**40}, "ordering"),
    ({"ordering": 1.5}, "ordering"),
    ({"ordering": "1"}, "ordering"),
    ({"ordering": False}, "ordering"),
    ({"client_id": ""}, "client_id"),
    ({"client_id": "a b"}, "client_id"),
    ({"client_id": "a\n"}, "client_id"),
    ({"client_id": "a#1"}, "client_id"),
    ({"client_id": "é"}, "client_id"),
    ({"client_id": "x" * 129}, "client_id"),
    ({"client_id": 7}, "client_id"),
    ({"data": None}, "data"),
    ({"data": []}, "data"),
    ({"data": "x"}, "data"),
    ({"data": {"x_min": 5, "y_min": 1, "x_max": 5, "y_max": 2}}, "data.x_max"),
    ({"data": {"x_min": 5, "y_min": 1, "x_max": 4, "y_max": 2}}, "data.x_max"),
    ({"data": {"x_min": 5, "y_min": 3, "x_max": 6, "y_max": 2}}, "data.y_max"),
    ({"data": {"x_min": "5", "y_min": 1, "x_max": 6, "y_max": 2}}, "data.x_min"),
    ({"data": {"x_min": True, "y_min": 1, "x_max": 6, "y_max": 2}}, "data.x_min"),
    ({"data": {"x_min": -64.5, "y_min": 1, "x_max": 6, "y_max": 2}}, "data.x_min"),
    ({"data": {"x_min": 1, "y_min": 1, "x_max": 6, "y_max": 96.01}}, "data.y_max"),
    ({"storage_path": 7}, "storage_path"),
    ({"storage_path": ""}, "storage_path"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG)
def test_one_wrong_item_and_nothing_is_stored(ask, bulk_path, box, unchanged, wrong, field):
    with unchanged(Analysis, Annotation):
        answer = ask("pipeline", "POST", bulk_path, {"annotations": [box(), box(**wrong), box()]})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")
    first = answer.json["errors"][0]
    assert (first["index"], first["field"]) == (1, field)
    assert first["reason"]


@pytest.mark.parametrize("item", [None, 7, "x", []])
def test_an_item_that_is_no_object(ask, bulk_path, box, item):
    answer = ask("pipeline", "POST", bulk_path, {"annotations": [box(), item]})
    assert (answer.status_code, answer.json["errors"][0]["index"]) == (422, 1)


def test_the_first_hundred_faults_are_named(ask, bulk_path, box, unchanged):
    items = [box(ordering="x") if index % 2 else box() for index in range(300)]
    with unchanged(Analysis, Annotation):
        answer = ask("pipeline", "POST", bulk_path, {"annotations": items})
    assert answer.status_code == 422
    assert [error["index"] for error in answer.json["errors"]] == list(range(1, 201, 2))
    assert answer.json["detail"].startswith("150 of 300")


@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
def test_the_same_id_twice(ask, bulk_path, box, unchanged, mode):
    same = box(client_id="a")
    with unchanged(Analysis, Annotation):
        answer = ask("pipeline", "POST", bulk_path, {"annotations": [same, box(), same], "mode": mode})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid-payload")
    (error,) = answer.json["errors"]
    assert (error["index"], error["field"]) == (2, "client_id")


# --- frames ------------------------------------------------------------------------------------------------------


def test_another_frame_is_scaled(ask, bulk_path, box, world):
    """The pipeline looked at 128 × 24, the image is 64 × 48."""
    frame = {"image_width": 128, "image_height": 24}
    items = [
        box(),
        box({"x_min": 10, "y_min": 10, "x_max": 20, "y_max": 20, **frame}),
        box({"x_min": 10, "y_min": 10, "x_max": 20, "y_max": 20, "image_width": 64, "image_height": 48}),
    ]
    receipt = ask("pipeline", "POST", bulk_path, {"annotations": items}).json
    assert receipt["scaled"] == [{"index": 1, "from": [128, 24], "to": [64, 48]}]
    _, scaled, same = sorted(world.rows(Annotation), key=lambda row: row.position)
    own = {"image_width": 64, "image_height": 48}
    assert scaled.data == {"x_min": 5.0, "y_min": 20.0, "x_max": 10.0, "y_max": 40.0} | own
    assert (scaled.x_min, scaled.y_min, scaled.x_max, scaled.y_max) == (5.0, 20.0, 10.0, 40.0)
    assert same.data == {"x_min": 10.0, "y_min": 10.0, "x_max": 20.0, "y_max": 20.0} | own


def test_far_outside_is_measured_in_the_frame_of_the_image(ask, bulk_path, box):
    wide = {"image_width": 640, "image_height": 480}
    inside = box({"x_min": 0, "y_min": 0, "x_max": 1280, "y_max": 480, **wide})
    outside = box({"x_min": 0, "y_min": 0, "x_max": 1281, "y_max": 480, **wide})
    assert ask("pipeline", "POST", bulk_path, {"annotations": [inside]}).status_code == 200
    answer = ask("pipeline", "POST", bulk_path, {"annotations": [outside]})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "data.x_max")


def test_one_side_of_a_frame_is_not_enough(ask, bulk_path, box):
    answer = ask(
        "pipeline",
        "POST",
        bulk_path,
        {"annotations": [box({"x_min": 0, "y_min": 0, "x_max": 9, "y_max": 9, "image_width": 640})]},
    )
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "data.image_height")


# --- paths of artifacts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        "ml_outputs/{other}/heatmap.png",
        "ml_outputs/{own}/../{other}/heatmap.png",
        "ml_outputs/{own}/..",
        "ml_outputs/{own}/.hidden.png",
        "ml_outputs/{own}/sub/heatmap.png",
        "ml_outputs/{own}//heatmap.png",
        "ml_outputs/{own}/",
        "ml_outputs/{own}",
        "/ml_outputs/{own}/heatmap.png",
        "ml_outputs/{own}/heatmap.png\n",
        "ml_outputs/{own}/heat map.png",
        "ml_outputs\\{own}\\heatmap.png",
        "images/{own}",
        "https://example.org/heatmap.png",
        "ml_outputs/{own}/" + "x" * 256,
    ],
)
def test_foreign_paths(ask, bulk_path, analysis, world, image, unchanged, form):
    path = form.format(own=analysis.id, other=world.analysis(image).id)
    item = {"annotation_type": "heatmap", "data": {"width": 4, "height": 4}, "storage_path": path}
    with unchanged(Analysis, Annotation):
        answer = ask("pipeline", "POST", bulk_path, {"annotations": [item]})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "storage_path")


@pytest.mark.parametrize(
    "item",
    [
        {"annotation_type": "heatmap", "data": {"width": 4, "height": 4}},
        {"annotation_type": "segmentation", "data": {"format": "png"}},
        {"annotation_type": "mask", "data": {}},
        {"annotation_type": "mask"},
    ],
)
def test_a_picture_needs_its_path(ask, bulk_path, item):
    answer = ask("pipeline", "POST", bulk_path, {"annotations": [item]})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "storage_path")


def test_the_table_itself_refuses_a_name_twice(app, world, analysis):
    """Should ever two requests come past the lock of the analysis."""
    row = {"analysis_id": analysis.id, "annotation_type": "custom", "data": {}, "content_hash": "0" * 64}
    with app.app_context(), pytest.raises(IntegrityError):
        db.session.add_all(Annotation(**row, client_id="n1", position=place) for place in range(2))
        db.session.commit()
    assert world.count(Annotation) == 0
