"""Bundles from a real server: how much memory they take, and what is left when a client goes away."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from app.bundles.layout import BLOCK
from app.bundles.verifying import verify
from app.extensions import db
from app.models import Analysis, Artifact
from tests.conftest import LiveServer
from tests.factories import World
from tests.support.crowds import crowd

MIB = 1024 * 1024


class Zeros:
    """So many bytes, a block at a time."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1, /) -> bytes:
        given = min(self.left, BLOCK if size < 0 else size)
        self.left -= given
        return bytes(given)


def large(world: World, boxes: int, size: int) -> Analysis:
    """With so many annotations, and an artifact of `size` bytes."""
    analysis = crowd(world, world.image(world.project("Leaves")), boxes)
    path = f"ml_outputs/{analysis.id}/log.txt"
    stored = world.app.extensions["storage"].put(path, Zeros(size), "text/plain")
    about = {
        "artifact_type": "log",
        "content_type": "text/plain",
        "etag": stored.etag,
        "sha256": stored.sha256,
    }
    with world.app.app_context():
        row = Artifact(analysis_id=analysis.id, storage_path=path, size_bytes=size, **about)
        db.session.add(row)
        db.session.commit()
    return analysis


@contextmanager
def most_memory(live_server: LiveServer) -> Iterator[list[int]]:
    """What the workers take together: before, and the most of it meanwhile."""
    seen, over = [live_server.gunicorn.memory()] * 2, threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            seen[1] = max(seen[1], live_server.gunicorn.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def taken(live_server: LiveServer, key: str, analysis: Analysis, path: Path) -> None:
    address = f"{live_server.url}/api/analyses/{analysis.id}/bundle"
    with requests.get(address, headers={"X-API-Key": key}, stream=True, timeout=300) as answer:
        assert answer.status_code == 200
        with path.open("wb") as file:
            for chunk in answer.iter_content(BLOCK):
                file.write(chunk)


def test_memory_stays_flat(live_server: LiveServer, tmp_path: Path) -> None:
    """20,000 annotations and a file of 60 MiB: some 66 MiB, of which the server holds a page and a block."""
    world, path = live_server.world, tmp_path / "bundle.zip"
    key = world.person("admin@example.org", role="admin").key
    small, big = large(world, 10, 1000), large(world, 20_000, 60 * MIB)
    for _ in range(4):  # both processes have done it once
        taken(live_server, key, small, path)
    with most_memory(live_server) as seen:
        taken(live_server, key, big, path)
    assert path.stat().st_size > 65 * MIB
    with path.open("rb") as file:
        assert verify(file).manifest["counts"] == {"analyses": 1, "annotations": 20_000}
    assert seen[1] - seen[0] < 25 * MIB, f"{(seen[1] - seen[0]) / MIB:.0f} MiB more"


def test_a_client_that_goes_away_leaves_nothing_open(live_server: LiveServer, tmp_path: Path) -> None:
    world = live_server.world
    key = world.person("admin@example.org", role="admin").key
    analysis = large(world, 1000, 30 * MIB)
    stored = f"storage/ml_outputs/{analysis.id}/log.txt"

    def held() -> list[str]:
        files = [file.path for worker in live_server.gunicorn.workers() for file in worker.open_files()]
        return [name for name in files if name.endswith(stored)]

    address = f"{live_server.url}/api/analyses/{analysis.id}/bundle"
    answers = [requests.get(address, headers={"X-API-Key": key}, stream=True, timeout=60) for _ in range(3)]
    for answer in answers:
        assert answer.raw.read(2 * MIB)
    assert held(), "the file is open while it is sent"
    for answer in answers:
        answer.close()
    until = time.monotonic() + 60
    while held() and time.monotonic() < until:
        time.sleep(0.05)
    assert not held()
    taken(live_server, key, analysis, tmp_path / "after.zip")
    with (tmp_path / "after.zip").open("rb") as file:
        assert verify(file).signed
