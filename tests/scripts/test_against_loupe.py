"""What the scripts sign, judged by a served Loupe: the client with both kinds of secret, sign.py, and Node."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.extensions import db
from app.models import SYSTEM, Analysis, Project
from app.services import pipeline_keys
from scripts.loupe_client import Client, Refused
from tests.cast import SECRET
from tests.conftest import LiveServer
from tests.factories import picture
from tests.scripts.conftest import box
from tests.support.server import ROOT

SEALED = "a key to encrypt signing secrets under"
KINDS = ["the secret of the callbacks", "a pipeline key", "a pipeline key, plain"]


@pytest.fixture(scope="module")
def loupe(_serve: Callable[..., LiveServer]) -> LiveServer:
    return _serve(ML_KEY_ENCRYPTION_KEYS=SEALED)


@pytest.fixture(scope="module")
def project(loupe: LiveServer) -> Project:
    return loupe.world.project("Leaves", owner=loupe.world.person("owner@example.org"))


@pytest.fixture
def image(loupe: LiveServer, project: Project) -> str:
    return str(loupe.world.image(project, content=picture(64, 48)).id)


@pytest.fixture(params=KINDS)
def client(request: pytest.FixtureRequest, loupe: LiveServer, project: Project) -> Client:
    if request.param == KINDS[0]:
        return Client(loupe.url, SECRET)
    scheme = "plain" if request.param.endswith("plain") else "v2"
    with loupe.world.app.app_context():
        rows = [db.session.get_one(Project, project.id)]
        made = pipeline_keys.create("worker", rows, encryption_keys=[SEALED], by=SYSTEM, min_scheme=scheme)
        db.session.commit()
        return Client(loupe.url, made.signing_secret, made.full, scheme)


def test_a_whole_life(client: Client, image: str) -> None:
    analysis = client.create(image, "a model", "1.0.0")
    analysis.start()
    path = analysis.upload("heatmap", "heat.png", picture(8, 6))
    heat = {"width": 8, "height": 6}
    found = [box(number) for number in range(5)]
    found += [{"annotation_type": "heatmap", "data": heat, "storage_path": path}]
    assert [receipt["inserted"] for receipt in analysis.bulk(found)] == [6]
    assert [receipt["unchanged"] for receipt in analysis.bulk(found)] == [6]
    assert analysis.finalize("completed", expected_annotations=6)["status"] == "completed"
    held = client.read(f"/api/analyses/{analysis.id}/annotations?limit=2&skip=4").json()
    assert (held["total"], len(held["annotations"])) == (6, 2)


def test_a_clock_that_is_wrong(client: Client, image: str) -> None:
    client.clock_offset = -4000
    client.create(image, "a model", "1.0.0").start()
    assert abs(client.clock_offset) < 5


def test_an_empty_set(client: Client, image: str) -> None:
    analysis = client.create(image, "a model", "1.0.0")
    assert [receipt["total"] for receipt in analysis.bulk([])] == [0]
    assert analysis.finalize("completed", expected_annotations=0)["annotation_count"] == 0


def test_a_job_has_one_analysis(client: Client, image: str, loupe: LiveServer) -> None:
    name = f"job of {image} {client.key_id} {client.scheme}"
    made = [client.create(image, "a model", "1.0.0", external_job_id=name) for _ in range(2)]
    assert [analysis.created for analysis in made] == [True, False]
    assert len(loupe.world.rows(Analysis, external_job_id=name)) == 1


def test_another_secret(client: Client, image: str) -> None:
    client.secret += "x"
    with pytest.raises(Refused) as refusal:
        client.create(image, "a model", "1.0.0")
    assert refusal.value.code == "signature-invalid"


def echoed(url: str, scheme: str, key_id: str, secret: str, body: Path) -> tuple[bytes, dict[str, Any]]:
    """The string that sign.py shows, and what the server says to its curl line."""
    command = [sys.executable, str(ROOT / "scripts" / "sign.py"), "POST", f"{url}/api/pipeline/echo?a=[b]"]
    command += ["--body", str(body), "--scheme", scheme, "--key-id", key_id]
    environment = {"PATH": os.environ["PATH"], "ML_CALLBACK_HMAC_SECRET": secret}
    line = said([*command, "--print", "curl"], environment).decode()
    signed = dict(header.split(": ") for header in line.split("'") if header.startswith("X-ML-"))
    nonce = signed.get("X-ML-Nonce", "A" * 22)
    given = ["--timestamp", signed["X-ML-Timestamp"], f"--nonce={nonce}"]
    text = said([*command, *given, "--print", "string"], environment)
    return text, json.loads(said(["bash", "-c", line], environment))


def said(command: list[str], environment: dict[str, str]) -> bytes:
    return subprocess.run(command, env=environment, capture_output=True, check=True, timeout=30).stdout


@pytest.mark.parametrize("scheme", ["v2", "plain"])
def test_the_server_builds_the_string_that_is_shown(scheme: str, loupe: LiveServer, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_bytes('{"word": "né"}\r\n'.encode())
    text, answer = echoed(loupe.url, scheme, "default", SECRET, body)
    assert answer["verified"], answer
    assert answer["string_to_sign"] == {"v2" if scheme == "v2" else "sha256": text.decode()}
    _, answer = echoed(loupe.url, scheme, "default", f"{SECRET}x", body)
    assert (answer["verified"], answer["code"]) == (False, "signature-invalid")
