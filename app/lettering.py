"""How long a text is, in the font that drawings are set in, and how it is cut to a length."""

import unicodedata
from functools import cache

from PIL import ImageFont

from app.rasteriser import FONT

_EM = 100


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONT), _EM, layout_engine=ImageFont.Layout.BASIC)


def length(text: str, size: float) -> float:
    """In units of `size`, the height of the letters. What another font must draw counts as wide as it is high."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    own = "".join(letter for letter in text if unicodedata.east_asian_width(letter) not in "WF")
    return (_font().getlength(own) / _EM + wide) * size


def cut(text: str, room: float, size: float) -> str:
    """As much of the text as there is room for, with an ellipsis where some is missing."""
    if length(text, size) <= room:
        return text
    kept = text[: max(1, int(room / size * 4))]
    while len(kept) > 1 and length(kept + "…", size) > room:
        kept = kept[: max(1, min(len(kept) - 1, int(len(kept) * room / length(kept + "…", size))))]
    return kept.rstrip() + "…"


def lines(text: str, room: float, size: float, most: int) -> list[str]:
    """The text in lines that there is room for; what does not fit into `most` of them is cut off."""
    made: list[str] = []
    words = text.split()
    while words:
        line = words.pop(0)
        while words and length(f"{line} {words[0]}", size) <= room:
            line += " " + words.pop(0)
        if len(made) + 1 == most and words:
            line = f"{line} {' '.join(words)}"
            words = []
        made.append(cut(line, room, size))
    return made
