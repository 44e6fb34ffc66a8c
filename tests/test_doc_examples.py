"""The examples in the documentation are run as they stand, against a served Loupe.

In the guide the shell blocks are one script; a Python block whose first line is `# continues` goes on from the one
before; a JavaScript block is a module. Every JSON block parses.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.annotations import TYPES
from app.annotations.base import Frame
from scripts.loupe_client import Signable, sign, string_to_sign
from tests.cast import SECRET
from tests.factories import picture

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "ML_PIPELINE_INTEGRATION.md").read_text()
README = (ROOT / "README.md").read_text()
IMPORTING = (ROOT / "docs" / "importing.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def python_programs(found: list[str]) -> Iterator[str]:
    program = ""
    for block in found:
        program = program + block if block.startswith("# continues") else block
        yield program


def run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture
def reader(live_server):
    """What a reader of the guide has: the address, the secret, a key, a project with an image."""
    person = live_server.world.person("reader@example.org")
    project = live_server.world.project("Leaves", editor=person)
    image = live_server.world.image(project, content=picture(640, 480))
    return {
        "LOUPE_URL": live_server.url,
        "ML_CALLBACK_HMAC_SECRET": SECRET,
        "API_KEY": person.key,
        "PROJECT_ID": str(project.id),
        "IMAGE_ID": str(image.id),
    }


def in_scheme(scheme: str, example: str) -> str:
    """The example as a reader changes it who signs in this scheme."""
    assert example.count('SCHEME = "v2"') + example.count("scheme=v2 ") == 1
    return example.replace('SCHEME = "v2"', f'SCHEME = "{scheme}"').replace("scheme=v2 ", f"scheme={scheme} ")


both_schemes = pytest.mark.parametrize("scheme", ["v2", "plain"])


def test_the_shell_examples_of_the_guide(reader, tmp_path):
    script = "".join(blocks(GUIDE, "sh"))
    assert script.count("annotations:bulk") >= 1 and "finalize" in script
    run(["bash", "-euo", "pipefail", "-c", script], reader, tmp_path)


def test_the_shell_examples_of_the_guide_sign_plain_too(reader, tmp_path):
    """The signing and the steps up to the first status, as all others sign alike."""
    script = in_scheme("plain", "".join(blocks(GUIDE, "sh")[:4]))
    assert '"status": "processing"' in script
    run(["bash", "-euo", "pipefail", "-c", script], reader, tmp_path)


def test_the_shell_example_of_importing(reader, tmp_path):
    (example,) = blocks(IMPORTING, "sh")
    script = ": " + blocks(GUIDE, "sh")[0].removeprefix(": ") + example
    said = run(["bash", "-euo", "pipefail", "-c", script], reader, tmp_path)
    found = "{'format': 'ultralytics', 'annotations': 2, 'extra': [{'key': 'class', 'count': 2}], 'extra_count': 1}"
    assert said.splitlines() == [found, "completed"]


def test_the_python_example_of_importing(reader, tmp_path):
    (example,) = blocks(IMPORTING, "python")
    golden = ROOT / "tests" / "data" / "importers" / "ultralytics-segment.json"
    (tmp_path / "results.json").write_bytes(golden.read_bytes())
    environment = {**reader, "PYTHONPATH": str(ROOT / "scripts")}
    said = run([sys.executable, "-W", "error", "-c", example], environment, tmp_path)
    assert "'annotations': 2" in said


@both_schemes
def test_the_python_examples_of_the_guide(scheme, reader, tmp_path):
    programs = list(python_programs(blocks(GUIDE, "python")))
    assert len(programs) >= 2
    for program in programs:
        if "SCHEME" in program:
            program = in_scheme(scheme, program)
        run([sys.executable, "-W", "error", "-c", program], reader, tmp_path)


@both_schemes
def test_the_javascript_example_of_the_guide(scheme, node, reader, tmp_path):
    programs = blocks(GUIDE, "javascript")
    assert programs
    for program in programs:
        run([node, "--input-type=module", "-e", in_scheme(scheme, program)], reader, tmp_path)


def test_the_worked_example_of_the_guide():
    secret, key_id, nonce = "an-example-secret", "default", "A" * 22
    (text,) = (block[:-1] for block in blocks(GUIDE, "text") if block.startswith("mlv2"))
    _, method, target, *_ = text.split("\n")
    body = b'{"status":"processing"}'
    request = Signable(method, target, body, "1767225600", key_id, nonce)
    assert string_to_sign("v2", request).decode() == text
    shown = [block.strip() for block in blocks(GUIDE, "text")]
    assert sign("v2", secret, request) in shown
    assert sign("plain", secret, request) in shown


@both_schemes
def test_the_mock_pipeline(scheme, reader, tmp_path):
    script = str(ROOT / "scripts" / "test_ml_pipeline.py")
    command = [sys.executable, "-W", "error", script, "--image-id", reader["IMAGE_ID"], "--scheme", scheme]
    said = run([*command, "--base-url", reader["LOUPE_URL"]], reader, tmp_path)
    assert "passed" in said


def test_the_mock_pipeline_fails_loudly(reader, tmp_path):
    script = str(ROOT / "scripts" / "test_ml_pipeline.py")
    environment = {"PATH": os.environ["PATH"], **reader, "ML_CALLBACK_HMAC_SECRET": "not the secret at all"}
    command = [sys.executable, script, "--image-id", reader["IMAGE_ID"], "--base-url", reader["LOUPE_URL"]]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert "signature-invalid" in done.stdout + done.stderr


def test_the_example_of_the_readme(reader, tmp_path):
    instance = tmp_path / "instance"
    instance.mkdir()
    (instance / "secrets.env").write_text(f"ML_CALLBACK_HMAC_SECRET={reader['ML_CALLBACK_HMAC_SECRET']}\n")
    (instance / "demo.env").write_text(f"API_KEY={reader['API_KEY']}\n")
    (example,) = (block for block in blocks(README, "sh") if "annotations:bulk" in block)
    script = example.replace("http://127.0.0.1:8000", reader["LOUPE_URL"])
    said = run(["bash", "-euo", "pipefail", "-c", script], {}, tmp_path)
    assert '"status":"completed"' in said
    assert f"{reader['LOUPE_URL']}/images/{reader['IMAGE_ID']}?analysis=" in said


@pytest.mark.parametrize(
    "block", [*blocks(GUIDE, "json"), *blocks(README, "json"), *blocks(IMPORTING, "json")]
)
def test_the_json_examples_parse(block):
    assert json.loads(block)


def test_the_guide_shows_every_type():
    shown = {json.loads(block).get("annotation_type") for block in blocks(GUIDE, "json")}
    assert shown >= TYPES.keys()


@pytest.mark.parametrize(
    "block", [block for block in blocks(GUIDE, "json") if "annotation_type" in json.loads(block)]
)
def test_the_annotations_of_the_guide_are_valid(block):
    example = json.loads(block)
    kind = TYPES.get(example["annotation_type"])
    if kind is None:
        assert example["annotation_type"] == "mask"
        return
    assert kind.load(example["data"], Frame(4000, 3000), example.get("storage_path")).data
