"""The same export row by row and as Loupe has it: neither is timed that does not write all rows."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from app import exports
from app.models import Analysis
from benchmarks import naive
from benchmarks.wire import Wrong
from tests.cast import Pipeline
from tests.steps import box, store

pytestmark = pytest.mark.one_database


@pytest.fixture
def filled(app: Flask, analysis: Analysis, pipeline: Pipeline) -> Iterator[Analysis]:
    """Five boxes, in the context of the app."""
    store(pipeline, analysis, [box(client_id=f"box-{number}") for number in range(5)])
    with app.app_context():
        yield analysis


def test_both_are_timed_in_each_format(filled: Analysis) -> None:
    found = naive.compared(filled.id)
    assert list(found) == ["json", "csv"]
    assert all(seconds > 0 for pair in found.values() for seconds in pair)


def test_a_row_that_is_lost_row_by_row_is_noticed(filled: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = naive.rows
    monkeypatch.setattr(naive, "rows", lambda analysis_id: list(rows(analysis_id))[1:])
    with pytest.raises(Wrong, match="the number of rows written as json row by row is 4, expected 5"):
        naive.compared(filled.id)
    with pytest.raises(Wrong, match="the number of rows written as csv is 4, expected 5"):
        naive.best("as csv", naive.as_csv, len, filled.id)


def shorter(form: str, whole: bytes) -> bytes:
    """Without the last row."""
    if form == "csv":
        return b"".join(whole.splitlines(keepends=True)[:-1])
    document = json.loads(whole)
    document["annotations"].pop()
    return json.dumps(document | {"annotation_count": 4}).encode()


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_row_that_loupe_loses_is_noticed(
    filled: Analysis, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    export = exports.of_analysis

    def losing(analysis: Analysis, asked: str, *more: Any) -> Any:
        made = export(analysis, asked, *more)
        return replace(made, chunks=iter([shorter(form, b"".join(made.chunks))])) if asked == form else made

    monkeypatch.setattr(exports, "of_analysis", losing)
    with pytest.raises(Wrong, match=f"the number of rows written as {form} by Loupe is 4, expected 5"):
        naive.compared(filled.id)
