"""The region the server draws for those without JavaScript, and where the buttons lead."""

import pytest

from app.geometry import Frame
from app.web.place import Place
from app.web.view import At

WIDE = Frame(4000, 1000)


@pytest.mark.parametrize(
    ("at", "view_box"),
    [
        (None, "0 0 4000 1000"),
        (At(2000, 500, 1), "1500 125 1000 750"),
        (At(0, 0, 1), "0 0 1000 750"),  # shifted, so that nothing beside the image is shown
        (At(9999, 500, 2), "3500 312.5 500 375"),
        (At(500, 0, 0.5), "0 -250 2000 1500"),  # all of its height, in the middle
        (At(0, 0, 0.125), "-2000 -2500 8000 6000"),
    ],
)
def test_the_region(at: At | None, view_box: str) -> None:
    assert Place(at, WIDE).view_box == view_box


def test_where_the_buttons_lead() -> None:
    fitted, near = Place(None, WIDE), Place(At(2000, 500, 30), WIDE)
    assert fitted.nearer == At(2000, 500, 0.375)
    assert fitted.farther == At(2000, 500, 0.1667)
    assert Place(At(2000, 500, 0.13), WIDE).farther.zoom == 0.125
    assert near.nearer.zoom == 32 and near.full == At(2000, 500, 1)
    assert Place(At(2000, 500, 1), WIDE).moved(1, 0) == At(2500, 500, 1)
    assert Place(At(3900, 500, 1), WIDE).moved(1, 0) == At(4000, 500, 1)
    assert [place.percent for place in (fitted, near, Place(At(0, 0, 0.05), WIDE))] == [
        "25 %",
        "3000 %",
        "5.0 %",
    ]


def test_a_small_image_is_not_brought_nearer_than_the_scripts_do() -> None:
    tiny = Place(None, Frame(4, 3))
    assert tiny.fitted == 32 and tiny.farther.zoom == 21.33 and tiny.full.zoom == 1
