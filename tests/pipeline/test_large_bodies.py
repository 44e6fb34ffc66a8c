"""100 MB bodies: refused with an answer that an ordinary client reads, while the server's memory stays flat."""

import contextlib
import http.client
import threading
import time

import pytest
import requests

from app.models import Analysis, Annotation, AuditEvent
from tests.cast import SECRET, encode, plain_signature

MIB = 1024 * 1024
SIZE = 100_000_000
FLAT = 30  # MiB of all workers together: a third of a body, and what each loads at its first request
LIMIT = 32 * MIB


@pytest.fixture
def analysis(live_server):
    world = live_server.world
    return world.analysis(world.image(world.project("Leaves")), "processing")


@pytest.fixture
def path(live_server, analysis):
    """The whole address."""
    return f"{live_server.url}/api/analyses/{analysis.id}/annotations:bulk"


@pytest.fixture
def memory_stays_flat(live_server, path):
    """with memory_stays_flat(megabytes): …   the workers together never take that much more than before."""
    requests.post(path, data=b"{}", timeout=60)  # some of what a first request loads is then there

    @contextlib.contextmanager
    def watching(megabytes):
        before, most, over = live_server.gunicorn.memory(), 0, threading.Event()

        def watch():
            nonlocal most
            while not over.wait(0.01):
                most = max(most, live_server.gunicorn.memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        assert most - before < megabytes * MIB, f"{(most - before) / MIB:.0f} MiB more"

    return watching


def headers_for(body, signed):
    headers = {"Content-Type": "application/json"}
    if signed:
        moment = str(int(time.time()))
        headers |= {"X-ML-Timestamp": moment, "X-ML-Signature": plain_signature(body, moment, SECRET)}
    return headers


def too_large(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (413, "payload-too-large")
    return True


@pytest.mark.parametrize("signed", [True, False])
def test_100_mb(live_server, path, memory_stays_flat, signed):
    body = b" " * SIZE
    headers = headers_for(body, signed)
    with memory_stays_flat(FLAT):
        answer = requests.post(path, data=body, headers=headers, timeout=60)
    assert too_large(answer)
    assert answer.json()["limit"] == LIMIT
    assert live_server.world.count(Annotation) == 0
    assert live_server.world.count(AuditEvent, subject_type="analysis") == 0


def test_100_mb_over_and_over(path, memory_stays_flat):
    """On one connection, which stays good."""
    body = b" " * SIZE
    with requests.Session() as session, memory_stays_flat(FLAT):
        for _ in range(3):
            assert too_large(session.post(path, data=body, timeout=60))
            assert session.post(path, data=b"{}", timeout=60).json()["code"] == "signature-missing"


def test_100_mb_that_never_come(live_server, path):
    """The length alone is enough; a client that asks first (Expect) need not send."""
    connection = http.client.HTTPConnection("127.0.0.1", live_server.gunicorn.port, timeout=30)
    connection.putrequest("POST", path.removeprefix(live_server.url))
    connection.putheader("Content-Length", str(SIZE))
    connection.endheaders()
    connection.sock.shutdown(1)
    answer = connection.getresponse()
    assert answer.status == 413
    answer.read()
    connection.close()


@pytest.mark.parametrize("signed", [True, False])
def test_100_mb_in_chunks(live_server, path, memory_stays_flat, signed):
    """No length says how much will come: a signed one is read as far as the limit, an unsigned one not at all."""
    pieces = [b" " * MIB] * (SIZE // MIB)
    headers = headers_for(b"".join(pieces), signed)
    with memory_stays_flat(100):
        answer = requests.post(path, data=iter(pieces), headers=headers, timeout=60)
    assert answer.headers["Content-Type"] == "application/problem+json"
    if signed:
        assert too_large(answer)
    else:
        assert (answer.status_code, answer.json()["code"]) == (401, "signature-missing")
    assert live_server.world.count(Annotation) == 0


def test_small_in_chunks(live_server, path, analysis):
    """A chunked body that is not too large is as good as any."""
    body = encode({"annotations": [{"annotation_type": "custom", "data": {}}]})
    answer = requests.post(path, data=iter([body[:9], body[9:]]), headers=headers_for(body, True), timeout=60)
    assert (answer.status_code, answer.json()["inserted"]) == (200, 1)


def test_a_large_unsigned_body_below_the_limit(path):
    """Refused before it is read; the client still gets to see why."""
    answer = requests.post(path, data=b" " * (LIMIT - 1), timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (401, "signature-missing")


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 422), (LIMIT + 1, 413)])
def test_the_limit_to_the_byte(live_server, path, size, status):
    body = b"{}" + b" " * (size - 2)
    answer = requests.post(path, data=body, headers=headers_for(body, True), timeout=60)
    assert answer.status_code == status
    assert live_server.world.count(Analysis) == 1
