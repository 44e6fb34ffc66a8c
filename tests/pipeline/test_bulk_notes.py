"""What the answer to a bulk request says of its items, and leaving out the invalid ones with `?on_invalid=skip`."""

import json

import pytest

from app.models import Analysis, Annotation, AuditEvent, Receipt
from tests.pipeline.test_bulk_types import CASES, item
from tests.steps import check_problem

ALIAS = {"left": 1, "top": 2, "right": 9, "bottom": 12}
TURNED = {
    "field": "data",
    "what": "alias",
    "from": "left, top, right, bottom",
    "to": "x_min, y_min, x_max, y_max",
}
BAD = {"x_min": 9, "y_min": 2, "x_max": 1, "y_max": 12}


@pytest.fixture
def send(pipeline, bulk_path):
    """send(items, query="", key=None, mode=…): the answer."""

    def send(items, query="", key=None, **more):
        headers = {"Idempotency-Key": key} if key else None
        return pipeline.post(bulk_path + query, {"annotations": items, **more}, headers=headers)

    return send


@pytest.fixture
def held(viewer, analysis):
    """What the analysis holds: `x_min` by client_id."""

    def held():
        found = viewer.api("GET", f"/api/analyses/{analysis.id}/annotations").json["annotations"]
        return {one["client_id"]: one["data"]["x_min"] for one in found}

    return held


# --- what was normalised -----------------------------------------------------------------------------------------


def test_each_item_that_was_normalised_is_named(send, box):
    items = [
        box(confidence=0.5),
        box(ALIAS, client_id="b", confidence=0.123456, class_name="Ju\u0308rgen"),
        {"annotation_type": "custom"},
        box(confidence=1),
    ]
    answer = send(items, key="k").json
    assert answer["normalised_count"] == 2
    assert answer["normalised"] == [
        {
            "index": 1,
            "client_id": "b",
            "notes": [
                {"field": "class_name", "what": "text", "from": "Ju\u0308rgen", "to": "J\u00fcrgen"},
                {"field": "confidence", "what": "rounded", "from": 0.123456, "to": 0.1235},
                TURNED,
            ],
        },
        {"index": 2, "client_id": "k#2", "notes": [{"field": "data", "what": "filled", "to": {}}]},
    ]
    assert [one["index"] for one in answer["annotations"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(("kind", "sent", "stored_kind", "stored"), CASES)
def test_notes_are_there_exactly_where_something_is_otherwise(
    send, analysis, kind, sent, stored_kind, stored
):
    answer = send([item(analysis, kind, sent)]).json
    assert ("normalised" in answer) == ((kind, sent) != (stored_kind, stored))
    alias = {"field": "annotation_type", "what": "alias", "from": "mask", "to": "segmentation"}
    assert (kind == "mask") == (alias in answer.get("normalised", [{"notes": []}])[0]["notes"])


def test_a_key_that_was_moved_is_named_with_its_new_place(send, box):
    (named,) = send([box({"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 12, "id": 3})]).json["normalised"]
    assert named["notes"] == [{"field": "data.id", "what": "extra", "to": "data.extra.id"}]


def test_a_frame_is_told_in_the_notes_as_well(send, box):
    sent = {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 12, "image_width": 128, "image_height": 24}
    answer = send([box(sent)]).json
    assert answer["scaled"] == [{"index": 0, "from": [128, 24], "to": [64, 48]}]
    (named,) = answer["normalised"]
    assert named["notes"] == [{"field": "data", "what": "scaled", "from": [128, 24], "to": [64, 48]}]


def test_the_first_hundred_are_named_and_all_are_counted(send, box):
    answer = send([box(ALIAS) for _ in range(120)]).json
    assert (answer["normalised_count"], len(answer["normalised"])) == (120, 100)
    assert answer["normalised"][-1]["index"] == 99


def test_an_item_has_few_short_notes(send, box):
    """However many keys it has, and however long they are."""
    long = {f"{number}" + "x" * 10_000: "y" for number in range(50)}
    answer = send([box({"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 12} | long)])
    (named,) = answer.json["normalised"]
    assert len(named["notes"]) == 20 and len(answer.data) < 20_000


def test_a_dry_run_says_the_same(send, box):
    items = [box(ALIAS, client_id="a"), box(confidence=0.00001, client_id="b"), box(BAD)]
    dry = send(items, "?dry_run=1&on_invalid=skip").json
    wet = send(items, "?on_invalid=skip").json
    assert {**dry, "annotations": 0} == {**wet, "annotations": 0}
    assert dry["normalised_count"] == 2 and dry["skipped_count"] == 1


def test_a_retry_says_the_same(send, box):
    items = [box(ALIAS)]
    first, second = send(items).json, send(items).json
    assert second["unchanged"] == 1
    assert first["normalised"] == second["normalised"]


# --- on_invalid=skip ---------------------------------------------------------------------------------------------


def test_the_valid_ones_are_stored_and_the_others_named(send, box, held):
    items = [box({"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 12}), box(BAD, confidence=7), 5, box()]
    answer = send(items, "?on_invalid=skip", "k")
    assert answer.status_code == 200
    assert (answer.json["inserted"], answer.json["total"], answer.json["skipped_count"]) == (2, 2, 2)
    assert [one["client_id"] for one in answer.json["annotations"]] == ["k#0", "k#3"]
    assert list(held()) == ["k#0", "k#3"]
    first, second = answer.json["skipped"]
    assert (first["index"], [error["field"] for error in first["errors"]]) == (1, ["confidence"])
    assert (second["index"], [error["field"] for error in second["errors"]]) == (2, [""])
    assert all(error["reason"] for one in (first, second) for error in one["errors"])


def test_the_corrected_batch_again_stores_what_was_skipped(send, box, held):
    """Names keep the index of the request, so nothing is stored twice."""
    good, mended = box(), box()
    send([good, mended | {"data": BAD}, good], "?on_invalid=skip", "k")
    answer = send([good, mended, good], "?on_invalid=skip", "k").json
    assert (answer["inserted"], answer["unchanged"], answer["total"]) == (1, 2, 3)
    assert "skipped" not in answer
    assert set(held()) == {"k#0", "k#1", "k#2"}


def test_of_two_with_the_same_id_the_second_is_skipped(send, box, held):
    one, two, three = (box({"x_min": x, "y_min": 2, "x_max": 50, "y_max": 12}) for x in (1, 2, 3))
    items = [one | {"client_id": "a"}, two | {"client_id": "a"}, three | {"client_id": "b"}]
    answer = send(items, "?on_invalid=skip").json
    (skipped,) = answer["skipped"]
    assert skipped == {
        "index": 1,
        "errors": [{"field": "client_id", "reason": "The same client_id as item 0."}],
    }
    assert held() == {"a": 1.0, "b": 3.0}


def test_an_id_belongs_to_the_first_that_bears_it_even_if_that_is_not_valid(send, box, held):
    """So that the second does not stand where the mended first belongs."""
    one, two = (box({"x_min": x, "y_min": 2, "x_max": 50, "y_max": 12}, client_id="a") for x in (1, 2))
    other = box(client_id="b")
    answer = send([one | {"data": BAD}, two, other], "?on_invalid=skip").json
    assert [skipped["index"] for skipped in answer["skipped"]] == [0, 1]
    answer = send([one, two, other], "?on_invalid=skip").json
    assert (answer["inserted"], answer["unchanged"]) == (1, 1)
    assert held()["a"] == 1.0


def test_a_skipped_item_is_not_called_normalised(send, box):
    twice = [box(ALIAS, client_id="a"), box(ALIAS, client_id="a"), box(BAD, confidence=0.123456)]
    answer = send(twice, "?on_invalid=skip").json
    assert [one["index"] for one in answer["normalised"]] == [0]
    assert (answer["normalised_count"], answer["skipped_count"]) == (1, 2)


def test_none_valid_is_refused(send, box, unchanged):
    with unchanged(Analysis, Annotation, Receipt):
        answer = send([box(BAD), 5], "?on_invalid=skip")
    body = check_problem(answer, 422, "invalid-payload")
    assert [error["index"] for error in body["errors"]] == [0, 1]


def test_nothing_sent_is_nothing_skipped(send):
    assert send([], "?on_invalid=skip").status_code == 200


def test_replace_takes_all_or_none(send, box, held, unchanged):
    """What is held under the id of an invalid item would be removed otherwise."""
    send([box(client_id="a"), box(client_id="b")])
    with unchanged(Analysis, Annotation, Receipt):
        answer = send([box(client_id="a"), box(BAD, client_id="b")], "?on_invalid=skip", mode="replace")
    assert (answer.status_code, answer.json["errors"][0]["index"]) == (422, 1)
    good = [box(client_id="a"), box(client_id="c")]
    assert send(good, "?on_invalid=skip", mode="replace").json["removed"] == 1


def test_upsert_leaves_what_is_held_under_a_skipped_id(send, box, held):
    first = [box({"x_min": x, "y_min": 2, "x_max": 50, "y_max": 12}, client_id=f"n{x}") for x in (1, 2)]
    send(first)
    changed = [first[0] | {"data": BAD}, first[1] | {"data": first[1]["data"] | {"x_min": 7}}]
    answer = send(changed, "?on_invalid=skip", mode="upsert").json
    assert (answer["updated"], answer["total"], answer["skipped_count"]) == (1, 2, 1)
    assert held() == {"n1": 1.0, "n2": 7.0}


def test_other_content_under_a_held_id_stays_a_conflict(send, box, unchanged):
    send([box(client_id="a")])
    with unchanged(Analysis, Annotation, Receipt):
        answer = send([box(client_id="a"), box(BAD), box()], "?on_invalid=skip")
    assert check_problem(answer, 409, "conflict")["client_ids"] == ["a"]


def test_the_first_hundred_skipped_are_named_and_all_are_counted(send, box):
    answer = send([box(), *(box(BAD) for _ in range(120))], "?on_invalid=skip").json
    assert (answer["skipped_count"], len(answer["skipped"]), answer["inserted"]) == (120, 100, 1)
    assert answer["skipped"][-1]["index"] == 100


def test_refusing_is_the_default(send, box, unchanged):
    for query in ("", "?on_invalid=refuse"):
        with unchanged(Analysis, Annotation, AuditEvent, Receipt):
            answer = send([box(), box(BAD)], query)
        assert (answer.status_code, answer.json["errors"][0]["index"]) == (422, 1)


def test_another_way_is_refused(send, box):
    answer = send([box()], "?on_invalid=ignore")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "on_invalid")


def test_a_retry_after_the_end(send, box, pipeline, analysis, unchanged):
    items = [box(), box(BAD)]
    send(items, "?on_invalid=skip", "k")
    pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    with unchanged(Analysis, Annotation, AuditEvent, Receipt):
        again = send(items, "?on_invalid=skip", "k")
        more = send([*items, box()], "?on_invalid=skip", "k")
    assert (again.status_code, again.json["unchanged"], again.json["skipped_count"]) == (200, 1, 1)
    assert more.status_code == 409


# --- receipts that are kept --------------------------------------------------------------------------------------


def test_a_receipt_is_kept(send, box, world, analysis):
    items = [box(ALIAS), box(BAD), box(typo=1)]
    answer = send(items, "?on_invalid=skip&tpyo=1", "k", mode="upsert")
    (row,) = world.rows(Receipt)
    assert (row.analysis_id, row.actor_label, row.batch, row.mode) == (analysis.id, "pipeline", "k", "upsert")
    assert row.request_id == answer.headers["X-Request-ID"]
    assert row.counts == {"inserted": 2, "unchanged": 0, "updated": 0, "removed": 0, "total": 2}
    said = ("normalised", "normalised_count", "skipped", "skipped_count", "ignored")
    assert row.notes == {name: answer.json[name] for name in said}


def test_a_plain_request_has_no_notes(send, box, world):
    send([box()])
    (row,) = world.rows(Receipt)
    assert row.notes is None and len(row.batch) == 32


@pytest.mark.parametrize("query", ["?dry_run=1", "?dry_run=1&on_invalid=skip"])
def test_a_dry_run_leaves_none(send, box, unchanged, query):
    with unchanged(Analysis, Annotation, Receipt):
        assert send([box(ALIAS)], query).status_code == 200


def test_what_changed_nothing_leaves_none(send, box, unchanged):
    items = [box(ALIAS), box(BAD)]
    send(items, "?on_invalid=skip")
    with unchanged(Analysis, Annotation, AuditEvent, Receipt):
        send(items, "?on_invalid=skip")
        send([], "?on_invalid=skip")


def test_another_order_is_a_change(send, box, world):
    items = [box(client_id="a"), box(client_id="b")]
    send(items, mode="replace")
    send(items[::-1], mode="replace")
    assert [row.counts["unchanged"] for row in receipts(world)] == [0, 2]


def test_what_is_refused_leaves_none(send, box, unchanged):
    send([box(client_id="a")])
    with unchanged(Receipt):
        assert send([box(client_id="a")]).status_code == 409
        assert send([box(BAD)]).status_code == 422


def test_the_last_twenty_of_each_analysis_are_kept(send, box, world, image, pipeline):
    other = world.analysis(image)
    pipeline.post(f"/api/analyses/{other.id}/annotations:bulk", {"annotations": [box()]})
    for number in range(23):
        send([box()], key=f"k{number}")
    kept = [row.batch for row in receipts(world) if row.analysis_id != other.id]
    assert kept == [f"k{number}" for number in range(3, 23)]
    assert len(receipts(world)) == 21


def test_what_is_kept_is_a_few_kilobytes(send, box, world):
    long = {f"key-{number}-" + "x" * 300: 1 for number in range(30)}
    corners = {"x_min": 1, "y_min": 2, "x_max": 9, "y_max": 12}
    items = [
        *(box(corners | long) for _ in range(40)),
        *(box(BAD, **{f"typo-{'y' * 500}-{n}": 1}) for n in range(40)),
    ]
    answer = send(items, "?on_invalid=skip").json
    (row,) = world.rows(Receipt)
    assert (row.notes["normalised_count"], row.notes["skipped_count"]) == (40, 40)
    assert len(json.dumps(row.notes, ensure_ascii=False).encode()) < 5_000
    assert len(answer["normalised"]) == 40


def test_a_few_of_many_are_kept(send, box, world):
    send([box(ALIAS) for _ in range(100)])
    (row,) = world.rows(Receipt)
    assert row.notes["normalised_count"] == 100
    assert [one["index"] for one in row.notes["normalised"]] == list(range(20))


def test_what_no_database_holds_is_kept_otherwise(send, box, world):
    answer = send([box()], "?a%00b=1")
    assert (answer.status_code, answer.json["ignored"]) == (200, ["a\0b"])
    (row,) = world.rows(Receipt)
    assert row.notes == {"ignored": ["a\ufffdb"]}


def receipts(world):
    return sorted(world.rows(Receipt), key=lambda row: (row.created_at, row.id))
