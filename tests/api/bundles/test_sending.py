"""A bundle while it is sent: what is held meanwhile, and a storage that fails."""

import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from app.bundles.layout import local_header
from app.bundles.verifying import verify
from app.errors import StorageUnavailable
from app.extensions import db
from app.models import Analysis, Image, Project
from tests.cast import Person, Pipeline
from tests.factories import World
from tests.steps import box, check_problem, store, upload


class Failing:
    """A storage that fails when it is asked, or in the middle of a file, or ends a file before its end."""

    def __init__(self, real: Any, at_stat: bool = False, short: bool = False) -> None:
        self.real, self.at_stat, self.short = real, at_stat, short

    def stat(self, key: str) -> Any:
        if self.at_stat:
            raise StorageUnavailable
        return self.real.stat(key)

    def open(self, key: str) -> Any:
        return Breaking(self.real.open(key), self.short) if key.endswith("log.txt") else self.real.open(key)

    def public_origin(self) -> None:
        return None


class Breaking:
    def __init__(self, source: Any, short: bool) -> None:
        self.source, self.info, self.short = source, source.info, short

    def __iter__(self) -> Iterator[bytes]:
        yield next(self.source)
        yield next(self.source)
        if not self.short:
            raise StorageUnavailable

    def close(self) -> None:
        self.source.close()


def test_no_transaction_is_open_between_the_pieces(
    app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(2500)])
    with app.app_context():
        pool: Any = db.engine.pool
    answer = viewer.api("GET", f"/api/analyses/{analysis.id}/bundle")
    seen = [(pool.checkedout(), len(chunk)) for chunk in answer.iter_encoded()]
    assert {number for number, _ in seen} == {0}
    assert len(seen) > 5 and max(size for _, size in seen) <= 64 * 1024


def test_the_first_byte_waits_for_no_annotations(
    app: Flask, analysis: Analysis, viewer: Person, pipeline: Pipeline, count_queries: Callable[[], Any]
) -> None:
    """Of one that runs all are set aside first, as they are at one moment: that takes the longer the more there are."""
    upload(app, pipeline, analysis)
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(1500)])
    with count_queries() as before:
        answer = viewer.api("GET", f"/api/analyses/{analysis.id}/bundle")
    assert before and not [statement for statement in before if "FROM ml_annotations" in statement]
    sent = list(answer.iter_encoded())
    assert sent[0] == local_header(f"analyses/{analysis.id}/analysis.json")
    manifest = verify(io.BytesIO(b"".join(sent))).manifest
    assert manifest["counts"] == {"analyses": 1, "annotations": 1500}
    app.extensions["storage"] = Failing(app.extensions["storage"], at_stat=True)
    check_problem(viewer.api("GET", f"/api/analyses/{analysis.id}/bundle"), 503, "storage-unavailable")


def test_the_first_byte_of_a_group_waits_for_no_annotations(
    world: World, project: Project, image: Image, viewer: Person, pipeline: Pipeline, count_queries: Any
) -> None:
    analysis = world.analysis(image, "processing", group_id="g")
    store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(1500)])
    with count_queries() as before:
        answer = viewer.api("GET", f"/api/projects/{project.id}/bundle?group_id=g")
    assert before and not [statement for statement in before if "annotations.data" in statement]
    sent = list(answer.iter_encoded())
    assert sent[0] == local_header(f"analyses/{analysis.id}/analysis.json")
    assert verify(io.BytesIO(b"".join(sent))).manifest["counts"]["annotations"] == 1500


def test_a_store_that_is_away_is_503(app: Flask, full: Analysis, viewer: Person) -> None:
    app.extensions["storage"] = Failing(app.extensions["storage"], at_stat=True)
    check_problem(viewer.api("GET", f"/api/analyses/{full.id}/bundle"), 503, "storage-unavailable")


@pytest.mark.parametrize("short", [False, True])
def test_a_store_that_fails_on_the_way_breaks_the_bundle_off(
    app: Flask, full: Analysis, viewer: Person, pipeline: Pipeline, short: bool
) -> None:
    """What arrived has no manifest, so nobody takes it for whole."""
    app.extensions["storage"].put(f"ml_outputs/{full.id}/log.txt", bytes(300_000), "text/plain")
    app.extensions["storage"] = Failing(app.extensions["storage"], short=short)
    answer = viewer.api("GET", f"/api/analyses/{full.id}/bundle")
    arrived = bytearray()
    with pytest.raises(StorageUnavailable):
        for chunk in answer.iter_encoded():
            arrived += chunk
    assert arrived and b"manifest.json" not in arrived
    assert not zipfile.is_zipfile(io.BytesIO(arrived))


def test_head_sends_no_body_and_leaves_nothing_open(full: Analysis, viewer: Person) -> None:
    answer = viewer.api("HEAD", f"/api/analyses/{full.id}/bundle")
    assert (answer.status_code, answer.data) == (200, b"")
