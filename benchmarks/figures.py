"""Figures: what was measured several times, beside the same on the bare baseline; as JSON and as tables."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

RATE: Final = "annotations/s"
MILLISECONDS: Final = "ms"
MEGABYTES: Final = "MB"


def spread(samples: list[float]) -> dict[str, Any]:
    """Median, least and most of several samples."""
    return {
        "median": round(statistics.median(samples), 2),
        "min": round(min(samples), 2),
        "max": round(max(samples), 2),
        "samples": len(samples),
    }


@dataclass
class Figure:
    """`samples` by target, in the order they were taken: the n-th of one target was taken beside the n-th of the other.

    `more` is what else is worth knowing of this figure. `served` is how many milliseconds each took by the server's own
    log, by the filter that was asked for.
    """

    name: str
    unit: Literal["annotations/s", "ms", "MB"]
    samples: dict[str, list[float]] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    served: dict[str, list[float]] = field(default_factory=dict)

    def add(self, target: str, *values: float) -> None:
        self.samples.setdefault(target, []).extend(values)

    def cost(self) -> float | None:
        """How many times as long as the baseline: the median over the pairs of samples. None without a baseline."""
        pairs = list(zip(self.samples["loupe"], self.samples.get("baseline", ()), strict=False))
        if not pairs:
            return None
        times = [bare / own if self.unit == RATE else own / bare for own, bare in pairs]
        return round(statistics.median(times), 2)

    def out(self) -> dict[str, Any]:
        spreads = {target: spread(samples) for target, samples in self.samples.items()}
        return {"unit": self.unit, **spreads, "times_baseline": self.cost(), **self.more, **self._served()}

    def _served(self) -> dict[str, Any]:
        if not self.served:
            return {}
        every = [taken for samples in self.served.values() for taken in samples]
        by_filter = {name: spread(samples) for name, samples in self.served.items()}
        return {"served": spread(every), "served_by_filter": by_filter}


def rows(figures: dict[str, dict[str, Any]]) -> Iterable[tuple[str, ...]]:
    """Cells of text: the figure, its unit, median and range, the baseline's median, its part of that speed."""
    yield "what", "unit", "median", "min to max", "bare baseline", "of its speed"
    for name, figure in figures.items():
        own, bare, cost = figure["loupe"], figure.get("baseline"), figure["times_baseline"]
        yield (
            name,
            figure["unit"],
            number(own["median"]),
            f"{number(own['min'])} to {number(own['max'])}",
            number(bare["median"]) if bare else "",
            f"{1 / cost:.0%}" if cost is not None else "",
        )


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def table(figures: dict[str, dict[str, Any]]) -> str:
    """For a terminal."""
    lines = list(rows(figures))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        line[0].ljust(widths[0])
        + "".join("  " + cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )


def markdown(run: dict[str, Any]) -> str:
    """One run as it stands in docs/performance.md: the table, and under it what the table does not hold."""
    head, *lines = rows(run["figures"])
    text = [f"### {run['about'].get('database', 'a running server')}", ""]
    text += ["| " + " | ".join(head) + " |", "|---|---|---:|---:|---:|---:|"]
    text += ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*text, "", *(f"- {line}" for line in remarks(run)), ""])


def remarks(run: dict[str, Any]) -> list[str]:
    """What the table does not hold, in sentences."""
    said = []
    for name, figure in run["figures"].items():
        if "last_to_first" in figure:
            flat = "flat" if figure["flat"] else "not flat"
            said.append(f"{name}: the last tenth runs at {figure['last_to_first']:.2f} of the first: {flat}.")
        grown = figure.get("peak_growth_mb")
        if grown:
            each = "; ".join(
                f"{target} {number(most)} MB, to {number(figure['peak_mb'][target])} MB"
                for target, most in grown.items()
            )
            said.append(f"{name}: the serving process grew at its peak by: {each}.")
    costs = [
        f"{name}: {spent['loupe']:.0f}" + (f" ({spent['baseline']:.0f})" if "baseline" in spent else "")
        for name, figure in run["figures"].items()
        if (spent := figure.get("server_microseconds_each"))
    ]
    if costs:
        said.append("µs of the processor for each annotation (the baseline's): " + "; ".join(costs) + ".")
    for name, figure in run["figures"].items():
        if rates := figure.get("requests_per_second"):
            said.append(f"{name}: {rates['loupe']:,} requests/s.")
    served = [
        f"{name}: {number(figure['served']['median'])}"
        for name, figure in run["figures"].items()
        if "served" in figure
    ]
    if served:
        said.append("ms by the server's own log, the median: " + "; ".join(served) + ".")
    shares = [figure["client_share"] for figure in run["figures"].values() if "client_share" in figure]
    if shares:
        said.append(f"The client was busy for at most {max(shares):.0%} of the time of a bulk figure.")
    for floor in run["floors"]:
        said.append(f"Floor: {floor['what']}, {floor['wanted']}. {'Met' if floor['met'] else 'NOT MET'}.")
    return said
