"""The part of the image that is seen, worked out for those who look without JavaScript: for them the server zooms."""

from dataclasses import dataclass, replace

from werkzeug.datastructures import MultiDict

from app.geometry import Frame
from app.overlay.window import Window, whole
from app.web.view import ZOOMS, At, View, reals

STAGE = (1000, 750)
"""CSS pixels: about what a window leaves the image; how large it is only the browser knows."""
STEP = 1.5
HOP = 0.5  # of the stage
LARGEST = 32.0


@dataclass(frozen=True)
class Place:
    """`at` is what the view asks for, None for all of the image. What the buttons lead to are places of that kind."""

    at: At | None
    frame: Frame

    @property
    def fitted(self) -> float:
        return min(whole(self.frame, *STAGE).scale, LARGEST)

    @property
    def seen(self) -> At:
        return self.at or At(self.frame.width / 2, self.frame.height / 2, float(f"{self.fitted:.4g}"))

    @property
    def window(self) -> Window:
        """The region a stage of that size shows: nothing beside the image as long as there is image to show."""
        if self.at is None:
            return whole(self.frame, *STAGE)
        width, height = (round(length / self.at.zoom, 3) for length in STAGE)
        x = _start(self.at.x, width, self.frame.width)
        return Window(x, _start(self.at.y, height, self.frame.height), width, height, self.at.zoom)

    @property
    def view_box(self) -> str:
        window = self.window
        return f"{window.x:.10g} {window.y:.10g} {window.width:.10g} {window.height:.10g}"

    @property
    def percent(self) -> str:
        zoom = self.seen.zoom * 100
        return f"{zoom:.0f} %" if zoom >= 10 else f"{zoom:.1f} %"

    @property
    def nearer(self) -> At:
        return self._zoomed(self.seen.zoom * STEP)

    @property
    def farther(self) -> At:
        return self._zoomed(self.seen.zoom / STEP)

    @property
    def full(self) -> At:
        return self._zoomed(1)

    def moved(self, right: int, down: int) -> At:
        """Half a stage further."""
        window, seen = self.window, self.seen
        middle = (window.x + window.width / 2, window.y + window.height / 2)
        x = min(max(middle[0] + right * HOP * window.width, 0), self.frame.width)
        y = min(max(middle[1] + down * HOP * window.height, 0), self.frame.height)
        return replace(seen, x=round(x, 1), y=round(y, 1))

    def _zoomed(self, zoom: float) -> At:
        least = max(min(self.fitted / 2, 1), ZOOMS[0])
        return replace(self.seen, zoom=float(f"{min(max(zoom, least), LARGEST):.4g}"))


def _start(middle: float, length: float, end: float) -> float:
    """Where a stretch of this length begins that is around `middle` and inside the image, or around the image."""
    if length >= end:
        return round((end - length) / 2, 3)
    return round(min(max(middle - length / 2, 0), end - length), 3)


def read_window(args: MultiDict[str, str], view: View, frame: Frame) -> Window:
    """`box` is the part of the image to draw (x, y, width, height in its pixels), `scale` how many pixels of the screen
    one of them takes, `density` how many of these a CSS pixel has. Without them, what the view says."""
    box, scale = reals(args.get("box", ""), 4), reals(args.get("scale", ""), 1)
    if box is None or scale is None or not 1e-4 < scale[0] < 1e3 or min(box[2:]) <= 0:
        return Place(view.at, frame).window
    density = reals(args.get("density", "1"), 1) or [1.0]
    x, y, width, height = box
    return Window(x, y, width, height, scale[0], density[0] if 0.25 <= density[0] <= 8 else 1.0)
