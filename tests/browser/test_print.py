"""On paper: the image with what is drawn over it, what the colours mean, the facts, the table; black on white."""

import pypdfium2
import pytest
from PIL import Image as Picture
from playwright.sync_api import Page

from tests.support.site import WIDTH
from tests.support.stops import STOPS, Stop
from tests.support.visits import Visits

pytestmark = [pytest.mark.one_database, pytest.mark.soak]

BY_NAME = {stop.name: stop for stop in STOPS}
every_paper = pytest.mark.parametrize("paper", ["A4", pytest.param("Letter", marks=pytest.mark.soak)])
WHITE = (255, 255, 255)
MARGIN = 14 / 25.4 * 72  # points, as in print.css

# of every other kind of page: how many sheets it may take, and what they should say
OTHERS: list[tuple[str, int, list[str]]] = [
    ("projects", 2, ["Leaves", "Moss"]),
    ("gallery", 2, ["completed.png", "10 images"]),
    ("members", 2, ["owner@example.org", "editor@example.org"]),
    ("error-404", 1, ["There is nothing at this address"]),
    ("image-failed", 2, ["failed.png", "OutOfMemory: 7.2 GiB wanted"]),
    ("image-queued", 2, ["queued.png", "leaf-net"]),
    ("account", 2, ["Account", "tests", "live"]),
    ("reference", 95, ["API reference", "/api/projects"]),
    ("admin-users", 2, ["owner@example.org", "unlucky@example.org"]),
    ("admin-user", 2, ["owner@example.org", "Leaves"]),
    ("admin-projects", 2, ["Leaves", "Spoilt"]),
    ("admin-project", 2, ["owner"]),
    ("admin-exports-counted", 2, ["Exports", "Annotations", "245"]),
    ("admin-audit-open", 8, ["Audit"]),
    ("admin-settings", 4, ["Settings", "MAX_IMAGE_BYTES"]),
]


def printed(visits: Visits, stop: Stop, paper: str) -> tuple[list[str], list[Picture.Image]]:
    """The text and the look of each sheet, printed by somebody who looks at it in the dark."""
    page: Page = visits.visit(stop)
    page.emulate_media(color_scheme="dark")
    document = pypdfium2.PdfDocument(page.pdf(format=paper))
    sheets = [document[number] for number in range(len(document))]
    texts = [sheet.get_textpage().get_text_range() for sheet in sheets]
    pictures = [sheet.render(scale=1).to_pil().convert("RGB") for sheet in sheets]
    for number, picture in enumerate(pictures):
        picture.save(visits.pictures() / f"print-{stop.name}-{paper}-{number + 1}.png")
    cut = [line for sheet in sheets for line in cut_off(sheet)]
    document.close()
    assert not cut, f"runs over the edge of the paper: {cut[:5]}"
    assert all(picture.getpixel((2, 2)) == WHITE for picture in pictures), "the paper is not white"
    return texts, pictures


@every_paper
def test_an_analysis_on_paper(visits: Visits, paper: str) -> None:
    texts, pictures = printed(visits, BY_NAME["image-completed"], paper)
    assert len(texts) <= 3
    first, everything = texts[0], " ".join(texts)
    for told in ("completed.png", "Leaves", "/images/", "printed", "leaf-net 1.0.0", "probability", "rust"):
        assert told in first, told
    for told in ("job-17", "run-4", "threshold", "4f1c2ab", "bounding box", "keypoint", "heatmap", "report"):
        assert told in everything, told
    for button in ("Export", "Copy link", "Side by side", "Boxes and shapes", "Sign out", "Opacity"):
        assert button not in everything, button
    colours = pictures[0].getcolors(maxcolors=10**6) or []
    drawn = sum(count for count, colour in colours if max(colour) - min(colour) > 24)
    assert drawn > pictures[0].width * pictures[0].height / 5, "the image is not large on the first sheet"


@every_paper
def test_a_long_table_names_its_columns_on_every_sheet(visits: Visits, paper: str) -> None:
    texts, _ = printed(visits, Stop("image-page-1", "/images/{many}"), paper)
    texts = [text.replace("\r\n", "") for text in texts]  # a word may be set in two pieces
    with_rows = [text for text in texts if "bounding box" in text]
    assert 3 <= len(texts) <= 7 and len(with_rows) >= 2
    assert all("Confidence" in text for text in with_rows), [text[:300] for text in with_rows]
    assert sum(text.count("bounding box") for text in with_rows) == 200


def test_two_panes_on_paper_stand_side_by_side(visits: Visits) -> None:
    texts, pictures = printed(visits, BY_NAME["image-side"], "A4")
    assert "Image" in texts[0]
    row = [pictures[0].getpixel((x, 160)) for x in range(pictures[0].width)]
    assert sum(pixel != WHITE for pixel in row) > WIDTH / 2


# what can only be clicked or typed into, as far as paper would show it
CONTROLS = """() => [...document.querySelectorAll("button, .button, input, textarea, nav.sections, nav.toc, .skip")]
    .filter((it) => it.checkVisibility() && it.getClientRects().length && !it.matches("#new-key, [type=hidden]"))
    .map((it) => it.outerHTML.slice(0, 80))"""


def cut_off(sheet: pypdfium2.PdfPage) -> list[str]:
    """What runs over the right edge of the paper."""
    text, width = sheet.get_textpage(), sheet.get_width()
    places = [text.get_rect(n) for n in range(text.count_rects())]
    return [text.get_text_bounded(*place) for place in places if place[2] > width - MARGIN + 1]


@pytest.mark.soak
@pytest.mark.parametrize(("name", "most", "told"), OTHERS, ids=[row[0] for row in OTHERS])
def test_other_pages_on_paper(visits: Visits, name: str, most: int, told: list[str]) -> None:
    texts, pictures = printed(visits, BY_NAME[name], "A4")
    page = visits.page(BY_NAME[name])
    page.emulate_media(media="print")
    controls = page.evaluate(CONTROLS)
    page.emulate_media(media="null")
    assert controls == []
    everything = " ".join(texts)
    assert len(texts) <= most and all(it in everything for it in told), everything
    assert ink(pictures) > 0.001, "nothing is dark on these sheets"


def ink(pictures: list[Picture.Image]) -> float:
    """The part of the sheets that is as dark as print."""
    dark = [sum(picture.convert("L").histogram()[:110]) for picture in pictures]
    return sum(dark) / sum(picture.width * picture.height for picture in pictures)
