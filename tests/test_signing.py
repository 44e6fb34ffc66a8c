import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook
from werkzeug.datastructures import Headers

from app import signing
from app.errors import (
    Forbidden,
    LoupeError,
    MalformedRequest,
    SignatureInvalid,
    SignatureMissing,
    TimestampSkew,
)

VECTORS = json.loads((Path(__file__).parent / "data" / "signature-vectors.json").read_text())
PLAIN_VECTORS = [vector for vector in VECTORS["valid"] if vector["scheme"] == "plain"]
SECRET = "a secret of the callbacks"
OLD = "the secret before it"
BODY = b'{"status":"completed"}'
NOW = 1_700_000_000
HEX = "ab" * 32
NONCE = "Zm9vYmFyYmF6cXV4MDEyMw"


SENT = signing.Sent("POST", "/api/analyses/1/finalize", BODY)


def plain(secret: str, timestamp: str, body: bytes) -> str:
    headers = signing.SignatureHeaders(int(timestamp), timestamp, (), None, None)
    return signing.sign("sha256", secret, headers, signing.Sent("", "", body))


def signed(secret: str = SECRET, timestamp: str = str(NOW), **more: str) -> dict[str, str]:
    return {"X-ML-Timestamp": timestamp, "X-ML-Signature": plain(secret, timestamp, BODY), **more}


def verify(
    headers: dict[str, str],
    secrets=(SECRET,),
    body: bytes = BODY,
    now: float = NOW,
    *,
    method: str = "POST",
    target: str = "/",
) -> str:
    """The scheme that verified."""
    parsed = signing.parse_headers(headers)
    assert parsed is not None
    signing.refuse_old(parsed, now, 300)
    for scheme in ("v2", "sha256"):
        if signing.matching(scheme, secrets, parsed, signing.Sent(method, target, body)):
            return scheme
    raise SignatureInvalid


def headers_of(vector) -> dict[str, str]:
    named = {"X-ML-Timestamp": "timestamp", "X-ML-Signature": "signature", "X-ML-Key-Id": "key_id"}
    named["X-ML-Nonce"] = "nonce"
    return {header: vector[name] for header, name in named.items() if name in vector}


def verify_vector(vector) -> str:
    asked = {"method": vector.get("method", "POST"), "target": vector.get("target", "/")}
    moment = vector["timestamp"]
    clock = float(moment) if moment.isascii() and moment.isdigit() else NOW
    return verify(headers_of(vector), [vector["secret"]], bytes.fromhex(vector["body_hex"]), clock, **asked)


@pytest.mark.parametrize("vector", PLAIN_VECTORS, ids=lambda vector: vector["name"])
def test_a_worked_case_verifies(vector):
    scheme = {"plain": "sha256", "v2": "v2"}[vector["scheme"]]
    assert verify_vector(vector) == scheme
    parsed = signing.parse_headers(headers_of(vector))
    sent = signing.Sent(vector.get("method", ""), vector.get("target", ""), bytes.fromhex(vector["body_hex"]))
    assert signing.sign(scheme, vector["secret"], parsed, sent) == vector["signature"]
    if scheme == "v2":
        assert signing.string_to_sign("v2", parsed, sent).decode() == vector["string_to_sign"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_a_worked_case_is_refused(vector):
    with pytest.raises(LoupeError) as refusal:
        verify_vector(vector)
    assert refusal.value.status == vector["expect"]


V2_VECTORS = [vector for vector in VECTORS["valid"] if vector["scheme"] == "v2"]


def flips(data: bytes):
    return (
        data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
        for place in range(len(data))
        for bit in range(8)
    )


@pytest.mark.parametrize("vector", V2_VECTORS, ids=lambda vector: vector["name"])
def test_no_bit_of_a_v2_request_may_change(vector):
    """Of the string, the key, the body and the signature, each by itself."""
    body, text = bytes.fromhex(vector["body_hex"]), vector["string_to_sign"].encode()
    digest = vector["signature"].removeprefix("v2=")
    assert hmac.new(vector["secret"].encode(), text, hashlib.sha256).hexdigest() == digest
    for changed in flips(text):
        assert hmac.new(vector["secret"].encode(), changed, hashlib.sha256).hexdigest() != digest
    for changed in flips(body):
        with pytest.raises(SignatureInvalid):
            verify_vector(vector | {"body_hex": changed.hex()})
    for changed in flips(vector["secret"].encode()):
        with pytest.raises(SignatureInvalid):
            verify_vector(vector | {"secret": changed.decode("latin-1")})
    for changed in flips(bytes.fromhex(digest)):
        with pytest.raises(SignatureInvalid):
            verify_vector(vector | {"signature": f"v2={changed.hex()}"})


@pytest.mark.parametrize("vector", V2_VECTORS, ids=lambda vector: vector["name"])
def test_no_character_of_what_v2_binds_may_change(vector):
    """As a header or an address may carry it; what has the form of neither is refused for that."""
    for name in ("method", "target", "key_id", "timestamp", "nonce"):
        for place in range(len(vector[name])):
            for bit in range(7):
                other = chr(ord(vector[name][place]) ^ (1 << bit))
                changed = vector[name][:place] + other + vector[name][place + 1 :]
                with pytest.raises(LoupeError):
                    verify_vector(vector | {name: changed})


def test_the_parts_of_v2_cannot_be_moved_between_its_lines():
    """What stands in one line cannot come to stand in another: none of them can hold a line's end."""
    parsed = signing.parse_headers(
        {"X-ML-Timestamp": "17", "X-ML-Signature": f"v2={HEX}", "X-ML-Nonce": NONCE, "X-ML-Key-Id": "abcd"}
    )
    lines = signing.string_to_sign("v2", parsed, SENT).decode().split("\n")
    assert lines == ["mlv2", "POST", SENT.target, "abcd", "17", NONCE, hashlib.sha256(BODY).hexdigest()]
    for header, value in (
        ("X-ML-Nonce", NONCE + "\n"),
        ("X-ML-Key-Id", "ab\ncd"),
        ("X-ML-Timestamp", "1\n7"),
    ):
        headers = {
            "X-ML-Timestamp": "17",
            "X-ML-Signature": f"v2={HEX}",
            "X-ML-Nonce": NONCE,
            "X-ML-Key-Id": "abcd",
        }
        with pytest.raises(MalformedRequest):
            signing.parse_headers(headers | {header: value})


@pytest.mark.parametrize("path", ["/a%2fb", "/a//b", "/a/./b", "/a/../b", "//", "/.", "/a/.."])
def test_a_path_that_may_be_rewritten_on_its_way_is_no_path_of_v2(path):
    with pytest.raises(MalformedRequest):
        signing.demand_plain_path(path)


@pytest.mark.parametrize("path", ["/a/b", "/a?x=%2f//..", "/a.b/..c", "/annotations:bulk"])
def test_other_paths_are(path):
    assert signing.demand_plain_path(path) is None


def test_the_mac_is_what_the_contract_says():
    expected = hmac.new(SECRET.encode(), f"{NOW}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert plain(SECRET, str(NOW), BODY) == f"sha256={expected}"


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
    with pytest.raises(SignatureInvalid):
        verify(headers)
    headers["X-ML-Signature"] = plain(SECRET, str(NOW), BODY).replace("sha256=", "v2=")
    with pytest.raises(SignatureInvalid):
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
    assert verify(signed(), now=now) == "sha256"


@pytest.mark.parametrize("now", [NOW - 300.5, NOW + 300.5, NOW + 301])
def test_outside_the_window(now):
    with pytest.raises(TimestampSkew) as refusal:
        verify(signed(), now=now)
    assert refusal.value.extra == {"server_time": int(now)}


@given(st.text(), st.integers(0, 10**11 - 1), st.binary(max_size=200))
def test_what_was_signed_verifies(secret, timestamp, body):
    headers = {"X-ML-Timestamp": str(timestamp)}
    headers["X-ML-Signature"] = plain(secret, str(timestamp), body)
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


# --- webhooks ----------------------------------------------------------------------------------------------------


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4), st.integers(1, 2**32), st.text())
def test_webhooks_are_signed_as_the_library_of_their_receivers_does(
    secrets: list[str], timestamp: int, text: str
) -> None:
    moment = datetime.fromtimestamp(timestamp, UTC)
    found = signing.sign_webhook(secrets, "msg-1", timestamp, text.encode())
    keys = [hmac.new(secret.encode(), b"loupe-webhook-1", hashlib.sha256).digest() for secret in secrets]
    assert found.split(" ") == [Webhook(key).sign("msg-1", moment, text) for key in keys]


def test_a_receiver_of_webhooks_cannot_sign_as_a_pipeline() -> None:
    key = signing.webhook_secret(SECRET)
    assert key != SECRET.encode() and len(key) == 32
    with pytest.raises(SignatureInvalid):
        verify(signed(key.decode("latin-1")))
