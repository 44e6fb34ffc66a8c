"""Signatures of requests, met through HTTP: the pure functions have their own tests in test_signing.py."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.models import Analysis
from tests.cast import SECRET, encode, pipeline_in_process, plain_signature
from tests.factories import some_id

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "signature-vectors.json").read_text())
HEX = "0" * 64
NONCE = "Zm9vYmFyYmF6cXV4MDEyMw"
BODY = {"status": "completed"}


@pytest.fixture
def path(analysis, clock):
    """Of finalize, which no key alone opens; the clock stands still."""
    return f"/api/analyses/{analysis.id}/finalize"


def refusal(answer):
    assert answer.mimetype == "application/problem+json"
    assert answer.json["status"] == answer.status_code
    return answer.status_code, answer.json["code"]


# --- the cases of the contract -----------------------------------------------------------------------------------


def ids(case):
    return case["name"]


@pytest.mark.parametrize("vector", [one for one in VECTORS["valid"] if one["scheme"] == "plain"], ids=ids)
def test_valid_vectors(client, switched, clock, world, image, vector):
    """Signed rightly, a request gets as far as its body or its row."""
    switched(ML_CALLBACK_HMAC_SECRET=(vector["secret"],))
    clock.set(datetime.fromtimestamp(int(vector["timestamp"]), UTC))
    body = bytes.fromhex(vector["body_hex"])
    headers = {"X-ML-Timestamp": vector["timestamp"], "X-ML-Signature": vector["signature"]}
    answer = client.post(f"/api/analyses/{some_id()}/finalize", data=body, headers=headers)
    assert refusal(answer) == ((404, "not-found") if body else (400, "malformed-request"))
    row = world.analysis(image, "processing")
    if b"completed" in body:
        assert client.post(f"/api/analyses/{row.id}/finalize", data=body, headers=headers).status_code == 200


# --- missing and wrong -------------------------------------------------------------------------------------------


def test_missing(pipeline, path, unchanged):
    with unchanged(Analysis):
        assert refusal(pipeline.post(path, BODY, sign=False)) == (401, "signature-missing")


def test_timestamp_alone(pipeline, path):
    headers = {"X-ML-Timestamp": str(pipeline.now())}
    assert refusal(pipeline.post(path, BODY, sign=False, headers=headers)) == (401, "signature-missing")


def test_signature_alone(pipeline, path):
    headers = {"X-ML-Signature": plain_signature(encode(BODY), "")}
    assert refusal(pipeline.post(path, BODY, sign=False, headers=headers)) == (401, "signature-missing")


@pytest.mark.parametrize("secret", [SECRET + "x", SECRET[:-1], SECRET.upper(), "x"])
def test_wrong_secret(pipeline, path, unchanged, secret):
    with unchanged(Analysis):
        assert refusal(pipeline.post(path, BODY, secret=secret)) == (401, "signature-invalid")


def test_existing_and_missing_rows_are_refused_alike(pipeline, path):
    missing = f"/api/analyses/{some_id()}/finalize"
    answers = [pipeline.post(one, BODY, secret="x").json for one in (path, missing)]
    assert [answer | {"request_id": ""} for answer in answers[:1]] == [answers[1] | {"request_id": ""}]


def test_a_changed_body(pipeline, path):
    """The very bytes are signed, not what they mean."""
    moment = str(pipeline.now())
    headers = {"X-ML-Signature": plain_signature(encode(BODY), moment), "X-ML-Timestamp": moment}
    changed = encode(BODY).replace(b": ", b":")
    assert refusal(pipeline.post(path, raw=changed, headers=headers)) == (401, "signature-invalid")


def test_a_changed_timestamp(pipeline, path):
    headers = {"X-ML-Timestamp": str(pipeline.now() + 1)}
    assert refusal(pipeline.post(path, BODY, headers=headers)) == (401, "signature-invalid")


def test_the_timestamp_is_signed_as_it_was_sent(pipeline, path):
    assert pipeline.post(path, BODY, timestamp=f"0{pipeline.now()}").status_code == 200


def test_bytes_as_received(pipeline, path):
    """Spaces, order and escapes are the sender's."""
    raw = b' {"error_message" :"\\u00fc \xc3\xbc",\n\t"status":"failed"}\r\n'
    answer = pipeline.post(path, raw=raw)
    assert (answer.status_code, answer.json["error_message"]) == (200, "ü ü")


# --- the window --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-300, -299, -1, 0, 1, 299, 300])
def test_inside_the_window(pipeline, path, seconds):
    assert pipeline.post(path, BODY, timestamp=pipeline.now() + seconds).status_code == 200


@pytest.mark.parametrize("seconds", [-100_000, -301, 301, 100_000])
def test_outside_the_window(pipeline, path, unchanged, seconds):
    with unchanged(Analysis):
        answer = pipeline.post(path, BODY, timestamp=pipeline.now() + seconds)
    assert refusal(answer) == (401, "timestamp-skew")
    assert answer.json["server_time"] == pipeline.now()


@pytest.mark.parametrize("timestamp", ["0", "99999999999"])
def test_far_outside_the_window(pipeline, path, timestamp):
    assert refusal(pipeline.post(path, BODY, timestamp=timestamp)) == (401, "timestamp-skew")


def test_fractions_of_the_clock_count(pipeline, path, clock):
    clock.advance(0.5)
    now = int(clock().timestamp())
    assert refusal(pipeline.post(path, BODY, timestamp=now - 300)) == (401, "timestamp-skew")
    assert pipeline.post(path, BODY, timestamp=now + 300).status_code == 200


def test_the_window_setting(pipeline, path, switched):
    switched(ML_SIGNATURE_MAX_SKEW_SECONDS=10)
    assert refusal(pipeline.post(path, BODY, timestamp=pipeline.now() - 11)) == (401, "timestamp-skew")
    assert pipeline.post(path, BODY, timestamp=pipeline.now() - 10).status_code == 200


# --- several secrets and several elements ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "secret", ["newest-secret-00000000", "older-secret-000000000", "oldest-ünïcödé-0000"]
)
def test_rotation(make_app, world, image, secret):
    secrets = "newest-secret-00000000, older-secret-000000000,oldest-ünïcödé-0000"
    signing = pipeline_in_process(make_app(ML_CALLBACK_HMAC_SECRET=secrets))
    path = f"/api/analyses/{world.analysis(image, 'processing').id}/finalize"
    assert refusal(signing.post(path, BODY, secret=SECRET)) == (401, "signature-invalid")
    assert refusal(signing.post(path, BODY, secret=secrets)) == (401, "signature-invalid")
    assert signing.post(path, BODY, secret=secret).status_code == 200


def elements(pipeline, *secrets):
    moment = str(pipeline.now())
    header = " ".join(plain_signature(encode(BODY), moment, secret) for secret in secrets)
    return {"X-ML-Timestamp": moment, "X-ML-Signature": header}


@pytest.mark.parametrize("secrets", [(SECRET, "x"), ("x", SECRET), ("x", "y", "z", SECRET), (SECRET,) * 4])
def test_one_right_element_is_enough(pipeline, path, secrets):
    assert pipeline.post(path, BODY, headers=elements(pipeline, *secrets)).status_code == 200


def test_no_right_element(pipeline, path):
    headers = elements(pipeline, "x", "y", "z")
    assert refusal(pipeline.post(path, BODY, headers=headers)) == (401, "signature-invalid")


def test_v2_beside_plain(pipeline, path):
    headers = elements(pipeline, SECRET)
    headers |= {"X-ML-Signature": f"v2={HEX} {headers['X-ML-Signature']}"}
    headers |= {"X-ML-Nonce": NONCE, "X-ML-Key-Id": "default"}
    assert pipeline.post(path, BODY, headers=headers).status_code == 200


def test_v2_alone_is_not_taken_yet(pipeline, path, unchanged):
    headers = {"X-ML-Signature": f"v2={HEX}", "X-ML-Nonce": NONCE, "X-ML-Key-Id": "default"}
    with unchanged(Analysis):
        assert pipeline.post(path, BODY, headers=headers).status_code == 401


@pytest.mark.parametrize("nonce", [NONCE, "-" * 22, "_" * 64])
def test_a_nonce_beside_plain(pipeline, path, nonce):
    assert pipeline.post(path, BODY, headers={"X-ML-Nonce": nonce}).status_code == 200


# --- form --------------------------------------------------------------------------------------------------------

WRONG_FORM = [
    ("X-ML-Timestamp", ""),
    ("X-ML-Timestamp", "+1772625600"),
    ("X-ML-Timestamp", "-1772625600"),
    ("X-ML-Timestamp", "1772625600.0"),
    ("X-ML-Timestamp", "1_772_625_600"),
    ("X-ML-Timestamp", "1.7e9"),
    ("X-ML-Timestamp", "0x69a81bc0"),
    ("X-ML-Timestamp", "now"),
    ("X-ML-Timestamp", "177262560000"),
    ("X-ML-Timestamp", "١٧٧٢٦٢٥٦٠٠".encode().decode("latin-1")),
    ("X-ML-Signature", ""),
    ("X-ML-Signature", HEX),
    ("X-ML-Signature", "sha256="),
    ("X-ML-Signature", f"sha256={HEX[1:]}"),
    ("X-ML-Signature", f"sha256={HEX}0"),
    ("X-ML-Signature", f"sha256={'A' * 64}"),
    ("X-ML-Signature", f"sha256={'g' * 64}"),
    ("X-ML-Signature", f"SHA256={HEX}"),
    ("X-ML-Signature", f"sha1={HEX}"),
    ("X-ML-Signature", f"sha512={HEX}"),
    ("X-ML-Signature", f"v1={HEX}"),
    ("X-ML-Signature", f"sha256:{HEX}"),
    ("X-ML-Signature", f"sha256={HEX},sha256={HEX}"),
    ("X-ML-Signature", f"sha256={HEX}, sha256={HEX}"),
    ("X-ML-Signature", f"sha256={HEX}  sha256={HEX}"),
    ("X-ML-Signature", " ".join([f"sha256={HEX}"] * 5)),
    ("X-ML-Signature", f"v2={HEX}"),
    ("X-ML-Nonce", ""),
    ("X-ML-Nonce", "short"),
    ("X-ML-Nonce", "x" * 65),
    ("X-ML-Nonce", "a b" * 8),
    ("X-ML-Key-Id", "abc"),
    ("X-ML-Key-Id", "a.b.c.d"),
    ("X-ML-Key-Id", "x" * 65),
]


@pytest.mark.parametrize(("name", "value"), WRONG_FORM)
def test_wrong_form(pipeline, path, unchanged, name, value):
    with unchanged(Analysis):
        assert refusal(pipeline.post(path, BODY, headers={name: value})) == (400, "malformed-request")


# --- keys beside and instead -------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["owner", "editor", "viewer", "admin"])
def test_a_key_beside_the_signature(request, pipeline, path, who):
    headers = {"Authorization": f"Bearer {request.getfixturevalue(who).key}"}
    assert pipeline.post(path, BODY, headers=headers).status_code == 200


def test_a_strangers_key_beside_the_signature(pipeline, path, stranger, unchanged):
    with unchanged(Analysis):
        answer = pipeline.post(path, BODY, headers={"X-API-Key": stranger.key})
    assert refusal(answer) == (403, "forbidden")


@pytest.mark.parametrize("header", ["X-API-Key", "Authorization"])
@pytest.mark.parametrize("form", ["nonsense", "", "mluser_aaaaaaaa_" + "x" * 43, "{}x", "ä" * 10, "mlpip_{}"])
def test_a_wrong_key_beside_the_signature(pipeline, path, viewer, unchanged, header, form):
    key = form.format(viewer.key).encode().decode("latin-1")
    value = f"Bearer {key}" if header == "Authorization" else key
    with unchanged(Analysis):
        answer = pipeline.post(path, BODY, headers={header: value})
    assert refusal(answer) == (401, "signature-invalid")


@pytest.mark.parametrize("value", ["Basic dTpw", "Bearer", ""])
def test_another_authorization(pipeline, path, value):
    answer = pipeline.post(path, BODY, headers={"Authorization": value})
    assert answer.status_code == 401


def test_a_wrong_signature_beside_a_right_key(pipeline, path, owner):
    answer = pipeline.post(path, BODY, secret="x", headers={"X-API-Key": owner.key})
    assert refusal(answer) == (401, "signature-invalid")


def test_cookies_are_ignored(owner, path, unchanged):
    with unchanged(Analysis):
        answer = owner.client.post(path, json=BODY)
    assert refusal(answer) == (401, "signature-missing")


# --- signatures that are not required ----------------------------------------------------------------------------


@pytest.fixture
def optional(switched):
    switched(ML_PIPELINE_REQUIRE_HMAC=False)


def test_a_key_is_enough_where_no_signature_is_required(optional, editor, path):
    assert editor.api("POST", path, json=BODY).status_code == 200


def test_nobody_is_never_enough(optional, pipeline, path):
    assert refusal(pipeline.post(path, BODY, sign=False)) == (401, "unauthenticated")


def test_a_signature_is_enough_where_none_is_required(optional, pipeline, path):
    assert pipeline.post(path, BODY).status_code == 200


def test_a_signature_that_is_there_must_be_right(optional, pipeline, path, owner, unchanged):
    key = {"X-API-Key": owner.key}
    with unchanged(Analysis):
        wrong = pipeline.post(path, BODY, secret="x", headers=key)
        old = pipeline.post(path, BODY, timestamp=1, headers=key)
        form = pipeline.post(path, BODY, headers=key | {"X-ML-Signature": "sha256=1"})
    assert refusal(wrong) == (401, "signature-invalid")
    assert refusal(old) == (401, "timestamp-skew")
    assert refusal(form) == (400, "malformed-request")


def test_a_session_is_not_enough_where_no_signature_is_required(optional, owner, path):
    assert refusal(owner.client.post(path, json=BODY)) == (401, "unauthenticated")


# --- no secret ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [True, False])
def test_no_secret_is_set(make_app, world, image, sign):
    signing = pipeline_in_process(make_app(ML_CALLBACK_HMAC_SECRET=""))
    path = f"/api/analyses/{world.analysis(image, 'processing').id}/finalize"
    answer = signing.post(path, BODY, sign=sign)
    assert refusal(answer) == (503, "signing-not-configured")
    assert int(answer.headers["Retry-After"]) > 0


def test_people_still_cancel_when_no_secret_is_set(make_app, world, image, editor):
    path = f"/api/analyses/{world.analysis(image, 'processing').id}/status"
    person = replace(editor, app=make_app(ML_CALLBACK_HMAC_SECRET=""))
    assert person.api("PATCH", path, json={"status": "canceled"}).status_code == 200


def test_an_empty_secret_never_counts(make_app, world, image):
    signing = pipeline_in_process(make_app(ML_CALLBACK_HMAC_SECRET=" ,, "))
    path = f"/api/analyses/{world.analysis(image, 'processing').id}/finalize"
    moment = str(signing.now())
    headers = {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(encode(BODY), moment, "")}
    assert signing.post(path, BODY, sign=False, headers=headers).status_code == 503


# --- reading -----------------------------------------------------------------------------------------------------


def test_a_plain_signature_authorises_no_reading(pipeline, analysis):
    answer = pipeline.request("GET", f"/api/analyses/{analysis.id}")
    assert refusal(answer) == (401, "scheme-not-allowed")


# --- the proxy's sign-in -----------------------------------------------------------------------------------------


def test_the_proxys_person(switched, app, world, image, job, viewer, editor):
    """`X-User-Email` with the proxy's secret is that person, without it nobody."""
    switched(AUTH_PROXY_SECRET="proxy-secret")
    path = f"/api/images/{image.id}/analyses"

    def status(email, secret, **more):
        headers = {"X-User-Email": email, "X-Proxy-Secret": secret, **more}
        return app.test_client().post(path, json=job, headers=headers).status_code

    assert status(editor.email, "proxy-secret") == 201
    assert status(editor.email, "other") == 401
    assert status(viewer.email, "proxy-secret") == 403
    assert status("unknown@example.org", "proxy-secret") == 403
    assert status(editor.email, "proxy-secret", Origin="https://evil.example") == 403
    assert status(editor.email, "proxy-secret", **{"Sec-Fetch-Site": "cross-site"}) == 403
