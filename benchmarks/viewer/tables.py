"""The figures of the viewer as tables, a row for each thing measured, and the floors they are held to."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from benchmarks.figures import number

Figures: TypeAlias = dict[str, dict[str, Any]]


def time(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figure: number(figure["times"][name]["median"])


def movement(name: str) -> Callable[[dict[str, Any]], str]:
    def cell(figure: dict[str, Any]) -> str:
        taken = figure["frames"][name]
        return " / ".join(f"{taken[each]:.1f}" for each in ("median", "p95", "worst"))

    return cell


def slow(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figure: f"{figure['frames'][name]['slow_share']:.0%}"


def kilobytes(name: str) -> Callable[[dict[str, Any]], str]:
    def cell(figure: dict[str, Any]) -> str:
        came = figure["bytes"][name]
        return " / ".join(number(came[each] / 1000) for each in ("text", "text_gzip", "pictures"))

    return cell


def elements(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figure: f"{figure['elements'][name]['page']:,} / {figure['elements'][name]['canvas']:,}"


def memory(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figure: number(figure["memory_mb"][name])


# what a row is called, its unit, and its cell for one subject
ROWS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("click to painted overlay", "ms", time("clicked")),
    ("the first such click on new processes", "ms", time("clicked_first")),
    ("open by address", "ms", time("opened")),
    ("open by address, new processes", "ms", time("opened_first")),
    ("a frame while panning: median / 95 % / worst", "ms", movement("pan")),
    ("frames over 33 ms while panning", "", slow("pan")),
    ("a frame while zooming: median / 95 % / worst", "ms", movement("zoom")),
    ("frames over 33 ms while zooming", "", slow("zoom")),
    ("end of a zoom to the new overlay", "ms", time("settled")),
    ("elements of the page / in the drawing", "", elements("clicked")),
    ("the same after zooming in", "", elements("zoomed")),
    ("memory of the renderer", "MB", memory("renderer")),
    ("memory of the page's scripts", "MB", memory("heap")),
    ("memory of both server processes at most", "MB", memory("servers")),
    ("sent to open: text / packed / pictures", "KB", kilobytes("opened")),
    ("sent for a click: text / packed / pictures", "KB", kilobytes("clicked")),
    ("sent after a zoom: text / packed / pictures", "KB", kilobytes("zoomed")),
)

SMOOTH_MS = 16.9
# the subject, what is asked of it, what must not be passed (ms), and where that stands
FLOORS: tuple[tuple[str, str, float, Callable[[dict[str, Any]], float]], ...] = (
    ("10,000 boxes", "painted after a click", 250, lambda figure: figure["times"]["clicked"]["median"]),
    (
        "10,000 boxes",
        "95 % of the frames of panning",
        SMOOTH_MS,
        lambda figure: figure["frames"]["pan"]["p95"],
    ),
    ("100,000 boxes", "painted after a click", 700, lambda figure: figure["times"]["clicked"]["median"]),
    ("1,000,000 boxes", "painted after a click", 2000, lambda figure: figure["times"]["clicked"]["median"]),
)


def floors(figures: Figures) -> list[dict[str, Any]]:
    """Of the subjects that were looked at: what must hold, and whether it did."""
    return [
        {
            "what": f"{subject}: {what}",
            "wanted": f"at most {most:g} ms",
            "met": found(figures[subject]) <= most,
        }
        for subject, what, most, found in FLOORS
        if subject in figures
    ]


def lines(figures: Figures) -> Iterator[tuple[str, ...]]:
    """Cells of text: what is measured, its unit, a column for each subject."""
    yield "what", "unit", *figures
    for title, unit, cell in ROWS:
        yield title, unit, *(cell(figure) for figure in figures.values())


def table(figures: Figures) -> str:
    """For a terminal."""
    rows = list(lines(figures))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        row[0].ljust(widths[0])
        + "".join("  " + cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    )


def remarks(run: dict[str, Any]) -> list[str]:
    return [
        f"Floor: {floor['what']}, {floor['wanted']}. {'Met' if floor['met'] else 'NOT MET'}."
        for floor in run["floors"]
    ]


def markdown(run: dict[str, Any]) -> str:
    """One run as it stands in docs/performance.md."""
    head, *rows = lines(run["figures"])
    text = [f"### The viewer, on {run['about']['database']} and Chromium {run['about']['chromium']}", ""]
    text += ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * len(run["figures"])]
    text += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([*text, "", *(f"- {line}" for line in remarks(run)), ""])
