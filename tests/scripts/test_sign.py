"""scripts/sign.py as it is called: what it shows is what is signed, and it shows no secret."""

import hashlib
import hmac
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import ROOT
from tests.support.stand_in import KEY_ID, KEY_SECRET, PIPELINE_KEY, SECRET, StandIn

VECTORS = json.loads((ROOT / "tests" / "data" / "signature-vectors.json").read_text())["valid"]
NONCE, TIMESTAMP = "Zm9vYmFyYmF6cXV4MDEyMw", "1700000000"
ENVIRONMENT = {"PATH": os.environ["PATH"]}
GIVEN = ("--nonce", NONCE, "--timestamp", TIMESTAMP)


def run(
    *arguments: str, secret: str | None = SECRET, body: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    known = {**ENVIRONMENT, **environment}
    if secret is not None:
        known["ML_CALLBACK_HMAC_SECRET"] = secret
    command = [sys.executable, "-W", "error", str(ROOT / "scripts" / "sign.py"), *arguments]
    return subprocess.run(command, env=known, input=body, capture_output=True, check=False, timeout=30)


def said(*arguments: str, **more: str | bytes) -> str:
    done = run(*arguments, **more)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_a_worked_case(vector: dict[str, str]) -> None:
    request = [vector.get("method", "POST"), vector.get("target", "/api/analyses:claim"), "--body", "-"]
    request += ["--scheme", vector["scheme"], "--timestamp", vector["timestamp"]]
    if vector["scheme"] == "v2":
        request += ["--key-id", vector["key_id"], "--nonce", vector["nonce"]]
    body = bytes.fromhex(vector["body_hex"])
    shown = said(*request, secret=vector["secret"], body=body)
    assert f"\nX-ML-Signature: {vector['signature']}\n" in shown
    assert vector["secret"] not in shown
    assert f"body: {len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}\n" in shown
    text = run(*request, "--print", "string", secret=vector["secret"], body=body).stdout
    if vector["scheme"] == "v2":
        assert text.decode() == vector["string_to_sign"]
        assert "".join(f"  {line}\\n\n" for line in text.decode().split("\n")[:-1]) in shown
    digest = hmac.new(vector["secret"].encode(), text, "sha256").hexdigest()
    assert vector["signature"].endswith(digest)


def test_what_cannot_be_seen_shows() -> None:
    shown = said("POST", "/api/x", "--scheme", "plain", *GIVEN, "--body", "-", body="né\t\\\r\n{}".encode())
    assert "  1700000000.n\\xc3\\xa9\\t\\\\\\r\\n\n  {}\n" in shown
    dumped = said("POST", "/api/x", "--hex", *GIVEN, "--body", "-", body=b"\xef\xbb\xbf{\r\n}" + b"a" * 12)
    assert "  00000000  ef bb bf 7b 0d 0a 7d 61 61 61 61 61 61 61 61 61  |...{..}aaaaaaaaa|\n" in dumped
    assert "  00000010  61 61 61                                         |aaa|\n" in dumped


def test_a_long_body_shows_its_beginning_and_the_hash_of_all() -> None:
    body = b"a" * 5000
    shown = said("POST", "/api/x", "--body", "-", body=body)
    assert f"body: 5000 bytes, SHA-256 {hashlib.sha256(body).hexdigest()}\n" in shown
    assert "… 904 bytes more" in shown
    assert run(
        "POST", "/api/x", "--scheme", "plain", "--print", "string", *GIVEN, "--body", "-", body=body
    ).stdout == (b"1700000000." + body)


@pytest.mark.parametrize("scheme", ["v2", "plain"])
def test_the_curl_line_is_accepted(scheme: str, stand_in: StandIn, tmp_path: Path) -> None:
    """From a shell, with a query that curl would otherwise take apart and a body whose line break counts."""
    analysis, file = stand_in.queue(), tmp_path / "the body.json"
    file.write_bytes(b'{"status": "processing"}\r\n')
    address = f"{stand_in.url}/api/analyses/{analysis}/status?a=[1-2]&b={{c,d}}"
    line = said("patch", address, "--scheme", scheme, "--body", str(file), "--print", "curl")
    subprocess.run(["bash", "-c", line], capture_output=True, timeout=30, check=True, env=ENVIRONMENT)
    (seen,) = stand_in.seen
    assert (seen.status, seen.body) == (200, file.read_bytes())


def test_secret_key_id_and_address_come_from_the_environment_or_options(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{KEY_SECRET}\n")
    asked = ("GET", "/api/analyses/a?limit=1", *GIVEN)
    by_file = said(*asked, "--secret-file", str(file), secret=None, API_KEY=PIPELINE_KEY)
    assert f"X-ML-Key-Id: {KEY_ID}\n" in by_file
    assert PIPELINE_KEY not in by_file and KEY_SECRET not in by_file
    by_environment = said(*asked, "--key-id", KEY_ID, secret=f"{KEY_SECRET},older")
    assert by_file == by_environment
    assert shlex.split(by_file)[-1] == "http://127.0.0.1:8000/api/analyses/a?limit=1"
    named = said(*asked, LOUPE_URL="https://loupe.example.org/", secret="s")
    assert shlex.split(named)[-1] == "https://loupe.example.org/api/analyses/a?limit=1"
    assert "Content-Type" not in named and "X-ML-Key-Id: default\n" in named


def test_nonce_and_time_are_new_each_time() -> None:
    first, second = (said("GET", "/api/x", "--print", "headers") for _ in range(2))
    assert first != second


def test_only_headers() -> None:
    lines = said("POST", "/api/x", *GIVEN, "--body", "-", "--print", "headers", body=b"{}").splitlines()
    names = ["Content-Type", "X-ML-Timestamp", "X-ML-Signature", "X-ML-Key-Id", "X-ML-Nonce"]
    assert [line.partition(":")[0] for line in lines] == names


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (("GET", "/api/a/../b"), "segment . or .."),
        (("GET", "/api/a%20b"), "no %"),
        (("GET", "/api//b"), "no //"),
        (("GET", "/api/b", "--scheme", "plain"), "does not authorise GET"),
        (("POST", "/api/b", "--scheme", "plain", "--key-id", KEY_ID), "X-API-Key"),
        (("GET", "/api/é"), "ASCII"),
    ],
)
def test_what_will_be_refused_is_said(arguments: tuple[str, ...], warning: str) -> None:
    done = run(*arguments)
    assert done.returncode == 0
    assert warning in done.stderr.decode()


def test_a_nonce_may_begin_with_a_dash() -> None:
    shown = said("GET", "/api/x", "--nonce=-zuyYht_toffSJCn69abDA", "--print", "headers")
    assert "X-ML-Nonce: -zuyYht_toffSJCn69abDA\n" in shown


def test_a_query_may_hold_what_a_path_may_not() -> None:
    assert not run("GET", "/api/ml/artifacts/content?path=ml_outputs%2F..%2F//a").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nonce", "short"),
        ("--timestamp", "1700000000.5"),
        ("--key-id", "a b c d"),
        ("--secret-file", "/nowhere"),
        ("--body", "/nowhere"),
    ],
)
def test_what_cannot_be_signed(arguments: tuple[str, ...]) -> None:
    done = run("POST", "/api/x", *arguments)
    assert done.returncode == 2
    assert done.stderr and b"Traceback" not in done.stderr and not done.stdout


def test_without_a_secret() -> None:
    done = run("POST", "/api/x", secret=None)
    assert done.returncode == 2
    assert b"ML_CALLBACK_HMAC_SECRET" in done.stderr
