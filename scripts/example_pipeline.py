#!/usr/bin/env python3
"""An example pipeline: analyses the demo images with classical methods and pushes what it saw.

It speaks only the public API. Settings come from the environment:
  LOUPE_URL                http://127.0.0.1:8000
  LOUPE_PROJECT            the name of the project, Demo
  API_KEY                  a user's key, to list the project's images and fetch their pixels
  ML_CALLBACK_HMAC_SECRET  the secret that signs what is written

    pip install -r scripts/requirements-pipeline.txt
    python scripts/example_pipeline.py

A second run does nothing new: each analysis has an external_job_id made of the image, the model and
its version. One that an earlier, killed run left unfinished is taken up again.
What it can see is in demo_models.py.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import io
import os
import platform
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from demo_models import MODELS, Findings, Model
from loupe_client import Analysis, Client, Refused, Stopped, Unreachable, newest_secret
from PIL import Image

TERMINAL = ("completed", "failed", "canceled")

Json = dict[str, Any]


@dataclass
class Job:
    """One model on one image, and the analysis the server keeps for it."""

    model: Model
    image: Json
    analysis: Analysis

    @property
    def status(self) -> str:
        return str(self.analysis.row["status"])

    def say(self, text: str) -> None:
        print(f"{self.model.filename:22} {self.model.name} {self.model.version}: {text}", flush=True)


@dataclass(frozen=True)
class Pipeline:
    client: Client
    project_name: str
    pause: float

    def run(self) -> int:
        """Create every analysis, then run each; the number of those that failed."""
        images = self.images(self.project_id())
        missing = sorted({model.filename for model in MODELS} - {image["filename"] for image in images})
        if missing:
            print(f"not in project {self.project_name!r}, left out: {', '.join(missing)}", flush=True)
        pairs = [(m, image) for m in MODELS for image in images if image["filename"] == m.filename]
        if not pairs:
            raise LookupError(f"project {self.project_name!r} holds none of the demo images")
        jobs = [self.create(model, image) for model, image in pairs]
        time.sleep(self.pause)
        return sum(not self.finish(job) for job in jobs)

    def project_id(self) -> str:
        for project in self.client.read("/api/projects").json():
            if project["name"] == self.project_name:
                return str(project["id"])
        raise LookupError(f"no project named {self.project_name!r} is open to this API_KEY")

    def images(self, project_id: str) -> list[Json]:
        images: list[Json] = []
        while True:
            page = self.client.read(f"/api/projects/{project_id}/images?limit=500&skip={len(images)}").json()
            images += page
            if len(page) < 500:
                return images

    def create(self, model: Model, image: Json) -> Job:
        """The analysis, new or made by an earlier run: the same external_job_id gives the same one."""
        identity = f"{image['id']} {image['sha256']} {model.name} {model.version}"
        name = f"{model.name}-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
        more = {"parameters": model.parameters, "provenance": provenance(image), "external_job_id": name}
        try:
            analysis = self.client.create(image["id"], model.name, model.version, **more)
        except Refused as refusal:
            return Job(model, image, self.finished_before(image, name, refusal))
        job = Job(model, image, analysis)
        job.say(f"{job.status} ({'created' if analysis.created else 'exists'})")
        return job

    def finished_before(self, image: Json, external_job_id: str, refusal: Refused) -> Analysis:
        """An analysis made with other libraries or parameters (409): fine if it is done, else an error."""
        if refusal.status == 409:
            page = self.client.read(f"/api/images/{image['id']}/analyses?limit=500").json()
            for row in page["analyses"]:
                if row["external_job_id"] == external_job_id and row["status"] in TERMINAL:
                    return Analysis(self.client, row)
        raise refusal

    def finish(self, job: Job) -> bool:
        """Run one analysis to its end; False if it failed in this run."""
        if job.status in TERMINAL:
            job.say(f"{job.status} already, skipped")
            return True
        try:
            self.process(job)
        except Stopped as stopped:
            job.say(f"stopped: {stopped}")
            return stopped.canceled
        except Exception as error:
            return self.report_failure(job, error)
        return True

    def process(self, job: Job) -> None:
        resumed = job.status == "processing"
        job.analysis.start()
        job.say("processing (resumed)" if resumed else "processing")
        time.sleep(self.pause)
        started = time.monotonic()
        found = job.model.see(self.pixels(job.image), job.model.parameters)
        job.say(f"saw {len(found.annotations)} annotations in {time.monotonic() - started:.1f} s")
        self.upload(job, found)
        # a resumed run swaps what an earlier one left for its own
        for receipt in job.analysis.bulk(found.annotations, "replace" if resumed else "append"):
            job.say(f"{receipt['inserted']} inserted, {receipt['total']} in all")
        time.sleep(self.pause)
        ended = job.analysis.finalize("completed", expected_annotations=len(found.annotations))
        job.say(f"{ended['status']}, {ended['annotation_count']} annotations")

    def pixels(self, image: Json) -> np.ndarray:
        """uint8 (height, width) or (height, width, 3); refuses bytes that are not those of the image."""
        content = self.client.read(f"/api/images/{image['id']}/content").body
        if hashlib.sha256(content).hexdigest() != image["sha256"]:
            raise ValueError(f"the bytes of {image['filename']} do not have the hash the server gave")
        return np.asarray(Image.open(io.BytesIO(content)))

    def upload(self, job: Job, found: Findings) -> None:
        """Put each file into object storage and its path into the annotations that refer to it."""
        for name, png in found.heatmaps.items():
            storage_path = job.analysis.upload("heatmap", name, png)
            job.say(f"uploaded {storage_path} ({len(png)} bytes)")
            for annotation in found.annotations:
                if annotation.get("storage_path") == name:
                    annotation["storage_path"] = storage_path

    def report_failure(self, job: Job, error: Exception) -> bool:
        """Tell the server; True if there is nothing to tell because a person canceled the analysis."""
        job.say(f"FAILED: {error}")
        try:
            job.analysis.finalize("failed", error_message=f"{type(error).__name__}: {error}"[:1000])
        except Stopped as stopped:
            job.say(f"not marked as failed: {stopped}")
            return stopped.canceled
        except (Refused, Unreachable) as failure:
            job.say(f"not marked as failed: {failure}")
        return False


def provenance(image: Json) -> Json:
    libraries = ("scikit-image", "numpy", "scipy", "pillow")
    return {
        "pipeline": "example_pipeline.py",
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
        "input_sha256": image["sha256"],
    }


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Analyse the demo images and push the results to Loupe.")
    parser.add_argument("--once", action="store_true", help="run once and end (the default)")
    parser.add_argument("--every", type=float, metavar="SECONDS", help="run again and again, so far apart")
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS", help="wait between the steps")
    return parser.parse_args()


def main() -> int:
    arguments = read_arguments()
    secret, api_key = os.environ.get("ML_CALLBACK_HMAC_SECRET", ""), os.environ.get("API_KEY", "")
    if not secret or not api_key:
        print("ML_CALLBACK_HMAC_SECRET and API_KEY must be set", file=sys.stderr)
        return 2
    base_url = os.environ.get("LOUPE_URL", "http://127.0.0.1:8000").rstrip("/")
    client = Client(base_url, newest_secret(secret), api_key)
    pipeline = Pipeline(client, os.environ.get("LOUPE_PROJECT", "Demo"), arguments.pause)
    while True:
        try:
            failed = pipeline.run()
        except (Refused, Unreachable, LookupError) as error:
            print(f"stopped: {error}", file=sys.stderr)
            failed = 1
        if arguments.once or arguments.every is None:
            return 1 if failed else 0
        time.sleep(arguments.every)


if __name__ == "__main__":
    sys.exit(main())
