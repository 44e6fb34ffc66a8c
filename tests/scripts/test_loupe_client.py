"""scripts/loupe_client.py against a stand-in that checks each signature and fails as servers and networks do."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import loupe_client
from scripts.loupe_client import (
    Client,
    Refused,
    Signable,
    Stopped,
    sign,
    string_to_sign,
)
from tests.scripts.conftest import PNG, STEPS, box, live
from tests.support.stand_in import (
    IMAGE,
    KEY_ID,
    KEY_SECRET,
    LOST,
    PIPELINE_KEY,
    USER_KEY,
    Fault,
    StandIn,
    busy,
)

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "signature-vectors.json").read_text())
WAYS = {
    "v2": {},
    "v2 with a pipeline key": {"secret": KEY_SECRET, "api_key": PIPELINE_KEY},
    "v2 with a user's key for reading": {"api_key": USER_KEY},
    "plain": {"scheme": "plain"},
    "plain with a pipeline key": {"secret": KEY_SECRET, "api_key": PIPELINE_KEY, "scheme": "plain"},
}


# --- signing -----------------------------------------------------------------------------------------------------


def parts_of(vector: dict[str, str]) -> Signable:
    names = {name: vector.get(name, "") for name in ("method", "target", "key_id", "nonce")}
    return Signable(body=bytes.fromhex(vector["body_hex"]), timestamp=vector["timestamp"], **names)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_a_worked_case(vector: dict[str, str]) -> None:
    parts = parts_of(vector)
    assert sign(vector["scheme"], vector["secret"], parts) == vector["signature"]
    if vector["scheme"] == "v2":
        assert string_to_sign("v2", parts).decode() == vector["string_to_sign"]


REFUSED = [vector for vector in VECTORS["invalid"] if vector["expect"] == 401]


@pytest.mark.parametrize("vector", REFUSED, ids=lambda vector: vector["name"])
def test_what_is_to_be_refused_is_not_what_would_be_signed(vector: dict[str, str]) -> None:
    assert sign("v2", vector["secret"], parts_of(vector)) != vector["signature"]


WORD = st.text(st.characters(codec="utf-8", exclude_characters="\n"))


@given(secret=WORD, method=WORD, target=WORD, key_id=WORD, nonce=WORD, body=st.binary())
def test_any_request_is_signed_as_the_contract_says(
    secret: str, method: str, target: str, key_id: str, nonce: str, body: bytes
) -> None:
    parts = Signable(method, target, body, "1700000000", key_id, nonce)
    digest = hashlib.sha256(body).hexdigest()
    text = f"mlv2\n{method}\n{target}\n{key_id}\n1700000000\n{nonce}\n{digest}"
    assert sign("v2", secret, parts) == f"v2={hmac.new(secret.encode(), text.encode(), 'sha256').hexdigest()}"
    plain = hmac.new(secret.encode(), b"1700000000." + body, "sha256").hexdigest()
    assert sign("plain", secret, parts) == f"sha256={plain}"


# --- who is asking -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_life(way: str, make_client: Callable[..., Client], stand_in: StandIn) -> None:
    client = make_client(**WAYS[way])
    analysis = client.create("an-image", "a model", "1.0", parameters={"threshold": 0.5})
    live(analysis)
    assert analysis.created
    held = stand_in.analyses[analysis.id]
    assert (held["status"], held["parameters"]) == ("completed", {"threshold": 0.5})
    assert len(stand_in.annotations[analysis.id]) == 2
    assert list(stand_in.files.values()) == [PNG]
    assert {request.status for request in stand_in.seen} <= {200, 201}
    signed = [request for request in stand_in.seen if request["X-ML-Signature"]]
    assert len(signed) == len(stand_in.seen) - 1  # all but the PUT
    beside = PIPELINE_KEY if way == "plain with a pipeline key" else None
    assert {request["X-API-Key"] for request in signed} == {beside}


@pytest.mark.parametrize("way", [way for way in WAYS if way != "plain"])
def test_reading(way: str, make_client: Callable[..., Client], stand_in: StandIn) -> None:
    """With a user's key, or signed over the query too; with plain, which authorises no GET, by the key."""
    client, analysis = make_client(**WAYS[way]), stand_in.queue()
    assert client.read(f"/api/analyses/{analysis}?limit=3&skip=0").json()["id"] == analysis
    (asked,) = stand_in.seen
    assert bool(asked["X-ML-Signature"]) == (way in ("v2", "v2 with a pipeline key"))
    assert asked["X-ML-Key-Id"] == {"v2": "default", "v2 with a pipeline key": KEY_ID}.get(way)


def test_neither_secret_nor_key_is_shown(make_client: Callable[..., Client], stand_in: StandIn) -> None:
    stand_in.queue()
    analysis = make_client(KEY_SECRET, PIPELINE_KEY).claim_next("worker")
    assert KEY_SECRET not in repr(analysis) and PIPELINE_KEY not in repr(analysis)
    assert stand_in.leases[analysis.id] not in repr(analysis)


def test_a_redirect_is_not_followed(client: Client, stand_in: StandIn) -> None:
    stand_in.fail("/status", Fault(307, (("Location", f"{stand_in.url}/elsewhere"),)))
    analysis = client.create("an-image", "a model", "1.0")
    with pytest.raises(Refused) as refusal:
        analysis.start()
    assert refusal.value.status == 307
    assert not stand_in.to("elsewhere")


def test_one_trace_for_an_analysis_and_a_span_for_each_attempt(client: Client, stand_in: StandIn) -> None:
    stand_in.fail("/status", LOST, busy())
    live(client.create("an-image", "a model", "1.0"))
    live(client.create("an-image", "a model", "1.0"))
    sent = [request["traceparent"] for request in stand_in.seen if request["traceparent"]]
    assert len(sent) == 2 * 5 + 2
    assert all(re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", header) for header in sent)
    assert len({header[3:35] for header in sent}) == 2
    assert len({header[36:52] for header in sent}) == len(sent)


# --- claiming ----------------------------------------------------------------------------------------------------


def test_a_claim_and_its_token(client: Client, stand_in: StandIn) -> None:
    analysis = client.claim(stand_in.queue(), "worker-1", lease_seconds=30)
    assert stand_in.seen[0].json == {"worker_id": "worker-1", "lease_seconds": 30}
    assert analysis.picture() == IMAGE
    live(analysis)
    token = stand_in.leases[analysis.id]
    signed = [request for request in stand_in.seen[1:] if request["X-ML-Signature"]]
    assert [request["X-ML-Lease-Token"] for request in signed] == [token] * 4
    assert len({request["traceparent"][:35] for request in [*signed, stand_in.seen[0]]}) == 1


def test_the_next_of_the_queue(client: Client, stand_in: StandIn) -> None:
    assert client.claim_next("worker") is None
    queued = [stand_in.queue(), stand_in.queue()]
    claimed = [client.claim_next("worker", models=["a"], lease_seconds=60) for _ in queued]
    assert [analysis.id for analysis in claimed if analysis] == queued
    wanted = {"worker_id": "worker", "max": 1, "models": ["a"], "lease_seconds": 60}
    assert stand_in.seen[1].json == wanted
    keys = [request["Idempotency-Key"] for request in stand_in.seen]
    assert len(set(keys)) == 3
    assert all(re.fullmatch("[0-9a-f-]{36}", key) for key in keys)


def test_one_that_another_has(client: Client, stand_in: StandIn) -> None:
    analysis = stand_in.queue()
    client.claim(analysis, "worker-1")
    with pytest.raises(Refused) as refusal:
        client.claim(analysis, "worker-2")
    assert refusal.value.code == "already-claimed"


@pytest.mark.parametrize("step", ["start", "presign", "bulk", "finalize"])
def test_a_lost_lease_stops_the_work(
    step: str, client: Client, stand_in: StandIn, slept: list[float]
) -> None:
    analysis = client.claim(stand_in.queue(), "worker")
    stand_in.leases[analysis.id] = "another's"
    with pytest.raises(Stopped, match="lease-lost") as stopped:
        STEPS[step][1](client, analysis)
    assert not stopped.value.canceled
    assert not slept


def test_a_person_cancels(client: Client, stand_in: StandIn) -> None:
    analysis = client.create("an-image", "a model", "1.0")
    stand_in.analyses[analysis.id]["status"] = "canceled"
    with pytest.raises(Stopped) as stopped:
        analysis.bulk([box(1)])
    assert stopped.value.canceled


def test_a_person_deletes(client: Client, stand_in: StandIn) -> None:
    analysis = client.create("an-image", "a model", "1.0")
    stand_in.fail("bulk", Fault(410, (), {"code": "deleted"}))
    with pytest.raises(Stopped, match="410 deleted") as stopped:
        analysis.bulk([box(1)])
    assert not stopped.value.canceled


def test_other_bytes_than_those_of_the_image(client: Client, stand_in: StandIn) -> None:
    stand_in.files["/files/image"] = IMAGE[:-1]
    analysis = client.claim(stand_in.queue(), "worker")
    with pytest.raises(ValueError, match="hash"):
        analysis.picture()


def test_the_secret_to_sign_with_is_the_newest() -> None:
    assert loupe_client.newest_secret(" newest , older") == "newest"
    assert loupe_client.newest_secret("") == ""
