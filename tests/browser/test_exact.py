"""A mask, the polygon of the same shape, its box and what they are of line up to the pixel, at every zoom and on a
turned photograph."""

import io

import numpy as np
import pytest
from PIL import Image as Picture
from playwright.sync_api import Page

from tests.support.browser import drawn
from tests.support.exhibit import HEIGHT, WIDTH, Exhibit

pytestmark = pytest.mark.one_database
# of what is seen in the upright photograph: whole blocks of a JPEG, so that its edges are sharp; not in the middle
LEFT, TOP, RIGHT, BOTTOM = MARK = (64, 40, 160, 120)
AT = (130, 80)
WHERE = """() => {
    const frame = document.querySelector("#pane-main .frame").getBoundingClientRect();
    const canvas = document.getElementById("canvas").getBoundingClientRect();
    return [canvas.left - frame.left, canvas.top - frame.top, frame.width / 2, frame.height / 2];
}"""
BARE = """() => {
    document.querySelector("#pane-main .frame").style.background = "black";
    for (const it of document.querySelectorAll(".edge, #label-layer, #shapes .casing")) it.style.display = "none";
    for (const shape of document.querySelectorAll("#shapes .shape")) {
        shape.style.fill = "white"; shape.style.fillOpacity = "1"; shape.style.stroke = "none"; }
}"""
DRAWN = ("#picture", "#bitmap-layers", "#shapes .item:nth-of-type(1)", "#shapes .item:nth-of-type(2)")
ALONE = """([shown, all]) => {
    for (const name of all) document.querySelector(name).style.visibility = name === shown ? "visible" : "hidden";
}"""


def turned() -> bytes:
    """A JPEG that lies on its side and says so, with a white mark on black."""
    upright, file, exif = Picture.new("L", (WIDTH, HEIGHT)), io.BytesIO(), Picture.Exif()
    upright.paste(255, MARK)
    exif[0x0112] = 6  # to be turned by 90° clockwise
    upright.transpose(Picture.Transpose.ROTATE_90).save(file, "JPEG", quality=100, exif=exif)
    return file.getvalue()


def runs() -> list[int]:
    bits = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    bits[TOP:BOTTOM, LEFT:RIGHT] = 1
    steps = np.flatnonzero(np.diff(bits.ravel(order="F"))) + 1
    found: list[int] = np.diff([0, *steps.tolist(), bits.size]).tolist()
    return found


def lit(page: Page, above: int) -> list[int]:
    """Bounds of what is brighter than this on the stage, in its pixels."""
    shot = page.locator("#pane-main .frame").screenshot()
    bright = np.argwhere(np.asarray(Picture.open(io.BytesIO(shot)).convert("L")) > above)
    low, high = bright.min(axis=0).tolist(), (bright.max(axis=0) + 1).tolist()
    return [low[1], low[0], high[1], high[0]]


@pytest.mark.parametrize("zoom", [2.5, *(pytest.param(zoom, marks=pytest.mark.soak) for zoom in (1, 4, 6))])
def test_the_photograph_its_mask_polygon_and_box_line_up(shown: Exhibit, opened: Page, zoom: float) -> None:
    image = shown.world.image(shown.project, "turned.jpg", turned())
    assert (image.width, image.height) == (WIDTH, HEIGHT)
    corners = [[LEFT, TOP], [RIGHT, TOP], [RIGHT, BOTTOM], [LEFT, BOTTOM]]
    analysis = shown.world.analysis(image, "processing")
    shown.store(
        analysis,
        {
            "annotation_type": "segmentation",
            "data": {"format": "rle", "counts": runs(), "size": [HEIGHT, WIDTH]},
        },
        {"annotation_type": "polygon", "data": {"points": corners}},
        {
            "annotation_type": "bounding_box",
            "data": {"x_min": LEFT, "y_min": TOP, "x_max": RIGHT, "y_max": BOTTOM},
        },
    )
    shown.finalize(analysis)
    opened.set_viewport_size({"width": 1400, "height": 900})
    opened.goto(f"/images/{image.id}?labels=0&at={AT[0]},{AT[1]},{zoom}")
    opened.wait_for_function("document.getElementById('stage').dataset.bitmaps === ''")
    drawn(opened)
    left, top, middle_x, middle_y = opened.evaluate(WHERE)
    if zoom >= 4:  # nearer than the whole image, which stays in the middle itself
        assert left + AT[0] * zoom == pytest.approx(middle_x, abs=1)
        assert top + AT[1] * zoom == pytest.approx(middle_y, abs=1)
    opened.evaluate(BARE)
    seen = {}
    for name in DRAWN:
        opened.evaluate(ALONE, [name, DRAWN])
        # the edges of a photograph are smooth while it is seen from far: they are where it is half as bright
        seen[name] = lit(opened, 127 if name == "#picture" else 60)
    there = [round(start + side * zoom) for start, side in zip([left, top, left, top], MARK, strict=True)]
    assert seen == dict.fromkeys(seen, there)
