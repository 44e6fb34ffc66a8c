"""`make bench` with small numbers: both servers come up, are measured side by side, and are gone afterwards."""

import json
import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.schemas.annotations import AnnotationOut
from benchmarks import load, run
from benchmarks.baseline import annotations
from tests.benchmarks.test_load import SMALL

pytestmark = pytest.mark.one_database


@pytest.mark.soak
def test_the_whole_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(load, "QUICK", replace(SMALL, bulk=(50,), connections=(3,)))
    cores, tables = os.sched_getaffinity(0), tmp_path / "tables.md"
    words = ["--quick", "--check", "--database", "sqlite", "--markdown", str(tables)]
    assert run.main([*words, "--only", "bulk", "show"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["about"]["database"].startswith("SQLite 3.")
    assert set(found["about"]["versions"]) == set(run.PACKAGES)
    assert found["floors"] == []
    figures = found["figures"]
    assert list(figures) == ["bulk 50 × 3", "GET analysis with 60"]
    for figure in figures.values():
        assert figure["loupe"]["samples"] == figure["baseline"]["samples"] >= 2
        assert figure["times_baseline"] > 0
    assert set(figures["bulk 50 × 3"]["server_microseconds_each"]) == {"loupe", "baseline"}
    assert "| bulk 50 × 3 | annotations/s |" in tables.read_text()
    assert os.sched_getaffinity(0) == cores
    assert not [child for child in psutil.Process().children(recursive=True) if "gunicorn" in child.name()]


def test_the_baseline_sends_the_fields_that_loupe_sends() -> None:
    assert list(AnnotationOut().fields) == annotations.NAMES
