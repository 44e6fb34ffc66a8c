import hashlib
import hmac
import json
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from app import signing
from app.errors import (
    Forbidden,
    LoupeError,
    MalformedRequest,
    SchemeNotAllowed,
    SignatureInvalid,
    SignatureMissing,
    SigningNotConfigured,
    TimestampSkew,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "signature-vectors.json").read_text())
SECRET = "a secret of the callbacks"
OLD = "the secret before it"
BODY = b'{"status":"completed"}'
NOW = 1_700_000_000
HEX = "ab" * 32
NONCE = "Zm9vYmFyYmF6cXV4MDEyMw"


def signed(secret: str = SECRET, timestamp: str = str(NOW), **more: str) -> dict[str, str]:
    signature = signing.sign_plain(secret, timestamp, BODY)
    return {"X-ML-Timestamp": timestamp, "X-ML-Signature": signature, **more}


def verify(headers: dict[str, str], secrets=(SECRET,), body: bytes = BODY, now: float = NOW) -> None:
    parsed = signing.parse_headers(headers)
    assert parsed is not None
    signing.verify_plain(secrets, parsed, body, now, 300)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_a_worked_case_verifies(vector):
    body = bytes.fromhex(vector["body_hex"])
    assert signing.sign_plain(vector["secret"], vector["timestamp"], body) == vector["signature"]
    headers = {"X-ML-Timestamp": vector["timestamp"], "X-ML-Signature": vector["signature"]}
    verify(headers, [vector["secret"]], body, float(vector["timestamp"]))


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_a_worked_case_is_refused(vector):
    headers = {
        "X-ML-Timestamp": vector["timestamp"],
        "X-ML-Signature": vector["signature"],
        "X-ML-Key-Id": vector["key_id"],
        "X-ML-Nonce": vector["nonce"],
    }
    with pytest.raises(LoupeError) as refusal:
        verify(headers, [vector["secret"]], bytes.fromhex(vector["body_hex"]), NOW)
    assert refusal.value.status == vector["expect"]


def test_the_mac_is_what_the_contract_says():
    expected = hmac.new(SECRET.encode(), f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert signing.sign_plain(SECRET, str(NOW), BODY) == f"sha256={expected}"


def test_without_signature_headers_there_is_nothing_to_check():
    assert signing.parse_headers({}) is None
    assert signing.parse_headers({"X-ML-Nonce": "?", "X-ML-Key-Id": "?"}) is None


def test_a_timestamp_alone_is_a_missing_signature():
    with pytest.raises(SignatureMissing):
        signing.parse_headers({"X-ML-Timestamp": str(NOW)})


def test_headers_are_found_whatever_their_case():
    headers = Headers([("x-ml-timestamp", "0017"), ("X-Ml-Signature", f"sha256={HEX}")])
    parsed = signing.parse_headers(headers)
    assert parsed is not None
    assert (parsed.timestamp, parsed.raw_timestamp) == (17, "0017")
    assert parsed.signatures == (signing.Signature("sha256", HEX),)


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        " ",
        "-1",
        "+1",
        "1.0",
        "1e9",
        "0x10",
        "1 ",
        "1\n",
        "123456789012",
        "\u0661\u0667\u0660",
        "\uff11\uff17",
        "now",
    ],
)
@pytest.mark.parametrize("signature", [f"sha256={HEX}", None])
def test_a_timestamp_of_another_form(timestamp, signature):
    headers = {"X-ML-Timestamp": timestamp}
    if signature:
        headers["X-ML-Signature"] = signature
    with pytest.raises(MalformedRequest):
        signing.parse_headers(headers)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        " ",
        HEX,
        f"sha256={HEX[:-1]}",
        f"sha256={HEX}0",
        f"sha256={HEX.upper()}",
        f"sha256={HEX}\n",
        f"SHA256={HEX}",
        f"sha1={HEX}",
        f"v3={HEX}",
        f"sha256={HEX},sha256={HEX}",
        f"sha256={HEX}, sha256={HEX}",
        f"sha256={HEX}  sha256={HEX}",
        f"sha256={HEX}\tsha256={HEX}",
        f" sha256={HEX}",
        " ".join([f"sha256={HEX}"] * 5),
        f"sha256={HEX} v2={HEX} {HEX}",
    ],
)
def test_a_signature_of_another_form(signature):
    with pytest.raises(MalformedRequest):
        signing.parse_headers({"X-ML-Timestamp": str(NOW), "X-ML-Signature": signature})


def test_a_signature_without_timestamp():
    with pytest.raises(SignatureMissing):
        signing.parse_headers({"X-ML-Signature": f"sha256={HEX}"})


@pytest.mark.parametrize(
    "nonce", ["", "abc", "a" * 21, "a" * 65, "a" * 21 + "=", "a" * 21 + "é", "a" * 22 + "\n"]
)
def test_a_nonce_of_another_form(nonce):
    with pytest.raises(MalformedRequest):
        signing.parse_headers(signed(**{"X-ML-Nonce": nonce}))


@pytest.mark.parametrize("key_id", ["", "abc", "a" * 65, "abc.", "ab c", "äbcd"])
def test_a_key_id_of_another_form(key_id):
    with pytest.raises(MalformedRequest):
        signing.parse_headers(signed(**{"X-ML-Key-Id": key_id}))


def test_nonce_and_key_id_may_come_with_plain():
    parsed = signing.parse_headers(signed(**{"X-ML-Nonce": NONCE, "X-ML-Key-Id": "default"}))
    assert parsed is not None
    assert (parsed.nonce, parsed.key_id) == (NONCE, "default")


@pytest.mark.parametrize("missing", ["X-ML-Nonce", "X-ML-Key-Id"])
def test_v2_needs_nonce_and_key_id(missing):
    headers = {"X-ML-Timestamp": str(NOW), "X-ML-Signature": f"v2={HEX}"}
    headers |= {"X-ML-Nonce": NONCE, "X-ML-Key-Id": "default"}
    del headers[missing]
    with pytest.raises(MalformedRequest):
        signing.parse_headers(headers)


def test_v2_alone_does_not_pass_as_plain():
    headers = {"X-ML-Timestamp": str(NOW), "X-ML-Signature": f"v2={HEX}"}
    headers |= {"X-ML-Nonce": NONCE, "X-ML-Key-Id": "default"}
    with pytest.raises(SchemeNotAllowed):
        verify(headers)


def test_any_live_secret_and_any_element_will_do():
    verify(signed(OLD), secrets=(SECRET, OLD))
    headers = signed(OLD)
    headers["X-ML-Signature"] = f"sha256={HEX} {headers['X-ML-Signature']}"
    verify(headers, secrets=(SECRET, OLD))


def test_every_secret_and_element_is_compared(monkeypatch):
    compared = []

    def compare(left, right):
        compared.append((left, right))
        return hmac_compare(left, right)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr(signing.hmac, "compare_digest", compare)
    headers = signed()
    headers["X-ML-Signature"] += f" sha256={HEX}"
    verify(headers, secrets=(SECRET, OLD))
    assert len(compared) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"secrets": (OLD,)},
        {"body": BODY + b" "},
        {"body": b""},
        {"headers": {**signed(), "X-ML-Timestamp": str(NOW + 1)}},
        {"headers": {**signed(), "X-ML-Timestamp": f"0{NOW}"}},
        {"headers": {**signed(), "X-ML-Signature": f"sha256={HEX}"}},
    ],
)
def test_anything_changed_is_refused(change):
    with pytest.raises(SignatureInvalid):
        verify(**{"headers": signed(), **change})


def test_the_timestamp_is_signed_as_it_was_sent():
    verify(signed(timestamp=f"0{NOW}"))


@pytest.mark.parametrize("now", [NOW - 300, NOW, NOW + 300])
def test_within_the_window(now):
    assert verify(signed(), now=now) is None


@pytest.mark.parametrize("now", [NOW - 300.5, NOW + 300.5, NOW + 301])
def test_outside_the_window(now):
    with pytest.raises(TimestampSkew) as refusal:
        verify(signed(), now=now)
    assert refusal.value.extra == {"server_time": int(now)}


def test_without_a_secret_nothing_can_be_checked():
    with pytest.raises(SigningNotConfigured):
        verify(signed(), secrets=())


@given(st.text(), st.integers(0, 10**11 - 1), st.binary(max_size=200))
def test_what_was_signed_verifies(secret, timestamp, body):
    headers = {"X-ML-Timestamp": str(timestamp)}
    headers["X-ML-Signature"] = signing.sign_plain(secret, str(timestamp), body)
    verify(headers, [secret], body, timestamp)


@given(st.dictionaries(st.sampled_from(["X-ML-Timestamp", "X-ML-Signature", "X-ML-Nonce"]), st.text()))
def test_headers_never_break_the_reader(headers):
    try:
        signing.parse_headers(headers)
    except LoupeError as refusal:
        assert refusal.status in (400, 401)


@pytest.mark.parametrize("prefix", ["mluser", "mlpip"])
def test_a_minted_key_can_be_split(prefix):
    minted = signing.mint_key(prefix)
    parsed = signing.split_key(minted.full)
    assert parsed is not None
    assert (parsed.prefix, parsed.key_id) == (prefix, minted.key_id)
    assert signing.secret_matches(parsed.secret, minted.secret_hash)
    assert not signing.secret_matches(parsed.secret + "x", minted.secret_hash)
    assert parsed.secret not in repr(parsed) + repr(minted)


def test_keys_come_from_the_randomness_given():
    minted = signing.mint_key("mluser", lambda size: b"\xff" * size)
    assert minted.full == "mluser_7777777777777777_" + "_" * 42 + "8"
    assert minted.secret_hash == hashlib.sha256(b"_" * 42 + b"8").hexdigest()
    assert signing.split_key(minted.full) == signing.ParsedKey("mluser", "7" * 16, "_" * 42 + "8")


def test_no_two_keys_are_alike():
    assert len({signing.mint_key("mlpip").full for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    ["", "mluser", "mluser_", "mluser_abcdefgh", "mluser_abcdefgh_short", "_abcdefgh_" + "a" * 43,
     "mluser_abc_" + "a" * 43, "mluser_abcdefgh_" + "a" * 42 + "é", "mluser_abcdefgh_" + "a" * 43 + "\n",
     "Bearer mluser_abcdefgh_" + "a" * 43, "mluser_abcdefgh_" + "a" * 1000],
)  # fmt: skip
def test_what_is_no_key(text):
    assert signing.split_key(text) is None


KEY = "ml_outputs/0190/heat.png"
CONDITIONS = {"type": "image/png", "size": "12"}


def test_a_signed_address_gives_its_conditions_back():
    query = signing.sign_url(SECRET, "PUT", KEY, NOW + 60, CONDITIONS)
    assert signing.verify_url(SECRET, "PUT", KEY, query, NOW) == CONDITIONS
    assert signing.verify_url(SECRET, "PUT", KEY, query, NOW + 60) == CONDITIONS


def test_a_signed_address_ends():
    query = signing.sign_url(SECRET, "PUT", KEY, NOW + 60, CONDITIONS)
    with pytest.raises(Forbidden):
        signing.verify_url(SECRET, "PUT", KEY, query, NOW + 61)


@pytest.mark.parametrize("name", ["type", "size", "expires", "signature"])
@pytest.mark.parametrize("value", [None, "", "1", "9" * 20, "image/svg+xml", "é", "\ud800"])
def test_no_parameter_of_a_signed_address_can_be_changed(name, value):
    query = signing.sign_url(SECRET, "PUT", KEY, NOW + 60, CONDITIONS)
    query.pop(name)
    if value is not None:
        query[name] = value
    with pytest.raises(Forbidden):
        signing.verify_url(SECRET, "PUT", KEY, query, NOW)


@pytest.mark.parametrize(
    "change",
    [{"method": "GET"}, {"key": KEY + "x"}, {"key": KEY.replace("0190", "0191")}, {"secret": OLD}],
    ids=str,
)
def test_a_signed_address_is_for_one_method_one_file_one_server(change):
    query = signing.sign_url(SECRET, "PUT", KEY, NOW + 60, CONDITIONS)
    with pytest.raises(Forbidden):
        signing.verify_url(
            **{"secret": SECRET, "method": "PUT", "key": KEY, "query": query, "now": NOW} | change
        )


def test_parameters_cannot_be_added_or_moved_between_names():
    query = signing.sign_url(SECRET, "GET", KEY, NOW + 60, {"filename": "a&inline=1"})
    assert "inline=1" not in urlencode(query)
    for altered in ({**query, "inline": "1"}, {**query, "filename": "a", "inline": "1"}):
        with pytest.raises(Forbidden):
            signing.verify_url(SECRET, "GET", KEY, altered, NOW)
