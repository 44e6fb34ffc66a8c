"""One run: the servers it speaks to, how much of everything, and the steps that several measures share."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import bodies
from benchmarks.watch import Watch
from benchmarks.wire import Answer, Connection, Request, Target, expect, raise_first

if TYPE_CHECKING:
    from benchmarks.serve import Servers

PER_IMAGE = 50  # analyses on one image: the server's default limit


@dataclass(frozen=True)
class Sizes:
    """How much of everything. The tables of docs/performance.md come from a run with the defaults."""

    repeats: int = 5
    long_repeats: int = 3  # of what takes long: growth and exports
    bulk: tuple[int, ...] = (1000, 5000)
    connections: tuple[int, ...] = (1, 8)
    bulk_alone: tuple[int, ...] = (10_000,)  # over one connection only: the most one request may hold
    sample: int = 10_000  # annotations for one sample of a bulk figure, at least one request a connection
    growth: int = 50_000
    growth_step: int = 1000
    shown: int = 10_000
    listed: int = 50
    changes: int = 50
    small: int = 200  # requests that change one row
    exported: int = 100_000
    found: int = 100  # boxes of the pipeline run
    crowd: int = 100_000  # analyses among which lists are read
    asked: int = 5  # times for each page of a list, beside those before that do not count
    polls: int = 100  # over each of several connections
    drawn: int = 2_000
    overlays: int = 20
    cached: int = 100
    mixed: int = 12_000  # requests of all kinds, for what a worker keeps


QUICK = Sizes(
    2,
    1,
    sample=4_000,
    growth=10_000,
    shown=2_000,
    changes=10,
    small=10,
    exported=10_000,
    crowd=5_000,
    asked=2,
    polls=25,
    overlays=4,
    cached=20,
    mixed=2_000,
)


@dataclass
class Bench:
    """`targets` are Loupe and, when it is there, the baseline over the same database.

    `watches` may be there for servers on this machine; `renew` gives a target's server new processes, and its watch;
    `servers` are those of this run, for what is written past them and for `flask` commands.
    """

    targets: list[Target]
    project: str
    sizes: Sizes = Sizes()
    watches: dict[str, Watch] = field(default_factory=dict)
    renew: Callable[[str], Watch] | None = None
    servers: "Servers | None" = None

    @property
    def loupe(self) -> Target:
        return self.targets[0]

    def new_analyses(self, count: int) -> list[str]:
        """Ids of queued analyses, on images of their own."""
        made = []
        for number in range(count):
            if number % PER_IMAGE == 0:
                image = self.new_image()
            wanted = {"model_name": "benchmark", "model_version": "1.0.0", "parameters": {"threshold": 0.25}}
            made.append(self.loupe.send("POST", f"/api/images/{image}/analyses", wanted, 201)["id"])
        return made

    def new_image(self, filename: str = "street.png", content: bytes | None = None) -> str:
        """The id of an image with this content, else with the photograph all analyses are made on."""
        edge = "loupe-benchmark-edge"
        head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
        body = head.encode() + (content or bodies.photograph()) + f"\r\n--{edge}--\r\n".encode()
        headers = {"X-API-Key": self.loupe.api_key, "Content-Type": f"multipart/form-data; boundary={edge}"}
        request = Request("POST", f"/api/projects/{self.project}/images", body, headers)
        return str(self.loupe.connection.send(request).json(201)["id"])

    def filled_analysis(self, count: int, step: int = 5000) -> str:
        """The id of an analysis with the boxes 0 to `count - 1`, stored by Loupe."""
        (analysis,) = self.new_analyses(1)
        for request in bulk_requests(self.loupe, analysis, count, min(step, count)):
            self.loupe.connection.send(request).json()
        self.check_total(analysis, count)
        return analysis

    def check_total(self, analysis: str, count: int) -> None:
        """What the analysis holds, whichever server stored it: counted, as all of it matches, and not what is kept."""
        page = self.loupe.read(f"/api/analyses/{analysis}/annotations?limit=1&min_confidence=0")
        expect("the number of annotations stored", page["total"], count)


def bulk_requests(target: Target, analysis: str, count: int, step: int) -> Iterator[Request]:
    """Requests that together store the boxes 0 to `count - 1`, each signed when it is taken."""
    path = f"/api/analyses/{analysis}/annotations:bulk"
    for first in range(0, count, step):
        yield target.signed("POST", path, bodies.bulk(first, min(step, count - first)))


def timed(target: Target, request: Request) -> tuple[float, Answer]:
    """Seconds until the answer was read, and the answer."""
    started = time.perf_counter()
    answer = target.connection.send(request)
    return time.perf_counter() - started, answer


class Burst(NamedTuple):
    seconds: float
    client_share: (
        float  # of the time, how much this process was busy: near 1 the client was what was measured
    )
    answers: list[list[Answer]]


def together(url: str, queues: Sequence[Sequence[Request]]) -> Burst:
    """Sends each queue over a connection of its own, all at once; the connections stand before the clock starts."""
    answers: list[list[Answer]] = [[] for _ in queues]
    connections = [Connection(url) for _ in queues]
    for connection in connections:
        connection.http.connect()
    ready = threading.Barrier(len(queues) + 1)
    failures: list[Exception] = []

    def work(number: int) -> None:
        ready.wait()
        try:
            for request in queues[number]:
                answers[number].append(connections[number].send(request))
        except Exception as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(queues))]
    for thread in threads:
        thread.start()
    ready.wait()
    started, busy = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.join()
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    for connection in connections:
        connection.close()
    raise_first(failures)
    return Burst(seconds, busy / seconds, answers)
