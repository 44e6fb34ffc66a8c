"""A drawing as pixels: SVG in, PNG out, by resvg in a process of its own.

In a process, because the library holds the interpreter's lock while it draws, and so that whatever happens in it ends
nothing but this one answer and its memory is given back.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FONT = Path(__file__).parent / "fonts" / "DejaVuSans.ttf"
FAMILY = "DejaVu Sans"
MAX_SECONDS = 20
WAITS_SECONDS = 3
# What the fonts of the server have beside ours is used where ours has no glyph: DejaVu Sans knows no Chinese.
_DRAW = """
import sys, resvg_py
font, family = sys.argv[1:]
svg = sys.stdin.buffer.read().decode()
png = resvg_py.svg_to_bytes(svg_string=svg, font_files=[font], font_family=family, sans_serif_family=family)
sys.stdout.buffer.write(png)
"""


class NotRasterised(Exception):
    """Why there is no picture, as the library says it."""


class Busy(Exception):
    """Another drawing is being made, and was not done in time."""


_DRAWING = threading.BoundedSemaphore(1)


@contextmanager
def turn() -> Iterator[None]:
    """`with turn():` around a drawing and its pixels, which take a core for seconds: one at a time in a process.

    Raises Busy when it is not one's turn soon, since whoever waits keeps a thread from others.
    """
    if not _DRAWING.acquire(timeout=WAITS_SECONDS):
        raise Busy
    try:
        yield
    finally:
        _DRAWING.release()


def png_of(svg: str) -> bytes:
    """The drawing in the size that its root says, in pixels. Raises NotRasterised; takes at most MAX_SECONDS."""
    command = [sys.executable, "-I", "-c", _DRAW, str(FONT), FAMILY]
    try:
        done = subprocess.run(command, input=svg.encode(), capture_output=True, timeout=MAX_SECONDS)
    except subprocess.TimeoutExpired as late:
        raise NotRasterised(f"not drawn within {MAX_SECONDS} seconds") from late
    if done.returncode:
        raise NotRasterised(done.stderr.decode(errors="replace")[-2000:])
    return done.stdout
