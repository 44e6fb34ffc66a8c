"""The heartbeat of scripts/loupe_client.py: a lease is kept while the work goes on, and its loss is told."""

import threading
import time
from collections.abc import Callable

import pytest

from scripts.loupe_client import Analysis, Client, Lease, Refused, Stopped
from tests.support.stand_in import LOST, Fault, StandIn, busy


@pytest.fixture
def claimed(client: Client, stand_in: StandIn) -> Analysis:
    """With a lease of 1.2 seconds, so that heartbeats are 0.3 seconds apart."""
    stand_in.lease_seconds = 1.2
    return client.claim(stand_in.queue(), "worker")


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_lease_is_kept_while_the_work_goes_on(claimed: Analysis, stand_in: StandIn) -> None:
    with Lease(claimed) as lease:
        stand_in.wait_for_beats(4)
        lease.check()
        claimed.finalize("completed")
    beats = stand_in.to("/heartbeat")
    assert {request["X-ML-Lease-Token"] for request in beats} == {stand_in.leases[claimed.id]}
    assert len({request["X-ML-Nonce"] for request in beats}) == len(beats)
    assert len({request["traceparent"][:35] for request in stand_in.seen}) == 1


def test_it_ends_with_the_work(claimed: Analysis, stand_in: StandIn) -> None:
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError), Lease(claimed):
        raise ZeroDivisionError
    assert threading.active_count() <= before + 1  # the stand-in's own
    assert not [thread for thread in threading.enumerate() if "_keep" in thread.name]


def test_a_long_lease_does_not_hold_up_the_end(client: Client, stand_in: StandIn) -> None:
    started = time.monotonic()
    with Lease(client.claim(stand_in.queue(), "worker")):
        pass
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("failure", [busy(), busy(429), LOST], ids=["busy", "limited", "lost"])
def test_a_heartbeat_that_fails_is_made_good(
    claimed: Analysis, stand_in: StandIn, failure: Fault, slept: list[float]
) -> None:
    with Lease(claimed) as lease:
        stand_in.fail("/heartbeat", failure)
        stand_in.wait_for_beats(3)
        lease.check()
    assert not slept  # the thread waits for its next turn


def test_a_lost_lease_is_told(claimed: Analysis, stand_in: StandIn) -> None:
    with Lease(claimed) as lease:
        stand_in.leases[claimed.id] = "another's"
        wait_until(lambda: lease.stopped)
        with pytest.raises(Stopped, match="lease-lost") as stopped:
            lease.check()
    assert not stopped.value.canceled
    assert [request.status for request in stand_in.to("/heartbeat")].count(409) == 1


def test_a_cancel_is_told(claimed: Analysis, stand_in: StandIn) -> None:
    with Lease(claimed) as lease:
        stand_in.cancel_requested = True
        wait_until(lambda: lease.stopped)
        with pytest.raises(Stopped) as stopped:
            lease.check()
    assert stopped.value.canceled


def test_a_key_that_is_revoked_ends_the_work(claimed: Analysis, stand_in: StandIn) -> None:
    with Lease(claimed) as lease:
        stand_in.fail("/heartbeat", Fault(403, (), {"code": "forbidden"}))
        wait_until(lambda: lease.stopped)
        with pytest.raises(Stopped, match="403 forbidden"):
            lease.check()


def test_a_lease_that_no_heartbeat_renews_runs_out(claimed: Analysis, stand_in: StandIn) -> None:
    with Lease(claimed) as lease:
        stand_in.fail("/heartbeat", *[LOST] * 100)
        wait_until(lambda: time.monotonic() > lease._ends)
        with pytest.raises(Stopped, match="ran out"):
            lease.check()


def test_one_that_is_lost_already_does_not_begin(claimed: Analysis, stand_in: StandIn) -> None:
    stand_in.leases[claimed.id] = "another's"
    with pytest.raises(Stopped), Lease(claimed):
        raise AssertionError("no work must begin")


def test_the_first_heartbeat_is_tried_again(claimed: Analysis, stand_in: StandIn, slept: list[float]) -> None:
    stand_in.fail("/heartbeat", busy(503, "1"), Fault(404, (), {"code": "not-found"}))
    with pytest.raises(Refused, match="404"), Lease(claimed):
        raise AssertionError("no work must begin")
    assert slept == [1.0]


def test_how_long_it_lasts_is_read_off_the_clock_of_the_server(client: Client, stand_in: StandIn) -> None:
    stand_in.now -= 250  # within what a signature may be off
    with Lease(client.claim(stand_in.queue(), "worker")) as lease:
        assert 59 < lease._ends - time.monotonic() <= 60
