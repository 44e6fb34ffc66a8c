#!/usr/bin/env python3
"""A mock pipeline that takes one analysis through its whole life and checks every answer.

    ML_CALLBACK_HMAC_SECRET=… python scripts/test_ml_pipeline.py --image-id ID [--base-url URL]

Standard library only. With API_KEY (a user's key) the result is read back and compared.
Ends with 0, or with 1 at the first step that fails. What it "sees" is made up.
Not a test for pytest: it needs a server that runs.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import struct
import sys
import uuid
import zlib
from collections import Counter
from typing import Any

from loupe_client import Answer, Client, Refused, Unreachable, newest_secret

FRAME = 1000  # the boxes below are in a frame of 1000 x 1000; the server scales them to the image
HEATMAP_WIDTH, HEATMAP_HEIGHT = 64, 48

Json = dict[str, Any]


class Wrong(Exception):
    """The server answered 2xx, but not what it should have."""


def grey_png(rows: list[bytes]) -> bytes:
    """An 8-bit greyscale PNG of rows of equal length."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + row for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def made_up_heatmap() -> bytes:
    """A bright spot a little left of the middle."""

    def value(x: int, y: int) -> int:
        return round(255 * math.exp(-((x - 24) ** 2 + (y - 24) ** 2) / 150))

    return grey_png([bytes(value(x, y) for x in range(HEATMAP_WIDTH)) for y in range(HEATMAP_HEIGHT)])


def made_up_annotations(boxes: int, heatmap_path: str) -> list[Json]:
    """Boxes in a row, a heatmap that refers to the uploaded file, and a classification."""
    step = FRAME / (boxes + 1)
    found: list[Json] = [
        {
            "client_id": f"box-{i}",
            "annotation_type": "bounding_box",
            "class_name": "thing",
            "confidence": round(0.95 - 0.5 * i / boxes, 4),
            "data": {
                "x_min": round(step * (i + 0.6), 2),
                "y_min": 300,
                "x_max": round(step * (i + 1.4), 2),
                "y_max": 600,
                "image_width": FRAME,
                "image_height": FRAME,
            },
            "ordering": i,
        }
        for i in range(boxes)
    ]
    shown = {"width": HEATMAP_WIDTH, "height": HEATMAP_HEIGHT, "color_map": "viridis", "vmin": 0, "vmax": 1}
    heatmap = {"client_id": "heatmap", "annotation_type": "heatmap", "class_name": "attention", "data": shown}
    topk = [{"class": "thing", "confidence": 0.9}, {"class": "nothing", "confidence": 0.1}]
    return [
        *found,
        {**heatmap, "storage_path": heatmap_path},
        {
            "client_id": "whole",
            "annotation_type": "classification",
            "class_name": "thing",
            "confidence": 0.9,
            "data": {"topk": topk},
        },
    ]


def expect(name: str, actual: object, expected: object) -> None:
    if actual != expected:
        raise Wrong(f"{name} is {actual!r}, expected {expected!r}")


class MockPipeline:
    def __init__(self, client: Client, image_id: str, model: str) -> None:
        self.client = client
        self.image_id = image_id
        self.model = model
        self.analysis_path = ""

    def run(self, boxes: int) -> None:
        self.create()
        self.start()
        annotations = made_up_annotations(boxes, self.upload_heatmap())
        self.annotate(annotations)
        self.finish(len(annotations))
        if self.client.api_key:
            self.read_back(annotations)
        else:
            print("no API_KEY: not read back")

    def step(self, title: str, answer: Answer, *statuses: int) -> Answer:
        print(f"{answer.status}  {title}", flush=True)
        if answer.status not in statuses:
            raise Wrong(f"{title}: status {answer.status}, expected {' or '.join(map(str, statuses))}")
        return answer

    def send(self, title: str, method: str, path: str, payload: Json, *statuses: int) -> Json:
        answer = self.step(title, self.client.send(method, path, payload), *(statuses or (200,)))
        return dict(answer.json())

    def create(self) -> None:
        wanted = {
            "model_name": self.model,
            "model_version": "1.0.0",
            "parameters": {"made_up": True},
            "provenance": {"pipeline": "test_ml_pipeline.py"},
            "external_job_id": f"mock-{uuid.uuid4()}",
        }
        path = f"/api/images/{self.image_id}/analyses"
        analysis = self.send("create the analysis", "POST", path, wanted, 201)
        again = self.send("create it again: the same one", "POST", path, wanted, 200)
        expect("the id of the second answer", again["id"], analysis["id"])
        self.analysis_path = f"/api/analyses/{analysis['id']}"
        print(f"     analysis {analysis['id']}")

    def start(self) -> None:
        body = {"status": "processing"}
        analysis = self.send("status processing", "PATCH", f"{self.analysis_path}/status", body)
        expect("status", analysis["status"], "processing")

    def upload_heatmap(self) -> str:
        png = made_up_heatmap()
        wish = {"artifact_type": "heatmap", "filename": "attention.png", "size": len(png)}
        wish["sha256"] = hashlib.sha256(png).hexdigest()
        target = self.send("presign the heatmap", "POST", f"{self.analysis_path}/artifacts/presign", wish)
        self.step("upload it", self.client.upload(target["upload_url"], png, target["headers"]), 200)
        return str(target["storage_path"])

    def annotate(self, annotations: list[Json]) -> None:
        path, body = f"{self.analysis_path}/annotations:bulk", {"annotations": annotations}
        count = len(annotations)
        trial = self.send("annotations, dry run", "POST", f"{path}?dry_run=1", body)
        expect("inserted", trial["inserted"], count)
        receipt = self.send(f"{count} annotations", "POST", path, body)
        expect("inserted", receipt["inserted"], count)
        expect("total", receipt["total"], count)
        retry = self.send("the same again: unchanged", "POST", path, body)
        expect("unchanged", retry["unchanged"], count)
        expect("total", retry["total"], count)

    def finish(self, count: int) -> None:
        body = {"status": "completed", "expected_annotations": count}
        analysis = self.send("finalize completed", "POST", f"{self.analysis_path}/finalize", body)
        expect("status", analysis["status"], "completed")
        expect("annotation_count", analysis["annotation_count"], count)

    def read_back(self, annotations: list[Json]) -> None:
        analysis = self.step("read it back", self.client.read(self.analysis_path), 200).json()
        sent = Counter(annotation["annotation_type"] for annotation in annotations)
        held = Counter(annotation["annotation_type"] for annotation in analysis["annotations"])
        expect("the annotations by type", dict(held), dict(sent))
        ids = {annotation["client_id"] for annotation in analysis["annotations"]}
        expect("the client ids", ids, {annotation["client_id"] for annotation in annotations})
        print(f"     {analysis['status']}, " + ", ".join(f"{n} {kind}" for kind, n in sorted(held.items())))


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="A mock pipeline that checks every answer of the server.")
    parser.add_argument("--image-id", required=True)
    parser.add_argument("--base-url", default=os.environ.get("LOUPE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--model", default="mock-pipeline", help="one that ML_ALLOWED_MODELS allows")
    parser.add_argument("--scheme", choices=("v2", "plain"), default="v2", help="how requests are signed")
    parser.add_argument("--boxes", type=int, default=5)
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    secret = newest_secret(os.environ.get("ML_CALLBACK_HMAC_SECRET", ""))
    if not secret:
        print("ML_CALLBACK_HMAC_SECRET must be set", file=sys.stderr)
        return 2
    api_key = os.environ.get("API_KEY", "")
    client = Client(arguments.base_url.rstrip("/"), secret, api_key, arguments.scheme, attempts=3)
    try:
        MockPipeline(client, arguments.image_id, arguments.model).run(max(1, arguments.boxes))
    except (Refused, Unreachable, Wrong) as error:
        print(f"FAILED: {error}", file=sys.stderr)
        return 1
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
