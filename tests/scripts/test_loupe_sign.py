"""scripts/loupe_sign.mjs in a real Node, against the worked cases and the client in Python."""

import base64
import json
import subprocess
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scripts.loupe_client import Signable, signature_headers, string_to_sign
from tests.support.server import ROOT
from tests.support.stand_in import SECRET, StandIn

MODULE = ROOT / "scripts" / "loupe_sign.mjs"
VECTORS = json.loads((ROOT / "tests" / "data" / "signature-vectors.json").read_text())
NOT_NEW_LINE = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)


def signed(node: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each request as a line to the command, and its answers."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run(
        [node, str(MODULE)], input=lines.encode(), capture_output=True, timeout=60, check=True
    )
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked(vector: dict[str, str]) -> dict[str, Any]:
    names = ("scheme", "secret", "method", "target", "timestamp", "nonce", "body_hex")
    return {
        "keyId": vector.get("key_id", "default"),
        **{name: vector[name] for name in names if name in vector},
    }


def test_the_worked_cases(node: str) -> None:
    answers = signed(node, [asked(vector) for vector in VECTORS["valid"]])
    for vector, answer in zip(VECTORS["valid"], answers, strict=True):
        assert answer["headers"]["X-ML-Signature"] == vector["signature"]
        if vector["scheme"] == "v2":
            assert bytes.fromhex(answer["string_to_sign_hex"]).decode() == vector["string_to_sign"]
            assert answer["headers"]["X-ML-Key-Id"] == vector["key_id"]
            assert answer["headers"]["X-ML-Nonce"] == vector["nonce"]
        else:
            assert answer["headers"].keys() == {"X-ML-Timestamp", "X-ML-Signature"}


def test_what_is_to_be_refused_is_not_what_would_be_signed(node: str) -> None:
    refused = [vector for vector in VECTORS["invalid"] if vector["expect"] == 401]
    for vector, answer in zip(refused, signed(node, [asked(vector) for vector in refused]), strict=True):
        assert answer["headers"]["X-ML-Signature"] != vector["signature"]


REQUEST = st.fixed_dictionaries(
    {
        "scheme": st.sampled_from(["v2", "plain"]),
        "secret": NOT_NEW_LINE,
        "method": NOT_NEW_LINE,
        "target": NOT_NEW_LINE,
        "keyId": NOT_NEW_LINE,
        "timestamp": st.integers(0, 10**11 - 1).map(str),
        "nonce": NOT_NEW_LINE,
        "body_hex": st.binary().map(bytes.hex),
    }
)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(REQUEST, min_size=20, max_size=20))
def test_any_request_is_signed_as_in_python(node: str, requests: list[dict[str, Any]]) -> None:
    for request, answer in zip(requests, signed(node, requests), strict=True):
        body = bytes.fromhex(request["body_hex"])
        parts = Signable(
            request["method"],
            request["target"],
            body,
            request["timestamp"],
            request["keyId"],
            request["nonce"],
        )
        assert answer["headers"] == signature_headers(request["scheme"], request["secret"], parts)
        assert bytes.fromhex(answer["string_to_sign_hex"]) == string_to_sign(request["scheme"], parts)


PROGRAM = """
import { headersFor } from %(module)s;
const [base, secret, method, path, body, scheme] = process.argv.slice(1);
const url = new URL(path, base);
const request = { method, target: url.pathname + url.search, body };
for (const attempt of [1, 2]) {
  const headers = { "Content-Type": "application/json", ...headersFor(request, { secret, scheme }) };
  const answer = await fetch(url, { method, headers, body });
  console.log(answer.status);
}
"""


def test_what_node_sends_is_accepted(node: str, stand_in: StandIn) -> None:
    """A body beyond ASCII, as a string, in both schemes; each attempt with a nonce of its own."""
    body = json.dumps({"status": "processing", "reason": "né 😀"}, ensure_ascii=False)
    program = PROGRAM % {"module": json.dumps(MODULE.as_uri())}
    for scheme in ("v2", "plain"):
        path = f"/api/analyses/{stand_in.queue()}/status?why=1"
        command = [
            node,
            "--input-type=module",
            "-e",
            program,
            stand_in.url,
            SECRET,
            "PATCH",
            path,
            body,
            scheme,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.split() == ["200", "200"], done.stderr
    nonces = [request["X-ML-Nonce"] for request in stand_in.seen[:2]]
    assert len({base64.urlsafe_b64decode(f"{nonce}==") for nonce in nonces}) == 2
