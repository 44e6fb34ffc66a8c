"""What the page of an image asks for while somebody looks at it: whether anything changed, and what is drawn."""

import re
import statistics
from collections.abc import Iterator
from html import unescape
from urllib.parse import urlencode
from uuid import uuid4

from benchmarks.bench import Bench, together
from benchmarks.figures import MILLISECONDS, Figure
from benchmarks.wire import Answer, Connection, Request, Skipped, Target, Wrong, expect

POLLING = (
    2  # connections: a server's core never waits for the driver, and its threads not much for each other
)


def sign_in(target: Target, email: str, password: str) -> None:
    """The target's pages are asked for as this person from here on."""
    http = Connection(target.url).http
    http.request("GET", "/sign-in")
    page = http.getresponse()
    (token,) = re.findall(r'name="csrf_token"[^>]* value="([^"]+)"', page.read().decode())
    form = urlencode({"email": email, "password": password, "csrf_token": token})
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": page.headers["Set-Cookie"].partition(";")[0],
    }
    http.request("POST", "/sign-in", form, headers)
    answer = http.getresponse()
    answer.read()
    expect("the status of the sign-in", answer.status, 303)
    target.cookie = answer.headers["Set-Cookie"].partition(";")[0]
    http.close()


def panel_address(page: Answer) -> str:
    """What the page of an image polls. Raises Wrong when it polls nothing."""
    found = re.search(r'hx-get="(/images/[^"]+/panel[^"]*)"', page.body.decode("utf-8", "replace"))
    if page.status != 200 or not found:
        raise Wrong(f"the page of the image polls nothing (status {page.status})")
    return unescape(found[1])


def poll(bench: Bench) -> Iterator[Figure]:
    """Milliseconds for each of many polls of a panel on which nothing changed, over several connections at once.

    Beside them a route with one SELECT.
    """
    _require_session(bench)
    (analysis,) = bench.new_analyses(1)
    image = bench.loupe.read(f"/api/analyses/{analysis}")["image_id"]
    address = panel_address(bench.loupe.connection.send(bench.loupe.page(f"/images/{image}")))
    figure, busy = (
        Figure("unchanged poll", MILLISECONDS),
        dict.fromkeys((one.name for one in bench.targets), 0.0),
    )
    for _ in range(bench.sizes.repeats):
        for target in bench.targets:
            queues: list[list[Request]] = [[target.page(address)] * bench.sizes.polls] * POLLING
            watch = bench.watches.get(target.name)
            before = watch.busy_seconds() if watch else 0.0
            burst = together(target.url, queues)
            busy[target.name] += watch.busy_seconds() - before if watch else 0.0
            for answers in burst.answers:
                expect("the answers to polls", {(one.status, one.body) for one in answers}, {(204, b"")})
            figure.add(target.name, burst.seconds * 1000 / (bench.sizes.polls * POLLING))
    _check_polls(bench, analysis, address)
    figure.more["requests_per_second"] = {
        name: round(1000 / statistics.median(samples)) for name, samples in figure.samples.items()
    }
    if bench.watches:
        asked = bench.sizes.polls * POLLING * bench.sizes.repeats
        figure.more["server_microseconds_a_request"] = {
            name: round(spent * 1e6 / asked) for name, spent in busy.items()
        }
    yield figure


def _check_polls(bench: Bench, analysis: str, address: str) -> None:
    """Whoever always says that nothing changed has not looked. The baseline looks for an image that is not there."""
    bench.loupe.send("PATCH", f"/api/analyses/{analysis}/status", {"status": "processing"})
    changed = bench.loupe.connection.send(bench.loupe.page(address))
    expect("the status of a poll after a change", changed.status, 200)
    expect("what is polled after a change is the same", panel_address(changed) == address, False)
    for target in bench.targets[1:]:
        nothing = target.connection.send(target.page(f"/images/{uuid4()}/panel"))
        expect("the status of a poll of nothing", nothing.status, 404)


def overlay(bench: Bench) -> Iterator[Figure]:
    """What is drawn of an analysis in elements: the first time anybody asks for it, and from the cache.

    To the first bytes of the answer, as half a megabyte takes a driver longer to read than a server to find.
    """
    _require_session(bench)
    boxes = bench.sizes.drawn
    first = Figure(f"overlay of {boxes:,} boxes, first time", MILLISECONDS)
    again = Figure(f"overlay of {boxes:,} boxes, from cache", MILLISECONDS)
    made = [bench.filled_analysis(boxes) for _ in range(bench.sizes.overlays + 1)]
    images = [bench.loupe.read(f"/api/analyses/{one}")["image_id"] for one in made]
    connection = bench.loupe.connection
    for number, image in enumerate(images):
        request = bench.loupe.page(f"/images/{image}/overlay")
        answer = connection.send(request)
        taken = connection.waited * 1000
        expect("status of the overlay", answer.status, 200)
        expect("boxes drawn", answer.body.count(b'<rect class="shape"'), boxes)
        if number == 0:  # which does not count: the templates are read
            continue
        first.add("loupe", taken)
        for _ in range(bench.sizes.cached // bench.sizes.overlays):
            kept = connection.send(request)
            expect("the overlay from the cache", kept, answer)
            again.add("loupe", connection.waited * 1000)
    first.more["bytes"] = len(answer.body)
    yield first
    yield again


def _require_session(bench: Bench) -> None:
    if not bench.loupe.cookie:
        raise Skipped("it needs a person's session")
