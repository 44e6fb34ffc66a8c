"""The client's claims and heartbeats, and the worker loop, against a served Loupe."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.models import Analysis, Project
from scripts.loupe_client import Client, Lease, Refused, Stopped
from tests.cast import SECRET, Person
from tests.conftest import LiveServer
from tests.factories import picture
from tests.scripts.conftest import box
from tests.support.server import ROOT


@pytest.fixture(scope="module")
def loupe(_serve: Callable[..., LiveServer]) -> LiveServer:
    return _serve(ML_PIPELINE_PULL_ENABLED="true")


@pytest.fixture(scope="module")
def owner(loupe: LiveServer) -> Person:
    return loupe.world.person("owner@example.org")


@pytest.fixture(scope="module")
def project(loupe: LiveServer, owner: Person) -> Project:
    return loupe.world.project("Leaves", owner=owner)


@pytest.fixture
def client(loupe: LiveServer) -> Client:
    return Client(loupe.url, SECRET)


@pytest.fixture
def queued(loupe: LiveServer, project: Project, client: Client) -> Callable[[], str]:
    def make() -> str:
        image = loupe.world.image(project, content=picture(64, 48))
        return client.create(str(image.id), "a model", "1.0.0").id

    return make


def test_a_lease_outlives_its_first_term(client: Client, queued: Callable[[], str]) -> None:
    analysis = client.claim(queued(), "worker-1", lease_seconds=3)
    with pytest.raises(Refused, match="already-claimed"):
        client.claim(analysis.id, "worker-2")
    with Lease(analysis) as lease:
        ends = lease._ends
        deadline = time.monotonic() + 60
        while time.monotonic() < ends + 0.5:  # a whole term, which only heartbeats outlast
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lease.check()
        assert len(analysis.picture()) > 0
        path = analysis.upload("heatmap", "heat.png", picture(8, 6))
        heat = {"annotation_type": "heatmap", "data": {"width": 8, "height": 6}, "storage_path": path}
        analysis.bulk([box(1), heat])
        assert analysis.finalize("completed", expected_annotations=2)["status"] == "completed"


def test_who_has_no_lease_writes_nothing(client: Client, queued: Callable[[], str]) -> None:
    analysis = client.claim(queued(), "worker-1")
    token = analysis.row.pop("lease_token")
    with pytest.raises(Stopped, match="lease-lost"):
        analysis.bulk([box(1)])
    analysis.row["lease_token"] = token
    assert analysis.bulk([box(1)])[0]["total"] == 1


def test_a_person_cancels_what_a_worker_has(
    client: Client, queued: Callable[[], str], loupe: LiveServer, owner: Person
) -> None:
    analysis = client.claim(queued(), "worker-1", lease_seconds=2)
    with Lease(analysis) as lease:
        loupe.api(owner, "PATCH", f"/api/analyses/{analysis.id}/status", json={"status": "canceled"})
        deadline = time.monotonic() + 60
        while lease.stopped is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(Stopped) as stopped:
            lease.check()
    assert stopped.value.canceled
    with pytest.raises(Stopped) as stopped:
        analysis.bulk([box(1)])
    assert stopped.value.canceled


def test_workers_share_a_queue(
    client: Client, queued: Callable[[], str], loupe: LiveServer, tmp_path: Path
) -> None:
    names = [queued() for _ in range(4)]
    environment = {"PATH": os.environ["PATH"], "LOUPE_URL": loupe.url, "ML_CALLBACK_HMAC_SECRET": SECRET}
    command = [sys.executable, "-W", "error", str(ROOT / "scripts" / "worker_loop.py")]
    with (tmp_path / "log").open("w") as log:
        workers = [
            subprocess.Popen(command, env=environment | {"WORKER_PAUSE": "0.1"}, stdout=log, stderr=log)
            for _ in range(2)
        ]
        try:
            deadline = time.monotonic() + 20
            while states(loupe, names) != {"completed"} and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
                worker.wait(10)
    assert states(loupe, names) == {"completed"}, (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text() == ""
    assert {client.read(f"/api/analyses/{name}").json()["annotation_count"] for name in names} == {1}


def states(loupe: LiveServer, names: list[str]) -> set[str]:
    return {row.status for row in loupe.world.rows(Analysis) if str(row.id) in names}
