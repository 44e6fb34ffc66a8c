"""`make bench` with small numbers: both servers come up, are measured side by side, and are gone afterwards."""

import json
import os
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from app.schemas.annotations import AnnotationOut
from benchmarks import large, load, run
from benchmarks.baseline import annotations, make_app
from benchmarks.wire import Target
from tests.benchmarks.test_load import SMALL
from tests.cast import SECRET
from tests.conftest import LiveServer

pytestmark = pytest.mark.one_database
BESIDE = {
    "patch": "PATCH status",
    "heartbeat": "heartbeat",
    "presign": "presign",
    "finalize": "finalize",
    "poll": "unchanged poll",
}
ALONE = ("overlay", "lists", "memory")
OVERLAYS = ["overlay of 30 boxes, first time", "overlay of 30 boxes, from cache"]
PLACES = ("first", "middle", "last")
LISTS = [
    *(f"list among 2,000: {place}" for place in PLACES),
    "list of a small project beside 2,000: first",
    *(f"gallery among 2,000: {place}" for place in PLACES),
    *(f"gallery by text among 2,000: {place}" for place in PLACES),
]
MEMORY = "memory grown by 360 mixed requests"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("kind", "known_as"),
    [("sqlite", "SQLite 3."), ("postgresql", "PostgreSQL ")],
    ids=["sqlite", "postgresql"],
)
def test_the_whole_command(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
    known_as: str,
) -> None:
    """It starts either database by itself. A quick run says nothing about the floors, so none is missed."""
    monkeypatch.setattr(load, "QUICK", replace(SMALL, bulk=(50,), connections=(3,), bulk_alone=()))
    cores, tables = os.sched_getaffinity(0), tmp_path / "tables.md"
    words = ["--quick", "--check", "--database", kind, "--markdown", str(tables)]
    assert run.main([*words, "--only", "bulk", "show", *BESIDE, *ALONE]) == 0
    (found,) = json.loads(capsys.readouterr().out)["runs"]
    assert found["about"]["database"].startswith(known_as)
    assert set(found["about"]["versions"]) == set(run.PACKAGES)
    assert found["floors"] == []
    figures = found["figures"]
    changed = [name for name in BESIDE.values() if name != "unchanged poll"]
    twice = [f"{more}{name}" for name in changed for more in ("", "beside autocommit: ")]
    beside = ["bulk 50 × 3", "GET analysis with 60", *twice, "unchanged poll"]
    assert list(figures) == [*beside, *OVERLAYS, *LISTS, MEMORY]
    for name in beside:
        assert figures[name]["loupe"]["samples"] == figures[name]["baseline"]["samples"] >= 2
        assert figures[name]["times_baseline"] > 0
    assert set(figures["bulk 50 × 3"]["server_microseconds_each"]) == {"loupe", "baseline"}
    assert "| bulk 50 × 3 | annotations/s |" in tables.read_text()
    assert os.sched_getaffinity(0) == cores
    assert not [child for child in psutil.Process().children(recursive=True) if "gunicorn" in child.name()]


@pytest.mark.soak
def test_the_large_database_beside_an_empty_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the floors are met is of no account with so few samples."""
    monkeypatch.setattr(load, "QUICK", replace(SMALL, cached=2))
    words = ["--quick", "--annotations", "100", "--analyses", "2000", "--growth", "100"]
    assert large.main([*words, "--only", "growth", "poll", "overlay", "memory"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    names = ["growth to 200", "unchanged poll", *OVERLAYS]
    assert list(found["ratios"]) == names
    assert list(found["empty"]) == list(found["large"]) == [*names, MEMORY]
    only_large = [*LISTS, "growth to 100"]
    assert list(found["only in the large one"]) == only_large
    assert {floor["what"] for floor in found["floors"]} == {MEMORY, *only_large}
    for what in [*names, MEMORY, *only_large]:
        assert what in err


def test_a_change_of_nothing_is_no_change_for_the_baseline(
    live_server: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", live_server.environ["DATABASE_URL"])
    monkeypatch.setenv("ML_CALLBACK_HMAC_SECRET", SECRET)
    client, target = make_app().test_client(), Target("baseline", live_server.url, SECRET, "")
    image = live_server.world.image(live_server.world.project("P"))
    there = live_server.world.analysis(image).id
    for method, path, body in (
        ("PATCH", "status", b'{"status":"processing"}'),
        ("POST", "heartbeat", b"{}"),
        ("POST", "artifacts/presign", b'{"filename":"heat.png"}'),
        ("POST", "finalize", b'{"status":"completed"}'),
    ):
        for analysis, status in ((there, 200), (uuid4(), 404)):
            request = target.signed(method, f"/api/analyses/{analysis}/{path}", body)
            answer = client.open(request.path, method=method, data=body, headers=request.headers)
            assert (path, answer.status_code) == (path, status)
    for image_id, status in ((image.id, 204), (uuid4(), 404)):
        assert client.get(f"/images/{image_id}/panel").status_code == status


def test_the_baseline_sends_the_fields_that_loupe_sends() -> None:
    assert tuple(AnnotationOut().fields) == annotations.NAMES
