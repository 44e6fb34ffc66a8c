"""A large analysis is read for its viewers as soon as it has ended, after the pipeline has its answer."""

from pathlib import Path

import pytest
from flask import Flask

from app.models import Analysis
from app.services import snapshots
from tests.cast import Pipeline
from tests.steps import box, store


def prepared(app: Flask, analysis: Analysis) -> list[str]:
    folder = Path(app.instance_path) / "storage" / "renders" / "analyses" / str(analysis.id)
    return [file.name for file in folder.glob("snapshot-*.npz")]


def test_the_end_of_a_large_analysis_prepares_its_snapshot(
    app: Flask, analysis: Analysis, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "STORED_ABOVE", 1)
    store(pipeline, analysis, [box(client_id=name) for name in "ab"])
    assert prepared(app, analysis) == []
    answer = pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    answer.close()  # as a server does when it has sent it
    assert len(prepared(app, analysis)) == 1


def test_that_of_a_small_one_is_read_when_it_is_asked_for(
    app: Flask, analysis: Analysis, pipeline: Pipeline
) -> None:
    store(pipeline, analysis, [box()])
    answer = pipeline.post(f"/api/analyses/{analysis.id}/finalize", {"status": "completed"})
    answer.close()  # as a server does when it has sent it
    assert prepared(app, analysis) == []
