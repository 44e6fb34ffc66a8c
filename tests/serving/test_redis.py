"""Rate limits over real HTTP: two servers of one process each count together in Redis, and each alone without it."""

import contextlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from app.models import Analysis
from tests.conftest import LiveServer
from tests.support import redis as redis_server
from tests.support import server as servers

pytestmark = pytest.mark.one_database

LIMIT = 20
LONGEST = 1.0  # seconds, on a machine that has much else to do; test_windows.py measures the wait itself
HEALED = 30.0  # seconds


@dataclass
class Scene:
    redis: redis_server.Restartable
    live: LiveServer
    urls: tuple[str, str]
    analysis: Analysis
    seconds: list[float]  # of each request to `ask`
    numbers: Iterator[int]

    def newcomer(self) -> str:
        """An address that nothing has come from."""
        return f"203.0.113.{next(self.numbers)}"

    def ask(self, url: str, address: str) -> int:
        """The status that a request without a signature gets: 401 while the address may ask, then 429."""
        sent, headers = {"status": "completed"}, {"X-Forwarded-For": address}
        started = time.perf_counter()
        answer = requests.post(
            f"{url}/api/analyses/{self.analysis.id}/finalize", json=sent, headers=headers, timeout=30
        )
        self.seconds.append(time.perf_counter() - started)
        return answer.status_code

    def count_together(self) -> bool:
        address = self.newcomer()
        here, there = self.urls
        asked = [self.ask(url, address) for url in (*[here, there] * (LIMIT // 2), here, there)]
        return asked == [401] * LIMIT + [429] * 2

    def wait_until_together(self) -> None:
        """`seconds` are then those of the time when they did. One that took long on a busy machine counts alone for a
        moment, as after Redis was gone."""
        deadline = time.monotonic() + HEALED
        while not (self.seconds.clear() or self.count_together()):
            assert time.monotonic() < deadline, "they do not count together"

    def is_served(self) -> bool:
        """A request that is signed, and changes nothing."""
        path = f"/api/analyses/{self.analysis.id}/status"
        return bool(self.live.pipeline.patch(path, {"status": "processing"}).status_code == 200)


@pytest.fixture(scope="module")
def redis() -> Iterator[redis_server.Restartable]:
    with redis_server.restartable() as running:
        yield running


@pytest.fixture(scope="module")
def scene(redis: redis_server.Restartable, _serve: Callable[..., LiveServer]) -> Iterator[Scene]:
    live = _serve(
        REDIS_URL=redis.url,
        RATE_LIMIT_PIPELINE_PER_IP=f"{LIMIT}/hour",
        TRUSTED_PROXIES="1",
        WEB_CONCURRENCY="1",
    )
    analysis = live.world.analysis(live.world.image(live.world.project("Leaves")), "processing")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="loupe-other-"))
        other = stack.enter_context(servers.served(live.environ, Path(folder)))
        yield Scene(redis, live, (live.url, other.url), analysis, [], itertools.count(1))


@pytest.mark.soak
def test_servers_count_together(scene: Scene) -> None:
    scene.wait_until_together()


@pytest.mark.parametrize("trouble", ["kill", "halt"])
def test_redis_goes_and_comes_back(scene: Scene, trouble: str) -> None:
    scene.wait_until_together()
    usual = max(scene.seconds)
    getattr(scene.redis, trouble)()
    try:
        address, waits = scene.newcomer(), []
        for url in scene.urls:
            scene.seconds.clear()
            asked = [scene.ask(url, address) for _ in range(LIMIT + 3)]
            assert asked == [401] * LIMIT + [429] * 3, "nobody is let through for it"
            waits.append(max(scene.seconds))
        assert scene.is_served()
        # what else the machine has to do only adds; what is our doing is in both
        assert min(waits) < usual + LONGEST
    finally:
        scene.redis.start() if trouble == "kill" else scene.redis.go_on()
    scene.wait_until_together()
    said = [json.loads(line)["message"] for line in scene.live.gunicorn.log.read_text().splitlines()]
    lost = [line for line in said if line.startswith("Redis ")]
    assert lost[-2].startswith("Redis cannot be used") and lost[-1].startswith("Redis can be used again")


def test_nothing_is_said_of_processes_that_count_by_themselves(scene: Scene) -> None:
    assert "REDIS_URL" not in scene.live.gunicorn.log.read_text()
