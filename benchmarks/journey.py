"""What one image costs a pipeline from the first request to the last."""

import hashlib
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from benchmarks import bodies
from benchmarks.bench import Bench
from benchmarks.figures import MILLISECONDS, Figure
from benchmarks.wire import Connection, Request, expect


def pipeline_run(bench: Bench) -> Iterator[Figure]:
    """Create, processing, bulk, presign, PUT, finalize: the median of each step is in `steps_ms`."""
    figure = Figure("one pipeline run", MILLISECONDS)
    steps: dict[str, list[float]] = {}
    image = bench.new_image()
    for _ in range(bench.sizes.repeats * 2):
        taken = Journey(bench, image).run()
        figure.add("loupe", sum(taken.values()) * 1000)
        for step, seconds in taken.items():
            steps.setdefault(step, []).append(seconds * 1000)
    figure.more["steps_ms"] = {step: round(sorted(each)[len(each) // 2], 2) for step, each in steps.items()}
    yield figure


class Journey:
    def __init__(self, bench: Bench, image: str) -> None:
        self.loupe, self.image, self.boxes = bench.loupe, image, bench.sizes.found
        self.taken: dict[str, float] = {}

    def run(self) -> dict[str, float]:
        """Seconds of each step, by its name."""
        wanted = {"model_name": "benchmark", "model_version": "1.0.0"}
        made = self.step("create", "POST", f"/api/images/{self.image}/analyses", wanted, 201)
        path = f"/api/analyses/{made['id']}"
        changed = self.step("processing", "PATCH", f"{path}/status", {"status": "processing"})
        expect("status", changed["status"], "processing")
        found = {"annotations": [bodies.box(rank) for rank in range(self.boxes)]}
        stored = self.step("bulk", "POST", f"{path}/annotations:bulk", found)
        expect("inserted", stored["inserted"], self.boxes)
        png = bodies.heatmap()
        wish = {"artifact_type": "heatmap", "size": len(png), "sha256": hashlib.sha256(png).hexdigest()}
        target = self.step("presign", "POST", f"{path}/artifacts/presign", wish)
        self.taken["PUT"] = put(target, png)
        ending = {"status": "completed", "expected_annotations": self.boxes}
        ended = self.step("finalize", "POST", f"{path}/finalize", ending)
        expect("status", ended["status"], "completed")
        expect("annotation_count", ended["annotation_count"], self.boxes)
        return self.taken

    def step(self, name: str, method: str, path: str, value: Any, status: int = 200) -> Any:
        started = time.perf_counter()
        answer = self.loupe.send(method, path, value, status)
        self.taken[name] = time.perf_counter() - started
        return answer


def put(presigned: dict[str, Any], content: bytes) -> float:
    """Seconds. The address may be of another host: the object store's."""
    parts = urlsplit(presigned["upload_url"])
    connection = Connection(presigned["upload_url"])
    asked = Request("PUT", f"{parts.path}?{parts.query}", content, dict(presigned["headers"]))
    started = time.perf_counter()
    answer = connection.send(asked)
    taken = time.perf_counter() - started
    connection.close()
    expect("status of the PUT", answer.status, 200)
    return taken
