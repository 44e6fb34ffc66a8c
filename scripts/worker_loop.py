#!/usr/bin/env python3
"""A worker: claims the next queued analysis, looks at its image, stores what it saw, and begins again.

    LOUPE_URL=… ML_CALLBACK_HMAC_SECRET=… python scripts/worker_loop.py

With a pipeline key in API_KEY, the secret is that key's own. Put your model into `see`. Any number of workers may
run; an analysis is held by one of them at a time.
"""

import os
import sys
import time
from typing import Any

from loupe_client import Client, Lease, Refused, Stopped, Unreachable, newest_secret

WORKER = os.environ.get("WORKER_ID") or f"worker-{os.getpid()}"
PAUSE = float(os.environ.get("WORKER_PAUSE", "5"))  # seconds, when there is nothing to do


def see(picture: bytes, lease: Lease) -> list[dict[str, Any]]:
    """Annotations of the image. Long work calls lease.check() now and then, which raises Stopped."""
    lease.check()
    size = {"bytes": len(picture)}
    return [
        {"client_id": "size", "annotation_type": "custom", "class_name": "size of the file", "data": size}
    ]


def work(client: Client) -> None:
    analysis = client.claim_next(WORKER)
    if analysis is None:
        time.sleep(PAUSE)
        return
    try:
        with Lease(analysis) as lease:
            annotations = see(analysis.picture(), lease)
            analysis.bulk(annotations)
            analysis.finalize("completed", expected_annotations=len(annotations))
    except (Stopped, Unreachable):
        raise
    except Exception as error:
        analysis.finalize("failed", error_message=f"{type(error).__name__}: {error}"[:1000])


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(__doc__)
    secret = newest_secret(os.environ["ML_CALLBACK_HMAC_SECRET"])
    loupe = Client(os.environ["LOUPE_URL"].rstrip("/"), secret, os.environ.get("API_KEY", ""))
    while True:
        try:
            work(loupe)
        except (Refused, Stopped, Unreachable) as problem:
            print(problem, flush=True)
            time.sleep(PAUSE)
