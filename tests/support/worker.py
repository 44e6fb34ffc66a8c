"""A worker in a process of its own: claims what is next, says so, and writes when it is told to.

    python -m tests.support.worker ADDRESS

It prints a JSON line with the id of what it has claimed, works until a line comes in, tries every way to write, and
prints the status and code of each answer as another.
"""

import json
import select
import sys
import time
from collections.abc import Mapping
from typing import Any

import requests

from tests.cast import Pipeline
from tests.steps import BOX

WRITES: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/heartbeat", {}),
    ("POST", "/annotations:bulk", {"annotations": [{"annotation_type": "bounding_box", "data": BOX}]}),
    ("POST", "/annotations:bulk", {"annotations": [], "mode": "replace"}),
    ("POST", "/artifacts/presign", {"artifact_type": "log"}),
    ("PATCH", "/status", {"status": "processing"}),
    ("PATCH", "/status", {"status": "failed"}),
    ("POST", "/finalize", {"status": "completed"}),
)


def main(address: str) -> None:
    def send(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> requests.Response:
        return requests.request(method, address + path, data=body, headers=dict(headers), timeout=30)

    pipeline = Pipeline(send, lambda: int(time.time()))
    (claimed,) = pipeline.post("/api/analyses:claim", {"worker_id": "stopped"}).json()["analyses"]
    print(json.dumps(claimed["id"]), flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        sum(range(1000))  # work
    token = {"X-ML-Lease-Token": claimed["lease_token"]}
    answers = [
        pipeline.request(method, f"/api/analyses/{claimed['id']}{path}", body, headers=token)
        for method, path, body in WRITES
    ]
    print(json.dumps([(one.status_code, one.json().get("code")) for one in answers]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
