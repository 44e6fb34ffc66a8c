"""Which image of a project a part of a file is of."""

from typing import Any
from uuid import UUID

import pytest

from app.importers.base import Part
from app.importers.label_studio import split_tasks
from app.importers.matching import Images, rivals
from app.importers.reading import by_image

FIRST, SECOND, THIRD = (UUID(int=number) for number in (1, 2, 3))


def matched(*parts: Part | tuple[str, ...], **images: Any) -> list[tuple[list[UUID], tuple[str, ...]]]:
    """What each part is found to be of, and what it is known by."""
    named = [one if isinstance(one, Part) else Part(one, print) for one in parts]
    there = Images([(image_id, name) for name, image_id in images.items()])
    return [(there.of(part), part.names) for part in named]


@pytest.mark.parametrize(
    "name",
    [
        "leaf ä.png",
        "leaf a\u0308.png",  # as a Mac has it
        "train/leaf ä.png",
        "C:\\data\\leaf ä.png",
        "https://example.org/leaf%20%C3%A4.png?sig=1",
        "/data/local-files/?d=set/leaf%20%C3%A4.png",
        str(FIRST),
    ],
)
def test_names_of_one_image(name: str) -> None:
    assert matched((name,), **{"leaf ä.png": FIRST, "leaf b.png": SECOND})[0][0] == [FIRST]


@pytest.mark.parametrize("name", ["", "leaf", "af.png", "LEAF.PNG", "leaf.png.jpg", str(THIRD)])
def test_names_of_none(name: str) -> None:
    assert matched((name,), **{"leaf.png": FIRST})[0][0] == []


def test_an_id_goes_before_a_name_and_a_name_before_a_stem() -> None:
    images = {"leaf.png": FIRST, "leaf": SECOND, "0139.jpg": THIRD}
    assert matched(("leaf.png", str(SECOND)), **images)[0][0] == [SECOND]
    assert matched(Part(("leaf",), print, bare=True), **images)[0][0] == [SECOND]
    assert matched(Part(("139",), print, bare=True), **images)[0][0] == [THIRD]
    assert matched(("139",), **images)[0][0] == []
    assert matched(Part(("x/leaf",), print, bare=True), **{"leaf.png": FIRST, "leaf.jpg": THIRD})[0][0] == [
        FIRST,
        THIRD,
    ]


def test_two_names_for_one_image_are_rivals() -> None:
    """Two parts that have the same names are not: they are two analyses of it."""
    twice = matched(
        ("a/leaf.png",), ("b/leaf.png",), ("bark.png",), **{"leaf.png": FIRST, "bark.png": SECOND}
    )
    assert rivals(twice) == {number: ["a/leaf.png", "b/leaf.png"] for number in (0, 1)}
    same = [Part(("leaf.png",), print, key=key) for key in "ab"]
    assert rivals(matched(*same, **{"leaf.png": FIRST})) == {}


def test_entries_are_of_one_image_only_where_all_their_names_are_the_same() -> None:
    tasks = [
        {"data": {"set": "train", "image": name}, "predictions": []} for name in ("a.png", "b.png", "a.png")
    ]
    parts = [one for one in split_tasks(tasks) or () if isinstance(one, Part)]
    assert [one.names for one in parts] == [("train", "a.png"), ("train", "b.png")]
    found = matched(*parts, **{"a.png": FIRST, "b.png": SECOND})
    assert [images for images, _ in found] == [[FIRST], [SECOND]]
    nameless = [*by_image([{"x": 1}, 7], "list", lambda entry: [None, ""], print)]
    assert [one.place for one in nameless if not isinstance(one, Part)] == ["list.0", "list.1"]
