"""How scripts/loupe_client.py tries again: after lost answers, busy servers and wrong clocks, with one effect."""

from collections.abc import Callable
from typing import Any

import pytest

from scripts import loupe_client
from scripts.loupe_client import Client, Refused, Unreachable
from tests.scripts.conftest import PNG, STEPS, box
from tests.support.stand_in import CUT, LOST, Fault, StandIn, busy, standing_in

# --- attempts ----------------------------------------------------------------------------------------------------


def effects(stand_in: StandIn) -> tuple[int, ...]:
    states = [row["status"] != "queued" for row in stand_in.analyses.values()]
    held = [len(annotations) for annotations in stand_in.annotations.values()]
    return len(states), sum(states), sum(held), len(stand_in.files), len(stand_in.leases)


@pytest.mark.parametrize("fault", [LOST, CUT, busy(), busy(429), busy(502)], ids=repr)
@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_tried_again_with_one_effect(
    step: str, fault: Fault, make_client: Callable[..., Client], slept: list[float]
) -> None:
    part, take = STEPS[step]
    counted = []
    for faults in [(), (fault, fault)]:
        with standing_in() as stand_in:
            client = make_client()
            client.base_url = stand_in.url
            analysis = client.create("an-image", "a model", "1.0")
            stand_in.fail(part, *faults)
            before = len(stand_in.to(part))
            take(client, analysis)
            counted.append(effects(stand_in))
            attempts = stand_in.to(part)[before:]
            assert len(attempts) == 1 + len(faults)
    assert counted[0] == counted[1]
    assert len(slept) == 2
    assert len({request.body for request in attempts}) == 1
    assert len({request["Idempotency-Key"] for request in attempts}) == 1
    if step != "put":
        assert len({request["X-ML-Nonce"] for request in attempts}) == 3
        assert len({request["X-ML-Signature"] for request in attempts}) == 3


def test_the_time_is_that_of_the_attempt(make_client: Callable[..., Client], stand_in: StandIn) -> None:
    times = iter([stand_in.now, stand_in.now + 40])
    stand_in.fail("/analyses", busy())
    make_client(clock=lambda: next(times)).create("an-image", "a model", "1.0")
    assert [float(request["X-ML-Timestamp"]) - stand_in.now for request in stand_in.seen] == [0, 40]


def test_the_server_says_how_long_to_wait(client: Client, stand_in: StandIn, slept: list[float]) -> None:
    stand_in.fail("/analyses", busy(503, "7"), busy(429, "0"), busy(503, "300"))
    client.create("an-image", "a model", "1.0")
    assert slept == [7.0, 0.0, 300.0]


def test_without_its_word_pauses_grow(client: Client, stand_in: StandIn, slept: list[float]) -> None:
    stand_in.fail("/analyses", busy(), LOST, busy(503, "soon"), CUT, busy())
    client.create("an-image", "a model", "1.0")
    for pause, middle in zip(slept, [0.5, 1, 2, 4, 8], strict=True):
        assert 0.75 * middle <= pause <= 1.25 * middle


def test_one_that_asks_for_too_long_is_not_waited_for(
    client: Client, stand_in: StandIn, slept: list[float]
) -> None:
    stand_in.fail("/analyses", busy(503, "3600"))
    with pytest.raises(Refused, match="503 database-unavailable"):
        client.create("an-image", "a model", "1.0")
    assert not slept


def test_attempts_end(make_client: Callable[..., Client], stand_in: StandIn, slept: list[float]) -> None:
    client = make_client(attempts=3)
    stand_in.fail("/analyses", *[busy()] * 3, *[LOST] * 3)
    with pytest.raises(Refused):
        client.create("an-image", "a model", "1.0")
    with pytest.raises(Unreachable, match=r"POST http://127.0.0.1:\d+/api/images/an-image/analyses: "):
        client.create("an-image", "a model", "1.0")
    assert (len(stand_in.seen), len(slept)) == (6, 4)


def test_what_will_not_change_is_not_tried_again(
    client: Client, stand_in: StandIn, slept: list[float]
) -> None:
    fields = [{"index": 0, "field": "data", "reason": "no"}]
    refused = Fault(422, (), {"code": "invalid-payload", "detail": "One is not valid.", "errors": fields})
    stand_in.fail("bulk", refused, Fault(500))
    analysis = client.create("an-image", "a model", "1.0")
    with pytest.raises(Refused, match=r"^422 invalid-payload: One is not valid. .*\"reason\": \"no\""):
        analysis.bulk([box(1)])
    with pytest.raises(Refused, match=r"^500"):
        analysis.bulk([box(1)])
    assert not slept


# --- clocks ------------------------------------------------------------------------------------------------------


def test_a_wrong_clock_is_set_by_the_server_once(
    make_client: Callable[..., Client], stand_in: StandIn, slept: list[float]
) -> None:
    client = make_client(clock=lambda: stand_in.now - 5000)
    analysis = client.create("an-image", "a model", "1.0")
    analysis.start()
    assert [request.status for request in stand_in.seen] == [401, 201, 200]
    assert client.clock_offset == 5000
    assert not slept


def test_a_server_that_refuses_its_own_time_is_not_asked_for_ever(client: Client, stand_in: StandIn) -> None:
    skewed = Fault(401, (), {"code": "timestamp-skew", "server_time": 1_000_000_000})
    stand_in.fail("/analyses", skewed, skewed, skewed)
    with pytest.raises(Refused, match="timestamp-skew"):
        client.create("an-image", "a model", "1.0")
    assert len(stand_in.seen) == 2


@pytest.mark.parametrize("told", [None, "now", [1]])
def test_without_the_time_of_the_server_the_clock_stays(client: Client, stand_in: StandIn, told: Any) -> None:
    stand_in.fail("/analyses", Fault(401, (), {"code": "timestamp-skew", "server_time": told}))
    with pytest.raises(Refused, match="timestamp-skew"):
        client.create("an-image", "a model", "1.0")
    assert client.clock_offset == 0


def test_a_store_does_not_set_the_clock(client: Client, stand_in: StandIn) -> None:
    stand_in.fail("/files/", Fault(401, (), {"code": "timestamp-skew", "server_time": 1}))
    with pytest.raises(Refused):
        client.create("an-image", "a model", "1.0").upload("heatmap", "heat.png", PNG)
    assert client.clock_offset == 0


# --- annotations in chunks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [LOST, CUT, busy()], ids=repr)
def test_a_chunk_is_sent_again_to_the_byte(client: Client, stand_in: StandIn, fault: Fault) -> None:
    """Without client ids, so that all hangs on the keys; the first and the last chunk hold the same."""
    annotations = [box(1)] * 1000 + [box(number) for number in range(1000)] + [box(1)] * 1000
    analysis = client.create("an-image", "a model", "1.0")
    stand_in.fail("bulk", Fault(), fault, fault)
    receipts = analysis.bulk(annotations)
    attempts = stand_in.to("bulk")
    assert [len(request.json["annotations"]) for request in attempts] == [1000] * 5
    assert len({request["Idempotency-Key"] for request in attempts}) == 3
    assert attempts[1].body == attempts[2].body == attempts[3].body
    assert attempts[1]["Idempotency-Key"] == attempts[3]["Idempotency-Key"]
    assert [receipt["total"] for receipt in receipts] == [1000, 2000, 3000]
    assert list(stand_in.annotations[analysis.id].values()) == annotations


def test_one_analysis_takes_several_calls(client: Client, stand_in: StandIn) -> None:
    analysis = client.create("an-image", "a model", "1.0")
    assert [analysis.bulk([box(tile)])[0]["total"] for tile in range(3)] == [1, 2, 3]


def test_a_later_run_that_sends_the_same_stores_nothing_twice(client: Client, stand_in: StandIn) -> None:
    annotations = [box(number) for number in range(1500)]
    first = client.create("an-image", "a model", "1.0", external_job_id="a job")
    first.bulk(annotations)
    second = client.create("an-image", "a model", "1.0", external_job_id="a job")
    assert (second.id, second.created) == (first.id, False)
    receipts = second.bulk(annotations, mode="replace")
    assert [receipt["unchanged"] for receipt in receipts] == [
        1000,
        0,
    ]  # the second was taken out by the first
    assert list(stand_in.annotations[first.id].values()) == annotations
    assert [request.json["mode"] for request in stand_in.to("bulk")] == [
        "append",
        "append",
        "replace",
        "append",
    ]


def test_chunks_are_neither_long_nor_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loupe_client, "CHUNK_ITEMS", 3)
    monkeypatch.setattr(loupe_client, "CHUNK_BYTES", 20)
    words = ["a" * 5] * 4 + ["b" * 50] + ["c" * 15] * 2
    sizes = [[len(item) for item in chunk] for chunk in loupe_client.chunks(words)]
    assert sizes == [[7, 7], [7, 7], [52], [17], [17]]
    assert [len(chunk) for chunk in loupe_client.chunks([1] * 7)] == [3, 3, 1]
    assert list(loupe_client.chunks([])) == [[]]


def test_nothing_at_all_takes_the_place_of_what_was_there(client: Client, stand_in: StandIn) -> None:
    analysis = client.create("an-image", "a model", "1.0")
    analysis.bulk([box(1)])
    analysis.bulk([], mode="replace")
    assert stand_in.annotations[analysis.id] == {}


def test_numbers_that_json_has_not_are_not_sent(client: Client, stand_in: StandIn) -> None:
    analysis = client.create("an-image", "a model", "1.0")
    with pytest.raises(ValueError, match="JSON"):
        analysis.bulk([box(1, confidence=float("nan"))])
    assert not stand_in.to("bulk")
