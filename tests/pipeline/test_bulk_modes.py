"""Bulk requests may come again: names, append, replace, upsert, dry runs, retries after the end."""

import hashlib

import pytest

from app.models import Analysis, Annotation, AuditEvent
from tests.cast import encode

COUNTS = ("inserted", "unchanged", "updated", "removed", "total")


@pytest.fixture
def store(pipeline, bulk_path):
    """store(items, mode=…, query="", headers={}): the answer, and its counts in the order of COUNTS."""

    def store(items, query="", headers=None, **more):
        answer = pipeline.post(bulk_path + query, {"annotations": items, **more}, headers=headers)
        return answer, tuple(answer.json.get(name) for name in COUNTS)

    return store


@pytest.fixture
def listed(viewer, analysis):
    """What the analysis holds, by client_id."""

    def listed():
        answer = viewer.api("GET", f"/api/analyses/{analysis.id}/annotations?limit=1000").json
        assert answer["total"] == len(answer["annotations"])
        return {one["client_id"]: one for one in answer["annotations"]}

    return listed


# --- names -------------------------------------------------------------------------------------------------------


def test_items_are_named_after_the_body(pipeline, bulk_path, box, listed):
    body = encode({"annotations": [box(), box(client_id="mine"), box()]})
    pipeline.post(bulk_path, raw=body)
    batch = hashlib.sha256(body).hexdigest()[:32]
    assert list(listed()) == [f"{batch}#0", "mine", f"{batch}#2"]


def test_items_are_named_after_the_idempotency_key(store, box, listed):
    store([box(), box()], headers={"Idempotency-Key": "tile-7/8"})
    assert list(listed()) == ["tile-7/8#0", "tile-7/8#1"]


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 129])
def test_wrong_idempotency_keys(store, box, unchanged, key):
    with unchanged(Analysis, Annotation):
        answer, _ = store([box()], headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json["code"]) == (400, "malformed-request")


def test_the_same_key_with_other_content(store, box, unchanged):
    first, other = box(), box()
    store([first], headers={"Idempotency-Key": "k"})
    with unchanged(Analysis, Annotation):
        answer, _ = store([other], headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json["client_ids"]) == (409, ["k#0"])


def test_names_belong_to_their_analysis(pipeline, world, image, box):
    same = {"annotations": [box(client_id="a"), box()]}
    for _ in range(2):
        path = f"/api/analyses/{world.analysis(image).id}/annotations:bulk"
        assert pipeline.post(path, same).json["inserted"] == 2


# --- append ------------------------------------------------------------------------------------------------------


def test_append_twice(pipeline, bulk_path, box, unchanged):
    body = encode({"annotations": [box(), box(client_id="b")]})
    first = pipeline.post(bulk_path, raw=body).json
    with unchanged(Analysis, Annotation, AuditEvent):
        again = pipeline.post(bulk_path, raw=body).json
    assert tuple(again[name] for name in COUNTS) == (0, 2, 0, 0, 2)
    assert again["annotations"] == first["annotations"]


def test_append_more(store, box):
    held, new = box(client_id="a"), box(client_id="b")
    store([held])
    answer, counts = store([new, held])
    assert counts == (1, 1, 0, 0, 2)
    assert [one["client_id"] for one in answer.json["annotations"]] == ["b", "a"]


def test_content_is_compared_in_canonical_form(store):
    forms = [
        {"x_min": 2, "y_min": 3, "x_max": 12, "y_max": 23},
        {"y_max": 23.0, "x_max": 12.0, "y_min": 3.0, "x_min": 2.0},
        {"x": 2, "y": 3, "width": 10, "height": 20},
        {"left": 2, "top": 3, "right": 12, "bottom": 23},
        {"bbox": [2, 3, 12, 23], "format": "xyxy"},
        {"bbox": [7, 13, 10, 20], "format": "cxcywh"},
    ]
    counts = []
    for data in forms:
        item = {"annotation_type": "bounding_box", "client_id": "a", "confidence": 0.50001, "data": data}
        counts.append(store([item])[1])
    assert counts == [(1, 0, 0, 0, 1)] + [(0, 1, 0, 0, 1)] * 5


@pytest.mark.parametrize(
    "other",
    [
        {"class_name": "root"},
        {"class_name": None},
        {"confidence": 0.5},
        {"ordering": 1},
        {"data": {"x_min": 1, "y_min": 2, "x_max": 5, "y_max": 12.5}},
        {"annotation_type": "custom"},
    ],
)
def test_append_other_content(store, box, unchanged, other):
    held = box(client_id="a")
    store([held])
    with unchanged(Analysis, Annotation):
        answer, _ = store([box(client_id="b"), held | other])
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert answer.json["client_ids"] == ["a"]


# --- upsert ------------------------------------------------------------------------------------------------------


def test_upsert(store, box, listed):
    a, b, c = box(client_id="a"), box(client_id="b"), box(client_id="c")
    first, _ = store([a, b])
    before = listed()
    answer, counts = store([b | {"class_name": "root", "confidence": 0.25}, c, a], mode="upsert")
    assert counts == (1, 1, 1, 0, 3)
    after = listed()
    assert list(after) == ["a", "b", "c"]
    assert after["a"] == before["a"]
    assert after["b"] == before["b"] | {"class_name": "root", "confidence": 0.25}
    ids = {one["client_id"]: one["id"] for one in first.json["annotations"]}
    assert {one["client_id"]: one["id"] for one in answer.json["annotations"]} | ids == {
        **ids,
        "c": after["c"]["id"],
    }


def test_upsert_to_another_type(store, box, listed, world):
    store([box(client_id="a")])
    _, counts = store(
        [{"annotation_type": "classification", "client_id": "a", "data": {"scores": {"oak": 1}}}],
        mode="upsert",
    )
    assert counts == (0, 0, 1, 0, 1)
    assert listed()["a"]["data"] == {"topk": [{"class": "oak", "confidence": 1.0}]}
    (row,) = world.rows(Annotation)
    assert (row.x_min, row.class_name) == (None, None)


def test_upsert_twice(store, box, unchanged):
    items = [box(client_id="a"), box(client_id="b")]
    store(items, mode="upsert")
    with unchanged(Analysis, Annotation, AuditEvent):
        _, counts = store(items, mode="upsert")
    assert counts == (0, 2, 0, 0, 2)


# --- replace -----------------------------------------------------------------------------------------------------


def test_replace(store, box, listed):
    a, b, c = box(client_id="a"), box(client_id="b"), box(client_id="c")
    store([a, b, c])
    changed = b | {"class_name": "root"}
    _, counts = store([box(client_id="d"), changed, a], mode="replace")
    assert counts == (1, 1, 1, 1, 3)
    assert {name: one["class_name"] for name, one in listed().items()} == {
        "a": "leaf",
        "b": "root",
        "d": "leaf",
    }


def test_replace_with_nothing(store, box, listed, world, analysis):
    store([box() for _ in range(3)])
    answer, counts = store([], mode="replace")
    assert counts == (0, 0, 0, 3, 0)
    assert answer.json["annotations"] == []
    assert listed() == {}
    assert world.reload(analysis).annotation_count == 0


def test_replace_twice(store, box, unchanged):
    store([box() for _ in range(3)])
    fresh = [box(), box(client_id="b")]
    store(fresh, mode="replace")
    with unchanged(Analysis, Annotation, AuditEvent):
        _, counts = store(fresh, mode="replace")
    assert counts == (0, 2, 0, 0, 2)


def test_replace_leaves_other_analyses_alone(store, box, pipeline, world, image):
    other = world.analysis(image)
    pipeline.post(f"/api/analyses/{other.id}/annotations:bulk", {"annotations": [box(), box()]})
    store([box()])
    store([], mode="replace")
    assert world.count(Annotation) == 2


def test_replace_many(store, box):
    """More than one statement can name."""
    store([box() for _ in range(1300)])
    _, counts = store([box(client_id="a")], mode="replace")
    assert counts == (1, 0, 0, 1300, 1)


@pytest.mark.parametrize("mode", ["replace", "upsert"])
def test_a_wrong_item_leaves_the_old_set(store, box, unchanged, mode):
    store([box(client_id="a"), box(client_id="b")])
    with unchanged(Analysis, Annotation, AuditEvent):
        answer, _ = store([box(client_id="a"), box(ordering="x")], mode=mode)
    assert answer.status_code == 422


# --- dry runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["append", "upsert", "replace"])
def test_dry_run(store, box, unchanged, mode):
    held = box(client_id="a")
    store([held])
    items = [held, box(client_id="b")]
    with unchanged(Analysis, Annotation, AuditEvent):
        _, dry = store(items, "?dry_run=1", mode=mode)
    _, wet = store(items, mode=mode)
    assert dry == wet == (1, 1, 0, 0, 2)


def test_dry_run_refuses_what_a_run_would(store, box, world, analysis, pipeline):
    store([box(client_id="a")])
    assert store([box(client_id="a")], "?dry_run=1")[0].status_code == 409
    assert store([box(client_id="c d")], "?dry_run=1")[0].status_code == 422
    pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    assert store([box(client_id="b")], "?dry_run=1")[0].status_code == 409


@pytest.mark.parametrize("word", ["0", "false", ""])
def test_not_a_dry_run(store, box, world, word):
    query = f"?dry_run={word}" if word else "?wet=1"
    store([box()], query)
    assert world.count(Annotation) == 1


@pytest.mark.parametrize("word", ["maybe", "2", ""])
def test_wrong_dry_run(store, box, unchanged, word):
    with unchanged(Analysis, Annotation):
        answer, _ = store([box()], f"?dry_run={word}")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "dry_run")


# --- after the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["completed", "failed"])
@pytest.mark.parametrize("mode", ["append", "replace", "upsert"])
def test_the_exact_retry_after_the_end(pipeline, bulk_path, analysis, box, unchanged, status, mode):
    body = encode({"annotations": [box(), box(client_id="b")], "mode": mode})
    first = pipeline.post(bulk_path, raw=body).json
    pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": status})
    with unchanged(Analysis, Annotation, AuditEvent):
        again = pipeline.post(bulk_path, raw=body)
    assert again.status_code == 200
    assert tuple(again.json[name] for name in COUNTS) == (0, 2, 0, 0, 2)
    assert again.json["annotations"] == first["annotations"]


@pytest.mark.parametrize(
    ("sent", "mode"),
    [
        (["a", "new"], "append"),
        (["a*"], "append"),
        (["a*"], "upsert"),
        (["a"], "replace"),
        (["b", "a"], "replace"),
    ]
    + [([], mode) for mode in ("append", "replace", "upsert")],
)
def test_anything_else_after_the_end(store, pipeline, analysis, box, unchanged, sent, mode):
    """`a*` is `a` with other content."""
    held = {"a": box(client_id="a"), "b": box(client_id="b")}
    store(list(held.values()))
    pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    items = [held.get(name) or box(client_id=name.rstrip("*")) for name in sent]
    with unchanged(Analysis, Annotation, AuditEvent):
        answer, _ = store(items, mode=mode)
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert answer.json["current"] == "completed"


@pytest.mark.parametrize("nothing", ["append", "replace", "upsert"])
def test_nothing_after_the_end_of_an_empty_one(store, pipeline, analysis, nothing):
    pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    assert store([], mode=nothing)[0].status_code == 409


@pytest.mark.parametrize(
    "wanted",
    [["c", "b", "a"], ["b", "c", "a"], ["a", "b"], ["b", "a"], ["new", "a", "b", "c"], ["a", "new", "c"]],
)
def test_replace_gives_the_order_of_the_request(store, viewer, analysis, box, wanted):
    held = {name: box(client_id=name) for name in "abc"}
    store(list(held.values()))
    items = [held.get(name) or box(client_id=name) for name in wanted]
    _, receipt = store(items, mode="replace")
    assert receipt[1] == len([name for name in wanted if name != "new"])

    def listed():
        rows = viewer.api("GET", f"/api/analyses/{analysis.id}/annotations").json["annotations"]
        return [row["client_id"] for row in rows]

    assert listed() == wanted
    store([box(client_id="later")])
    assert listed() == [*wanted, "later"]


def test_replace_again_in_the_same_order_changes_nothing(store, box, unchanged):
    items = [box(client_id=name) for name in "abc"]
    store(items, mode="replace")
    with unchanged(Analysis, Annotation, AuditEvent):
        answer, counts = store(items, mode="replace")
    assert (answer.status_code, counts[1]) == (200, 3)
