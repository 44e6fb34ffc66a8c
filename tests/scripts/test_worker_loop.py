"""scripts/worker_loop.py as a process: it takes what is queued, one after the other, and survives what goes wrong."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.server import ROOT
from tests.support.stand_in import IMAGE, KEY_SECRET, PIPELINE_KEY, Fault, StandIn


@contextlib.contextmanager
def working(stand_in: StandIn, tmp_path: Path) -> Iterator[None]:
    environment = {
        "PATH": os.environ["PATH"],
        "LOUPE_URL": stand_in.url,
        "ML_CALLBACK_HMAC_SECRET": KEY_SECRET,
        "API_KEY": PIPELINE_KEY,
        "WORKER_ID": "worker-7",
        "WORKER_PAUSE": "0.05",
    }
    command = [sys.executable, "-W", "error", str(ROOT / "scripts" / "worker_loop.py")]
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield
            assert process.poll() is None, (tmp_path / "log").read_text()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def wait_for(stand_in: StandIn, *statuses: str) -> None:
    """Until the analyses, in the order in which they were queued, have these states."""
    with stand_in.beaten:
        done = stand_in.beaten.wait_for(lambda: states(stand_in) == list(statuses), timeout=15)
    assert done, (states(stand_in), [(request.target, request.status) for request in stand_in.seen])


def states(stand_in: StandIn) -> list[str]:
    return [row["status"] for row in stand_in.analyses.values()]


def test_the_queue_is_worked_off(stand_in: StandIn, tmp_path: Path) -> None:
    queued = [stand_in.queue(), stand_in.queue()]
    with working(stand_in, tmp_path):
        wait_for(stand_in, "completed", "completed")
        queued.append(stand_in.queue())
        wait_for(stand_in, "completed", "completed", "completed")
    for analysis in queued:
        (annotation,) = stand_in.annotations[analysis].values()
        assert annotation["data"] == {"bytes": len(IMAGE)}
        assert stand_in.to(f"{analysis}/heartbeat")
    claims = stand_in.to(":claim")
    assert {request.json["worker_id"] for request in claims} == {"worker-7"}
    assert {request["X-API-Key"] for request in stand_in.seen} == {None}


def test_what_fails_is_marked_as_failed_and_the_next_is_taken(stand_in: StandIn, tmp_path: Path) -> None:
    first = stand_in.queue()
    stand_in.queue()
    stand_in.fail("/files/image", Fault(404))
    with working(stand_in, tmp_path):
        wait_for(stand_in, "failed", "completed")
    assert stand_in.analyses[first]["error_message"].startswith("Refused: 404")


def test_a_lost_lease_and_a_refused_claim_do_not_end_it(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.queue()
    stand_in.queue()
    stand_in.fail(":claim", Fault(401, (), {"code": "signature-invalid"}))
    stand_in.fail("bulk", Fault(409, (), {"code": "lease-lost"}))
    with working(stand_in, tmp_path):
        wait_for(stand_in, "processing", "completed")
    assert not [row for row in stand_in.analyses.values() if "error_message" in row]
