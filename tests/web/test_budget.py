"""The page of an image holds few elements, whatever was received and however many analyses are drawn together."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from app.models import Image, Project
from tests.cast import Person, Pipeline
from tests.factories import World, picture
from tests.html import elements, parse_page
from tests.steps import store
from tests.support.crowds import crowd

WIDTH, HEIGHT = 1600, 1200
# said here once more, so that nobody raises them unawares
ELEMENTS, GROUPED, PATHS, TILES, LABELS, OTHERS = 2_000, 20_000, 600, 60, 120, 8
EACH = (
    6  # elements of a shape at the most: the group, its title, bones and dots with the dark ones under them
)
ROWS = 200  # of the table
AROUND = LABELS * 3 + 200  # labels (a group, a plate, a text), and what holds it all
LARGEST_PAGE = ELEMENTS * EACH + AROUND + ROWS * 12 + 1000


@pytest.fixture
def street(world: World, project: Project) -> Image:
    return world.image(project, "street.png", picture(WIDTH, HEIGHT))


def people(world: World, pipeline: Pipeline, street: Image) -> str:
    """As many as are drawn one by one, each with 17 joints."""
    bones = [[joint, joint + 1] for joint in range(16)]
    said = [
        {
            "annotation_type": "keypoint",
            "class_name": "person",
            "data": {
                "keypoints": [{"x": n % 50 * 30 + joint, "y": n // 50 * 28 + joint} for joint in range(17)],
                "skeleton": bones,
            },
        }
        for n in range(ELEMENTS)
    ]
    store(pipeline, world.analysis(street, "processing"), said)
    return ""


def shattered(world: World, pipeline: Pipeline, street: Image) -> str:
    """A few segmentations of 10,000 polygons each."""
    rings = [
        [x, y, x + 6, y, x + 6, y + 5] for x in range(0, WIDTH, 16) for y in range(0, HEIGHT, 12)
    ]  # 10,000
    assert len(rings) == 10_000
    said = {
        "annotation_type": "segmentation",
        "class_name": "glass",
        "data": {"format": "polygon", "polygons": rings},
    }
    store(pipeline, world.analysis(street, "processing"), [said] * 3)
    return ""


def together(world: World, _pipeline: Pipeline, street: Image) -> str:
    """As many analyses as a view may have, each small enough to be drawn one by one if it were alone."""
    made = [crowd(world, street, ELEMENTS) for _ in range(OTHERS + 1)]
    return "&".join(f"with={analysis.id}" for analysis in made[:-1])


def crowded(world: World, _pipeline: Pipeline, street: Image) -> str:
    """Four that would be paths if they were alone, and are tiles together."""
    made = [crowd(world, street, GROUPED // 4 + 1) for _ in range(4)]
    return "&".join(f"with={analysis.id}" for analysis in made[:-1])


@pytest.mark.soak
@pytest.mark.parametrize(
    ("make", "most_shapes", "received"),
    [
        (people, ELEMENTS * EACH, ELEMENTS),
        (shattered, 3 * EACH, 3),
        (together, 3 * PATHS, ELEMENTS * (OTHERS + 1)),
        (crowded, 4 * TILES, GROUPED + 4),
    ],
)
def test_a_page_holds_few_elements(
    world: World,
    pipeline: Pipeline,
    street: Image,
    viewer: Person,
    make: Callable[[World, Pipeline, Image], str],
    most_shapes: int,
    received: int,
) -> None:
    query = make(world, pipeline, street)
    text = viewer.client.get(f"/images/{street.id}?{query}").text
    page = elements(parse_page(text)[0])
    (canvas,) = (element for element in page if element.get("id") == "canvas")
    drawn = elements(canvas)
    assert any(element.get("class") in ("shape", "bone", "tile") for element in drawn)
    assert len(drawn) <= most_shapes + AROUND
    assert len(page) <= LARGEST_PAGE
    assert told(text) == {"received": received, "drawn": received, "hidden": 0}


def told(text: str) -> dict[str, Any]:
    """The numbers in the line under the image."""
    line = text.split('id="statusline"')[1].split("</footer>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", line.partition(">")[2]).split())
    found = re.findall(r"([\d,]+) (received|drawn|hidden)", words)
    return {what: int(number.replace(",", "")) for number, what in found}
