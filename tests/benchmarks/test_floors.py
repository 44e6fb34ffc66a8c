"""What must hold of figures: which of their numbers is looked at."""

from typing import Any

import pytest

from benchmarks import large
from benchmarks.figures import Figure
from benchmarks.floors import floors, floors_of_export


def listed(name: str, by_filter: dict[str, float]) -> dict[str, Any]:
    """Each took its client 20 ms."""
    served = {title: [taken - 1, taken, 3 * taken] for title, taken in by_filter.items()}
    return Figure(name, "ms", {"loupe": [20.0]}, served=served).out()


def unmet(figures: dict[str, dict[str, Any]]) -> list[str]:
    return [floor["what"] for floor in floors(figures) if not floor["met"]]


@pytest.mark.parametrize(
    "words",
    [
        *("list among 400", "list of a small project beside 400", "gallery among 400"),
        "gallery by text among 400",
    ],
)
def test_of_a_list_the_slowest_filter_counts(words: str) -> None:
    """Of the server's time the median of these is 2 ms, that of each filter what it says."""
    quick, slow = {"all": 2.0, "rare": 2.0, "both": 9.9}, {"all": 2.0, "rare": 2.0, "both": 10.1}
    assert unmet({f"{words}: first": listed(f"{words}: first", quick)}) == []
    assert unmet({f"{words}: first": listed(f"{words}: first", slow)}) == [f"{words}: first"]


@pytest.mark.parametrize(("last", "met"), [(6.0, True), (6.1, False)])
def test_a_last_page_is_held_against_the_first_one_of_its_own_filter(last: float, met: bool) -> None:
    """1.25 times 4 ms and 1 ms more, of the quickest each. A filter with one page only has no last one."""
    first, end = "gallery among 400: first", "gallery among 400: last"
    figures = {
        first: listed(first, {"all": 5.0, "common": 8.0, "rare": 9.0}),
        end: listed(end, {"all": last + 1, "common": 3.0}),
    }
    assert unmet(figures) == ([] if met else [end])


@pytest.mark.parametrize(
    ("form", "rate", "growth", "met"),
    [
        ("json", 100_000.0, 49.9, [True, True]),
        ("csv", 99_999.0, 49.9, [False, True]),
        ("json", 200_000.0, 50.0, [True, False]),
        ("voc", 1.0, 500.0, []),
    ],
)
def test_json_and_csv_of_many_are_quick_and_small(
    form: str, rate: float, growth: float, met: list[bool]
) -> None:
    assert [floor["met"] for floor in floors_of_export(form, form, rate, growth)] == met


def test_beside_a_large_database_only_what_takes_time_has_a_ratio() -> None:
    """A worker that grew by nothing would be divided by; what it keeps is held by its floor."""

    def found(took: float, rate: float, kept: float) -> dict[str, Any]:
        made = (
            Figure("show", "ms", {"loupe": [took]}),
            Figure("bulk", "annotations/s", {"loupe": [rate]}),
            Figure("memory grown by 10", "MB", {"loupe": [kept]}),
        )
        return {one.name: one.out() for one in made}

    grown = Figure("growth to 20", "annotations/s", {"loupe": [9.0]}, {"last_to_first": 0.5, "flat": False})
    figures = {"empty": found(2, 900, 0), "large": found(3, 300, 21)}
    held = large.held(figures, {grown.name: grown.out()})
    assert held["ratios"] == {"show": 1.5, "bulk": 3.0}
    assert [(floor["what"], floor["met"]) for floor in held["floors"]] == [
        ("memory grown by 10", False),
        ("growth to 20", False),
    ]


@pytest.mark.parametrize(("growth", "met"), [(39.9, True), (40.0, False)])
def test_over_a_large_database_an_export_is_held_by_its_memory(growth: float, met: bool) -> None:
    """And not by its milliseconds, which have a ratio."""

    def exported(took: float, grown: float) -> dict[str, Any]:
        more = {"peak_growth_mb": {"loupe": grown}}
        figure = Figure("export of 100,000 as CSV", "ms", {"loupe": [took]}, more)
        return {figure.name: figure.out()}

    held = large.held({"empty": exported(1500, 50), "large": exported(3000, growth)}, {})
    assert held["ratios"] == {"export of 100,000 as CSV": 2.0}
    assert [(floor["what"], floor["wanted"], floor["met"]) for floor in held["floors"]] == [
        ("export of 100,000 as CSV", "memory grows by less than 40 MB", met)
    ]
