"""GET /api/analyses/{id}/annotations: filters, sorts, pages by skip and by cursor."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from app.models import Analysis, Image
from tests.api.test_list_analyses import HOSTILE, packed
from tests.cast import Person, Pipeline
from tests.factories import World, some_id
from tests.html import LintClient
from tests.steps import box, check_problem, fields_at_fault, store

Entry = dict[str, Any]


def area(entry: Entry) -> float:
    data = entry["data"]
    if entry["annotation_type"] != "bounding_box":
        return -1.0
    return float((data["x_max"] - data["x_min"]) * (data["y_max"] - data["y_min"]))


# as the answer must be ordered; what has no value is last for `ordering` and first for the others
KEYS: dict[str, Callable[[Entry], Any]] = {
    "confidence": lambda entry: -1 if entry["confidence"] is None else entry["confidence"],
    "class_name": lambda entry: entry["class_name"] or "",
    "ordering": lambda entry: 2**40 if entry["ordering"] is None else entry["ordering"],
    "created_at": lambda entry: 0,
    "area": area,
}
SORTS = [sign + name for name in KEYS for sign in ("", "-")]


def various() -> list[Entry]:
    """Forty annotations with many ties and many without a value."""
    classes = ["ant", None, "bee", "cat", "bee"]
    confidences = [0.5, None, 0.25, 0.5, 0.1234, 1.0, 0.0]
    orderings = [3, None, -2, 3, 2**31 - 1, -(2**31)]
    sides = [3, 8, 3, 5]
    made = []
    for n in range(40):
        common: Entry = {
            "class_name": classes[n % 5],
            "confidence": confidences[n % 7],
            "ordering": orderings[n % 6],
            "client_id": f"c{n}",
        }
        if n % 4 == 1:
            topk = [{"class": "x", "confidence": 0.5}]
            made.append({"annotation_type": "classification", "data": {"topk": topk}, **common})
        else:
            data = {"x_min": 1, "y_min": 1, "x_max": 1 + sides[n % 4], "y_max": 4.5}
            made.append({"annotation_type": "bounding_box", "data": data, **common})
    return made


@pytest.fixture
def said(analysis: Analysis, pipeline: Pipeline, viewer: Person) -> list[Entry]:
    """The stored annotations in the order of insertion."""
    sent = various()
    store(pipeline, analysis, sent[:25])
    store(pipeline, analysis, sent[25:])
    found: list[Entry] = viewer.api("GET", f"/api/analyses/{analysis.id}").json["annotations"]
    assert len(found) == 40
    return found


def get(person: Person, analysis: Analysis, **query: Any) -> Any:
    return person.api("GET", f"/api/analyses/{analysis.id}/annotations", query_string=query)


def walk(person: Person, analysis: Analysis, **query: Any) -> list[Entry]:
    """All pages, following next_cursor to its end."""
    seen: list[Entry] = []
    for _ in range(100):
        answer = get(person, analysis, **query)
        assert answer.status_code == 200, answer.text
        seen += answer.json["annotations"]
        if answer.json["next_cursor"] is None:
            return seen
        assert len(answer.json["annotations"]) == query["limit"]
        query["cursor"] = answer.json["next_cursor"]
    raise AssertionError("the cursor never ends")


def test_who_may(
    client: LintClient, analysis: Analysis, viewer: Person, stranger: Person, pipeline: Pipeline
) -> None:
    path = f"/api/analyses/{analysis.id}/annotations"
    check_problem(client.get(path), 401, "unauthenticated")
    check_problem(stranger.api("GET", path), 403, "forbidden")
    check_problem(pipeline.request("GET", path), 401, "scheme-not-allowed")
    check_problem(viewer.api("GET", f"/api/analyses/{some_id()}/annotations"), 404, "not-found")
    check_problem(viewer.api("POST", path), 405, "method-not-allowed")
    assert viewer.api("GET", path).json == {"annotations": [], "total": 0, "next_cursor": None}


def test_in_the_order_of_insertion_two_hundred_at_a_time(
    analysis: Analysis, viewer: Person, pipeline: Pipeline
) -> None:
    made = store(pipeline, analysis, [box(client_id=f"c{n}") for n in range(250)])
    answer = get(viewer, analysis)
    assert [entry["id"] for entry in answer.json["annotations"]] == made[:200]
    assert (answer.json["total"], answer.json["next_cursor"] is None) == (250, False)
    assert [entry["id"] for entry in get(viewer, analysis, limit=1000).json["annotations"]] == made


@pytest.mark.parametrize("sort", SORTS)
def test_every_sort_in_both_directions(
    analysis: Analysis, viewer: Person, said: list[Entry], sort: str
) -> None:
    """Ties stand in the order of insertion, and in the opposite one when descending."""
    key, descending = KEYS[sort.removeprefix("-")], sort.startswith("-")
    places = {entry["id"]: place for place, entry in enumerate(said)}
    expected = sorted(said, key=lambda entry: (key(entry), places[entry["id"]]), reverse=descending)
    assert get(viewer, analysis, sort=sort, limit=1000).json["annotations"] == expected


@pytest.mark.parametrize("sort", [None, *SORTS])
def test_a_walk_loses_and_repeats_nothing(
    analysis: Analysis, viewer: Person, said: list[Entry], sort: str | None
) -> None:
    query = {"sort": sort} if sort else {}
    whole = get(viewer, analysis, limit=1000, **query).json["annotations"]
    assert len(whole) == 40
    for limit in (3, 7, 39, 40):
        assert walk(viewer, analysis, limit=limit, **query) == whole, limit


def test_skip_gives_the_same_pages(analysis: Analysis, viewer: Person, said: list[Entry]) -> None:
    pages = [get(viewer, analysis, skip=skip, limit=9) for skip in range(0, 45, 9)]
    assert list(itertools.chain(*(page.json["annotations"] for page in pages))) == said
    assert {page.json["total"] for page in pages} == {40}
    assert [page.json["next_cursor"] is None for page in pages] == [False] * 4 + [True]
    assert get(viewer, analysis, skip=2**31 - 1).json["annotations"] == []


def test_a_walk_is_stable_while_annotations_come_in(
    analysis: Analysis, viewer: Person, pipeline: Pipeline, said: list[Entry]
) -> None:
    first = get(viewer, analysis, limit=30)
    store(pipeline, analysis, [box(client_id="late")])
    rest = walk(viewer, analysis, limit=30, cursor=first.json["next_cursor"])
    assert [entry["id"] for entry in first.json["annotations"] + rest[:-1]] == [entry["id"] for entry in said]
    assert rest[-1]["client_id"] == "late"


def test_only_annotations_of_this_analysis(
    world: World, image: Image, analysis: Analysis, viewer: Person, pipeline: Pipeline, said: list[Entry]
) -> None:
    other = world.analysis(image, "processing")
    [made] = store(pipeline, other, [box()])
    assert [entry["id"] for entry in get(viewer, other).json["annotations"]] == [made]
    assert get(viewer, analysis).json["total"] == 40


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({"type": "bounding_box"}, lambda entry: entry["annotation_type"] == "bounding_box"),
        ({"type": "classification"}, lambda entry: entry["annotation_type"] == "classification"),
        ({"class_name": "bee"}, lambda entry: entry["class_name"] == "bee"),
        ({"min_confidence": "0.5"}, lambda entry: (entry["confidence"] or 0) >= 0.5),
        ({"min_confidence": "0.50001"}, lambda entry: (entry["confidence"] or 0) >= 0.50001),
        ({"min_confidence": "0.1234"}, lambda entry: (entry["confidence"] or 0) >= 0.1234),
        ({"min_confidence": "0"}, lambda entry: entry["confidence"] is not None),
        ({"min_confidence": "1"}, lambda entry: entry["confidence"] == 1),
        (
            {"type": "bounding_box", "class_name": "bee", "min_confidence": "0.2"},
            lambda entry: (
                entry["annotation_type"] == "bounding_box"
                and entry["class_name"] == "bee"
                and (entry["confidence"] or 0) >= 0.2
            ),
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_every_filter(
    analysis: Analysis, viewer: Person, said: list[Entry], query: Entry, matches: Callable[[Entry], bool]
) -> None:
    expected = [entry for entry in said if matches(entry)]
    assert 0 < len(expected) < 40
    answer = get(viewer, analysis, **query)
    assert (answer.json["annotations"], answer.json["total"]) == (expected, len(expected))
    assert walk(viewer, analysis, limit=4, **query) == expected


def test_filters_that_match_nothing(analysis: Analysis, viewer: Person, said: list[Entry]) -> None:
    for query in ({"type": "polygon"}, {"class_name": "BEE"}, {"class_name": "b%"}):
        assert get(viewer, analysis, **query).json == {"annotations": [], "total": 0, "next_cursor": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=5.0", "limit"),
        ("limit=" + "9" * 400, "limit"),
        ("skip=-1", "skip"),
        ("skip=1099511627776", "skip"),
        ("type=box", "type"),
        ("type=", "type"),
        ("class_name=", "class_name"),
        ("class_name=%00", "class_name"),
        ("class_name=" + "x" * 256, "class_name"),
        ("min_confidence=-0.1", "min_confidence"),
        ("min_confidence=1.1", "min_confidence"),
        ("min_confidence=nan", "min_confidence"),
        ("min_confidence=inf", "min_confidence"),
        ("min_confidence=1e400", "min_confidence"),
        ("min_confidence=high", "min_confidence"),
        ("sort=id", "sort"),
        ("sort=--area", "sort"),
        ("sort=", "sort"),
        ("sort=Area", "sort"),
        ("sort=area%3Bdrop%20table", "sort"),
    ],
)
def test_bad_queries_are_422(analysis: Analysis, viewer: Person, query: str, field: str) -> None:
    assert fields_at_fault(viewer.api("GET", f"/api/analyses/{analysis.id}/annotations?{query}")) == {field}


@pytest.mark.parametrize("sort", ["", "class_name", "-confidence"])
def test_hostile_cursors_are_422(analysis: Analysis, viewer: Person, sort: str) -> None:
    for cursor in HOSTILE:
        query = {"cursor": cursor} | ({"sort": sort} if sort else {})
        assert fields_at_fault(get(viewer, analysis, **query)) == {"cursor"}, cursor


def test_the_cursor_of_another_order_is_422(analysis: Analysis, viewer: Person, said: list[Entry]) -> None:
    by_class = get(viewer, analysis, sort="class_name", limit=3).json["next_cursor"]
    by_area = get(viewer, analysis, sort="area", limit=3).json["next_cursor"]
    assert fields_at_fault(get(viewer, analysis, sort="area", cursor=by_class)) == {"cursor"}
    assert fields_at_fault(get(viewer, analysis, sort="class_name", cursor=by_area)) == {"cursor"}


@pytest.mark.parametrize("sort", SORTS)
def test_a_made_up_place_is_a_page_or_422(
    analysis: Analysis, viewer: Person, said: list[Entry], sort: str
) -> None:
    for place in (0, -(2**53), 2**53, 0.5, -1.5e300, "z", ""):
        answer = get(viewer, analysis, sort=sort, cursor=packed([place, 3]))
        assert answer.status_code in (200, 422), f"{place}: {answer.text}"


def test_the_number_of_queries_does_not_grow(
    analysis: Analysis, viewer: Person, said: list[Entry], count_queries: Callable[[], Any]
) -> None:
    with count_queries() as few:
        get(viewer, analysis, limit=1, sort="-area", type="bounding_box")
    with count_queries() as many:
        get(viewer, analysis, limit=40, sort="-area", type="bounding_box")
    assert len(few) == len(many) <= 8
