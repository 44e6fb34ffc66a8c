"""`flask bundle` and `scripts/verify_bundle.py`, each as somebody types it."""

import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask

from app.bundles import verifying
from app.bundles.keys import from_config
from tests.bundles.made import KEY, bundle, flipped

SCRIPT = Path(__file__).parents[2] / "scripts" / "verify_bundle.py"


@pytest.fixture
def made(app: Flask, tmp_path: Path) -> Path:
    """Signed by the app's key."""
    path = tmp_path / "made.zip"
    path.write_bytes(bundle(key=from_config(app.config)[0]))
    return path


def test_flask_bundle_verify(app: Flask, made: Path, tmp_path: Path) -> None:
    run = app.test_cli_runner().invoke
    whole = run(args=["bundle", "verify", str(made)])
    assert whole.exit_code == 0 and "whole: 3 files" in whole.output and "which was named" in whole.output
    made.write_bytes(flipped(made.read_bytes(), 100))
    lies = run(args=["bundle", "verify", str(made)])
    assert lies.exit_code == 1 and lies.output.startswith("LIES: byte 100 of the bundle")
    made.write_bytes(bundle(key=KEY))
    other = run(args=["bundle", "verify", str(made)])
    assert other.exit_code == 1 and "none that was named" in other.output
    assert run(args=["bundle", "verify", str(made), "--public-key", KEY.public]).exit_code == 0
    assert run(args=["bundle", "verify", str(tmp_path / "none.zip")]).exit_code == 2


def test_flask_bundle_verify_says_that_it_could_not(
    app: Flask, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifying, "MOST_MANIFEST", 10)
    refused = app.test_cli_runner().invoke(args=["bundle", "verify", str(made)])
    assert refused.exit_code == 2 and "no more than 10 are read" in refused.output


def test_flask_bundle_keys(app: Flask) -> None:
    [key] = from_config(app.config)
    assert app.test_cli_runner().invoke(args=["bundle", "keys"]).output == f"{key.id}\t{key.public}\n"


def script(*arguments: str, isolated: bool = False) -> subprocess.CompletedProcess[str]:
    """`isolated` is without anything installed."""
    python = [sys.executable, *(["-I", "-S"] if isolated else [])]
    return subprocess.run([*python, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_the_script(tmp_path: Path) -> None:
    path = tmp_path / "made.zip"
    path.write_bytes(bundle())
    whole = script(str(path))
    assert whole.returncode == 0 and "by the key inside" in whole.stdout, whole.stderr
    assert script(str(path), "--public-key", KEY.public).returncode == 0
    path.write_bytes(flipped(bundle(), 50))
    lies = script(str(path))
    assert (lies.returncode, lies.stdout[:34]) == (1, "LIES: byte 50 of the bundle, which")
    gone = script(str(tmp_path / "none.zip"))
    assert gone.returncode == 2 and "not checked" in gone.stderr


@pytest.mark.parametrize("key", ["", "AAAA", KEY.id, f" {KEY.public}", KEY.public[:-1], "\x1b[2J"])
def test_what_is_no_key_is_no_lie_of_the_bundle(app: Flask, made: Path, key: str) -> None:
    answer = app.test_cli_runner().invoke(args=["bundle", "verify", str(made), "--public-key", key])
    assert answer.exit_code == 2 and answer.output.startswith(f"not checked: {key!r} is no public key")


@pytest.mark.parametrize("path", [".", "none.zip", "-"])
def test_what_cannot_be_read_is_not_checked(app: Flask, path: str) -> None:
    answer = app.test_cli_runner().invoke(args=["bundle", "verify", path])
    assert answer.exit_code == 2 and answer.output.startswith("not checked: ")


def test_the_script_needs_nothing_installed(tmp_path: Path) -> None:
    path = tmp_path / "made.zip"
    path.write_bytes(bundle())
    whole = script(str(path), isolated=True)
    assert whole.returncode == 0 and "signature NOT checked" in whole.stdout, whole.stderr
    asked = script(str(path), "--public-key", KEY.public, isolated=True)
    assert asked.returncode == 2 and "cryptography" in asked.stderr
    path.write_bytes(flipped(bundle(), 50))
    assert script(str(path), isolated=True).returncode == 1
