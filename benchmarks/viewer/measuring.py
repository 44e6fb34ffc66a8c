"""What is measured of one subject, in the order in which a person would do it."""

import os
from dataclasses import dataclass
from typing import Any

import psutil

from benchmarks.figures import spread
from benchmarks.serve import Servers
from benchmarks.viewer.looking import Looker, Looking
from benchmarks.viewer.subjects import Subject

MB = 1_000_000


@dataclass
class Measuring:
    """`repeats` is how often what can be repeated is; `looker` is signed in at the servers."""

    servers: Servers
    looker: Looker
    repeats: int

    def figures(self, subject: Subject) -> dict[str, Any]:
        """Times in ms, frames (see `frames`), elements, memory in MB, bytes.

        The servers get new processes twice, so that nothing is held of what is opened, or clicked, for the first time.
        """
        address = subject.address(subject.analysis)
        self.servers.renew("loupe")
        times: dict[str, list[float]] = {"opened_first": [], "opened": [], "clicked_first": [], "clicked": []}
        for number in range(self.repeats + 1):
            with self.looker.page() as looking:
                times["opened" if number else "opened_first"].append(
                    looking.opened(address, subject.analysis)
                )
                opened = looking.weights()
        watch = self.servers.renew("loupe")
        with self.looker.page() as looking:
            for number in range(self.repeats + 1):
                looking.open(subject.address(subject.nothing))
                times["clicked" if number else "clicked_first"].append(looking.clicked(subject.analysis))
            clicked, elements, memory = looking.weights(), looking.nodes(), weighed(looking)
            zoom, settled = looking.zoomed()
            zoomed, elements_zoomed = looking.weights(), looking.nodes()
            pan = looking.panned()
        return {
            "times": {name: spread(samples) for name, samples in times.items()}
            | {"settled": spread([settled])},
            "frames": {"pan": pan, "zoom": zoom},
            "elements": {"clicked": elements, "zoomed": elements_zoomed},
            "memory_mb": memory | {"servers": round(watch.peak() / MB, 1)},
            "bytes": {"opened": opened, "clicked": clicked, "zoomed": zoomed},
        }


def weighed(looking: Looking) -> dict[str, float]:
    """Memory in MB of the process that draws the page, and of the page's scripts in it."""
    return {"renderer": round(renderer_bytes() / MB, 1), "heap": round(looking.heap_bytes() / MB, 1)}


def renderer_bytes() -> int:
    """Resident in the largest renderer of the browser started here: the one of the page that is open."""
    found: list[int] = [
        process.memory_info().rss
        for process in psutil.Process(os.getpid()).children(recursive=True)
        if "--type=renderer" in process.cmdline()
    ]
    return max(found)
