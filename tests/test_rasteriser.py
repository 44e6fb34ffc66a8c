"""Drawings as pixels: the vendored font, what is refused, texts of every kind."""

import hashlib
import io
from xml.sax.saxutils import escape

import pytest
from PIL import Image

from app.lettering import cut, length, lines
from app.rasteriser import FONT, NotRasterised, png_of
from app.web.downloads import well_formed
from tests.support.hostile import STRINGS

NAMESPACE = 'xmlns="http://www.w3.org/2000/svg"'


def test_the_font_is_the_one_that_is_written_down() -> None:
    digest = hashlib.sha256(FONT.read_bytes()).hexdigest()
    assert digest in (FONT.parent / "VENDOR.md").read_text()
    assert (FONT.parent / "DejaVuSans.LICENSE").is_file()


def test_letters_are_drawn_whatever_fonts_there_are() -> None:
    letters = '<text x="5" y="20" font-size="16" font-family="sans-serif">Häß Жλ</text>'
    svg = f'<svg {NAMESPACE} width="90" height="30">{letters}</svg>'
    made = Image.open(io.BytesIO(png_of(svg)))
    assert made.size == (90, 30) and made.getchannel("A").getextrema()[1] > 200


def test_what_is_no_drawing_is_told() -> None:
    with pytest.raises(NotRasterised, match="quote"):
        png_of(f"<svg {NAMESPACE} width=1>")


def test_hostile_texts_are_drawn() -> None:
    rows = "".join(f'<text y="{n * 10}">{escape(text)}</text>' for n, text in enumerate(STRINGS))
    svg = f'<svg {NAMESPACE} width="400" height="{len(STRINGS) * 10}">{rows}</svg>'
    assert Image.open(io.BytesIO(png_of(well_formed(svg)))).height == len(STRINGS) * 10


@pytest.mark.parametrize(
    "text", ["oak", "a very long name of a class indeed", "葉の名前はとても長い名前です", "x" * 500]
)
def test_a_text_is_cut_to_its_room(text: str) -> None:
    assert length(cut(text, 60, 13), 13) <= 60 + 13
    assert cut("oak", 60, 13) == "oak"
    assert all(length(line, 13) <= 60 + 13 for line in lines(f"{text} " * 5, 60, 13, 3))
    assert len(lines(f"{text} " * 5, 60, 13, 3)) <= 3
